"""The metadata, the settings of the wheels and the release workflow: they agree with each other."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT

import sysv_ipc

pytestmark = pytest.mark.once

WORKFLOW = ROOT / ".github/workflows/release.yml"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT: dict[str, Any] = PYPROJECT["project"]
WHEELS: dict[str, Any] = PYPROJECT["tool"]["cibuildwheel"]
PACKAGE = Path(sysv_ipc.__file__).parent


def test_the_extension_has_the_version_number_of_pyproject() -> None:
    assert PROJECT["version"] == sysv_ipc.VERSION


def test_meson_has_no_version_number_of_its_own() -> None:
    assert PROJECT["version"] not in (ROOT / "meson.build").read_text()


def test_no_dependency_group_needs_another_version_of_the_project() -> None:
    requirements = [
        requirement
        for group in PYPROJECT["dependency-groups"].values()
        for requirement in group
        if isinstance(requirement, str)
    ]
    assert len(requirements) > 10
    assert [text for text in requirements if re.match("sysv[-_.]ipc", text)] == []


# ----------------------------------------------------------------------------- the readme


def readme_links() -> list[str]:
    """Return where the links of the readme lead."""
    text = (ROOT / PROJECT["readme"]).read_text()
    inline = re.findall(r"\]\(([^)]+)\)", text)
    return inline + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)


def test_links_of_the_readme_work_on_the_page_of_a_package_index() -> None:
    links = readme_links()
    assert len(links) > 10
    relative = [link for link in links if "://" not in link and not link.startswith("#")]
    assert relative == [], "write the whole address, as the others at the end of the page"


def test_links_of_the_readme_into_the_repository_lead_to_files() -> None:
    source = f"{PROJECT['urls']['Source']}/blob/main/"
    paths = [link.removeprefix(source) for link in readme_links() if link.startswith(source)]
    assert [path for path in paths if not (ROOT / path.partition("#")[0]).exists()] == []


def test_labels_of_links_in_the_readme_are_defined_once() -> None:
    text = (ROOT / PROJECT["readme"]).read_text()
    labels = [label.lower() for label in re.findall(r"^\[([^\]]+)\]: ", text, re.MULTILINE)]
    assert sorted(set(labels)) == sorted(labels)
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`|^\[.*$", "", text, flags=re.MULTILINE | re.DOTALL)
    used = re.findall(r"\[([^\]]+)\](?![(\[])", prose)
    assert {" ".join(label.split()).lower() for label in used} <= set(labels)


# ----------------------------------------------------------------------------- the wheels


def test_wheels_are_built_for_the_versions_of_the_classifiers() -> None:
    prefix = "Programming Language :: Python :: 3."
    versions = {
        classifier.removeprefix(prefix)
        for classifier in PROJECT["classifiers"]
        if classifier.startswith(prefix)
    }
    built = {re.fullmatch(r"cp3(\d+)(t?)-\*", name).groups() for name in WHEELS["build"]}  # type: ignore[union-attr]
    assert {minor for minor, threads in built if not threads} == versions
    assert min(map(int, versions)) == int(PROJECT["requires-python"].partition(".")[2])
    free_threaded = any("Free Threading" in classifier for classifier in PROJECT["classifiers"])
    assert free_threaded == any(threads for _, threads in built)


@pytest.mark.parametrize(("system", "runner"), [("linux", "ubuntu"), ("macos", "macos")])
def test_the_workflow_builds_for_each_machine_of_the_settings(system: str, runner: str) -> None:
    rows = re.findall(rf"runner: {runner}-[^,]+, machines: \"?([\w ]+)", WORKFLOW.read_text())
    machines = [machine for row in rows for machine in row.split()]
    assert sorted(machines) == sorted(WHEELS[system]["archs"])


def test_the_page_of_installation_names_the_machines_that_have_wheels() -> None:
    page = (ROOT / "docs/install.md").read_text()
    machines = [*WHEELS["linux"]["archs"], *WHEELS["macos"]["archs"]]
    assert [name for name in machines if name.replace("x86_64", "x86-64") not in page] == []


# --------------------------------------------------------------------------- the workflow


def test_actions_are_pinned_to_a_commit() -> None:
    uses = re.findall(r"uses: (.*)", WORKFLOW.read_text())
    assert len(uses) > 4
    pinned = r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
    assert [text for text in uses if not re.fullmatch(pinned, text)] == []


def test_programs_of_the_workflow_have_a_version() -> None:
    programs = re.findall(r"pipx run (\S+)", WORKFLOW.read_text())
    assert len(programs) == 3
    assert [name for name in programs if not re.fullmatch(r"\w+==[\d.]+", name)] == []


def test_only_the_job_that_uploads_may_act_for_the_project() -> None:
    before, _, publish = WORKFLOW.read_text().partition("\n  publish:\n")
    assert publish.count("id-token: write") == 1
    assert "write" not in re.sub("#.*", "", before)
    assert "permissions: {}" in before
    assert "secrets." not in before + publish


# ----------------------------------------------------------------- tools of other people


def test_doctest_imports_every_module_of_the_installed_package(tmp_path: Path) -> None:
    options = ("-p", "no:cacheprovider", "-c", "/dev/null", "--doctest-modules", "--collect-only")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(PACKAGE)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sysv_ipc.Semaphore" in done.stdout

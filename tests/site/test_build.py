"""The build of the site: a link that leads nowhere ends it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def build(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Build a site with the settings of docs/ and one page."""
    docs = folder / "docs"
    shutil.copytree(DOCS / "_static", docs / "_static")
    for name in ("conf.py", "python.inv", "../pyproject.toml"):
        shutil.copy(DOCS / name, docs / name)
    (docs / "index.md").write_text(text)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", "site"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)


def test_page_with_links_that_lead_somewhere_is_built(tmp_path: Path) -> None:
    result = build(tmp_path, "# One\n\n## Two\n\n[there](#two) [index](index.md#two)\n")
    assert (result.returncode, result.stderr) == (0, "")


def test_each_link_that_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    links = ["missing.md", "#lost", "index.md#gone", "missing.c", "inv:python:py:class#Missing"]
    result = build(tmp_path, "# One\n\n" + "".join(f"[there]({link})\n\n" for link in links))
    assert result.returncode != 0
    warnings = [line for line in result.stderr.splitlines() if "WARNING" in line]
    assert len(warnings) == len(links)

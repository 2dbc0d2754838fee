"""examples/how_to/: programs that show themselves print what their page says."""

from __future__ import annotations

import pytest
from helpers import NEEDS_GEVENT
from recipes import FOLDER, outputs, run_recipe

pytestmark = pytest.mark.once

#: Programs that need no arguments, with the page that shows their output.
PROGRAMS = {
    "asyncio_service.py": "asyncio-service.md",
    "c_structs.py": "c-structs.md",
    "camera.py": "camera.md",
    "gevent_service.py": "gevent.md",
    "kill_safe_lock.py": "kill-safe-lock.md",
    "languages/python.py": "other-languages.md",
    "migration/multiprocessing_after.py": "migrate-from-shared_memory.md",
    "migration/multiprocessing_before.py": "migrate-from-shared_memory.md",
    "migration/posix_ipc_after.py": "migrate-from-posix_ipc.md",
    "start_methods.py": "multiprocessing.md",
    "worker_pool.py": "worker-pool.md",
}
#: Files that PROGRAMS run, or that a test of their own runs.
OTHERS = {
    "c_structs.c",
    "containers/compose-host.yaml",
    "containers/compose.yaml",
    "containers/pod.yaml",
    "gunicorn_app.py",
    "gunicorn_conf.py",
    "languages/peer.c",
    "languages/peer.php",
    "languages/peer.pl",
    "languages/peer.rb",
    "leaked_objects.sh",
    "migration/posix_ipc_before.py",
    "monitoring.py",
    "other_users.py",
    "queue_fill.sh",
}


def marked(program: str) -> object:
    return pytest.param(program, marks=NEEDS_GEVENT) if "gevent" in program else program


@pytest.mark.parametrize("program", [marked(program) for program in PROGRAMS])
def test_a_recipe_prints_what_its_page_says(program: str) -> None:
    assert run_recipe(program) in outputs(PROGRAMS[program])


def test_every_file_of_a_recipe_is_run_by_a_test() -> None:
    files = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert {name for name in files if "__pycache__" not in name} == {*PROGRAMS, *OTHERS}

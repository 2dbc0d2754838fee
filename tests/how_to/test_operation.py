"""docs/how-to/leaked-objects.md, monitoring.md, containers.md, multiprocessing.md."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import namespace
import pytest
import yaml
from helpers import in_child
from prometheus_client.parser import text_string_to_metric_families
from recipes import FOLDER, environment, outputs, run_command, run_recipe

import sysv_ipc
from sysv_ipc import IPC_CREX, IPC_PRIVATE, MessageQueue, Semaphore, SharedMemory

pytestmark = pytest.mark.once

Run = Callable[..., subprocess.CompletedProcess[str]]

# -------------------------------------------------------------------------- leaked objects


def test_unused_objects_are_removed_and_others_stay(run_python: Run, semaphore: Semaphore) -> None:
    code = """
import os, sysv_ipc as s
s.Semaphore(None, s.IPC_CREX, initial_value=1).acquire()
s.SharedMemory(None, s.IPC_CREX)
s.MessageQueue(None, s.IPC_CREX).send("x")
os.kill(os.getpid(), 9)
"""
    semaphore.acquire()
    assert run_python(code).returncode == -signal.SIGKILL
    printed = run_script_that_complains("leaked_objects.sh")
    (shown,) = outputs("leaked-objects.md")
    assert printed.stdout.split("\n")[0].split() == shown.split("\n")[0].split()
    assert printed.stdout.count("unused") == 3
    assert printed.stdout.count("removed ") == 3
    assert f"process {os.getpid()} " in printed.stderr
    assert semaphore.value == 0
    assert (sysv_ipc.shared_memories(), sysv_ipc.message_queues()) == ([], [])


def run_script_that_complains(
    name: str, *arguments: object, status: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a script of examples/how_to/ that writes to standard error, and ends with this status."""
    done = subprocess.run(
        [FOLDER / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert done.returncode == status
    return done


def test_a_server_that_opens_or_creates_finds_its_objects_again(run_python: Run, key: int) -> None:
    code = """
import os, sys, sysv_ipc as s
s.MessageQueue(int(sys.argv[1]), s.IPC_CREAT).send("x")
os.kill(os.getpid(), 9)
"""
    for _ in range(3):
        run_python(code, key)
    queue = MessageQueue(key)
    assert (queue.current_messages, len(sysv_ipc.message_queues())) == (3, 1)
    queue.remove()


# ------------------------------------------------------------------------------ monitoring


def metrics(text: str) -> dict[tuple[str, str], float]:
    """Return the value of each sample, by its name and its only label."""
    return {
        (sample.name, *sample.labels.values()): sample.value  # type: ignore[misc]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def busy(queue: MessageQueue) -> MessageQueue:
    """A queue that is a quarter full."""
    queue.max_size = 400
    queue.send(b"x" * 100)
    return queue


def test_metrics_agree_with_the_lists(busy: MessageQueue, semaphore: Semaphore) -> None:
    found = metrics(run_recipe("monitoring.py"))
    limits = sysv_ipc.limits()
    assert found["sysv_ipc_limit", "msgmni"] == limits.msgmni
    assert found["sysv_ipc_used", "msgmni"] == limits.queues
    assert found["sysv_ipc_used", "semmns"] == limits.semaphores
    key = f"{busy.key:#010x}"
    assert found["sysv_ipc_queue_fill_ratio", key] == 0.25
    assert found["sysv_ipc_queue_messages", key] == 1
    assert found["sysv_ipc_semaphore_waiting", f"{semaphore.key:#010x}"] == 0


def test_a_script_says_how_full_a_queue_is(busy: MessageQueue) -> None:
    assert run_command(FOLDER / "queue_fill.sh", str(busy.key), "25") == "25 %\n"
    done = run_script_that_complains("queue_fill.sh", busy.key, 24, status=1)
    assert (done.stdout, done.stderr) == ("25 %\n", "")


def test_a_script_that_looks_for_a_queue_that_does_not_exist_fails(key: int) -> None:
    done = run_script_that_complains("queue_fill.sh", key, 80, status=1)
    assert (done.stdout, done.stderr) == ("", f"there is no queue with the key {key}\n")


def test_objects_without_a_key_have_labels_of_their_own() -> None:
    queues = [MessageQueue(IPC_PRIVATE, IPC_CREX) for _ in range(2)]
    found = metrics(run_recipe("monitoring.py"))
    for queue in queues:
        assert found["sysv_ipc_queue_messages", f"id:{queue.id}"] == 0
        queue.remove()


def test_metrics_go_to_a_file_for_node_exporter(tmp_path: Path) -> None:
    file = tmp_path / "sysv_ipc.prom"
    assert run_recipe("monitoring.py", str(file)) == ""
    assert ("sysv_ipc_limit", "shmmni") in metrics(file.read_text())


# ------------------------------------------------------------------------------ containers


def configuration(name: str) -> Any:
    return yaml.safe_load((FOLDER / "containers" / name).read_text())


def test_the_services_share_one_namespace() -> None:
    services = configuration("compose.yaml")["services"]
    assert services["producer"]["ipc"] == "shareable"
    assert services["consumer"]["ipc"] == "service:producer"
    assert services["consumer"]["depends_on"] == ["producer"]
    assert configuration("compose-host.yaml")["services"]["consumer"]["ipc"] == "host"


@pytest.mark.parametrize("name", ["compose.yaml", "pod.yaml"])
def test_sysctls_of_the_configuration_belong_to_the_namespace(name: str) -> None:
    settings = configuration(name)
    if name == "pod.yaml":
        pairs = settings["spec"]["securityContext"]["sysctls"]
        sysctls = {pair["name"]: pair["value"] for pair in pairs}
    else:
        sysctls = settings["services"]["producer"]["sysctls"]

    def set_in_a_new_namespace() -> None:
        namespace.enter(as_root=True)
        for sysctl, value in sysctls.items():
            Path("/proc/sys", sysctl.replace(".", "/")).write_text(str(value))
        assert sysv_ipc.limits().msgmnb == 1048576

    before = sysv_ipc.limits()
    in_child(set_in_a_new_namespace)
    assert sysv_ipc.limits().msgmnb == before.msgmnb


def test_objects_of_another_namespace_cannot_be_found_until_it_is_shared(
    semaphore: Semaphore,
) -> None:
    key, shared = semaphore.key or 0, os.open("/proc/self/ns/ipc", os.O_RDONLY)

    def look() -> tuple[bool, bool]:
        namespace.enter()
        alone = sysv_ipc.exists(key, Semaphore)
        assert ctypes.CDLL(None).setns(shared, namespace.CLONE_NEWIPC) == 0
        return alone, sysv_ipc.exists(key, Semaphore)

    try:
        assert in_child(look) == (False, True)
    finally:
        os.close(shared)


# ------------------------------------------------------------------------- multiprocessing


def test_undo_is_pickled_with_a_handle(semaphore: Semaphore) -> None:
    semaphore.undo = True
    assert pickle.loads(pickle.dumps(semaphore)).undo


def test_a_removed_segment_that_is_attached_can_be_unpickled(
    segment: SharedMemory, run_python: Run
) -> None:
    segment.remove()
    segment.write(b"here")
    code = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1])).read(4))"
    done = run_python(code, pickle.dumps(segment).hex())
    assert (done.stdout, done.stderr) == ("b'here'\n", "")


def test_a_child_that_is_forked_inside_a_with_block_releases_too(semaphore: Semaphore) -> None:
    with semaphore:
        in_child(lambda: semaphore.__exit__(None, None, None))
    assert semaphore.value == 2


def test_a_forked_child_inherits_the_attachment(segment: SharedMemory) -> None:
    segment.remove()
    in_child(lambda: segment.write(b"from the child"))
    assert segment.read(14) == b"from the child"

"""Editors show a text for each public name.

The name of this file keeps it out of the suite: it needs the packages of the group "lint", which
exist only for some machines.  ``make lint`` runs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from editors.language_server import LanguageServer

PROGRAM = """\
import sysv_ipc
from sysv_ipc import aio

semaphore = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX)
members = sysv_ipc.SemaphoreSet(None, 2, sysv_ipc.IPC_CREX)
memory = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX)
queue = sysv_ipc.MessageQueue(None, sysv_ipc.IPC_CREX)
number = memory.atomic(0, "u32")
task = aio.MessageQueue(None)
lock = sysv_ipc.aio.Semaphore(None)
error = sysv_ipc.Error()
"""

#: An expression, whose last name is hovered over, and words of the text.
NAMES = [
    ("sysv_ipc", "Unrelated processes, in any language"),
    ("sysv_ipc.aio", "asyncio"),
    ("sysv_ipc.Semaphore", "A System V semaphore"),
    ("sysv_ipc.SemaphoreOperations", "made by SemaphoreSet.compile"),
    ("sysv_ipc.SharedMemory", "A System V shared memory segment"),
    ("sysv_ipc.Atomic", "Each operation is atomic"),
    ("sysv_ipc.Limits", "The limits of the IPC namespace"),
    ("sysv_ipc.SemaphoreInfo", "as the kernel describes it"),
    ("sysv_ipc.ftok", "See ftok(3)"),
    ("sysv_ipc.key_from_name", "the same on every machine"),
    ("sysv_ipc.shared_memories", "Return a list of all segments"),
    ("sysv_ipc.remove_message_queue", "See msgctl(2)"),
    ("sysv_ipc.set_wait_signal", "signal(7)"),
    ("sysv_ipc.IPC_CREX", "IPC_CREAT | IPC_EXCL"),
    ("sysv_ipc.SEM_UNDO", "undoes it when the process ends"),
    ("sysv_ipc.SHM_HUGE_2MB", "huge pages of 2 MiB"),
    ("sysv_ipc.SEMAPHORE_VALUE_MAX", "SEMVMX"),
    ("sysv_ipc.BusyError", "ENOMSG"),
    ("sysv_ipc.ArgumentWarning", "probably a mistake"),
    ("error.kind", "The kind of the object"),
    ("semaphore.acquire", "Subtract delta from the value"),
    ("semaphore.value", "GETVAL, SETVAL"),
    ("semaphore.undo", "SEM_UNDO"),
    ("semaphore.info().nsems", "The number of members"),
    ("semaphore.from_id", "Open the member of the set"),
    ("members.op", "in one system call"),
    ("members.values", "GETALL, SETALL"),
    ("memory.view", "Return a memoryview"),
    ("memory.ndarray", "Return a NumPy array"),
    ("memory.number_attached", "attachments in all processes"),
    ("memory.info().resident", "Bytes in memory"),
    ("number.wait", "FUTEX_WAIT"),
    ("queue.receive", "type 0 selects the first message"),
    ("queue.max_size", "msg_qbytes"),
    ("queue.info().last_send_pid", "last sent a message"),
    ("queue.cancel", "End every wait"),
    ("sysv_ipc.limits().msgmax", "kernel.msgmax"),
    ("aio.SemaphoreSet", "whose waits are awaited"),
    ("task.send", "Wait while the queue is full"),
    ("task.handle", "everything that does not wait"),
    ("lock.acquire", "A cancelled task has taken nothing"),
]

#: An expression, whose last name is hovered over, and the type that is shown.
TYPES = [
    ('memory.view(0, 8, "d")', "memoryview[float]"),
    ("memory.view()", "memoryview[int]"),
    ('memory.view(format="c")', "memoryview[bytes]"),
    ('memory.ndarray(3, "f8")', "NDArray[float64]"),
    ("memory.ndarray((2, 3), bool)", "NDArray[bool"),
    ("queue.receive()", "tuple[bytes, int]"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    """The language server, for an empty folder."""
    with LanguageServer(tmp_path_factory.mktemp("editor")) as running:
        yield running


def hovered(server: LanguageServer, expression: str, column: int) -> str:
    """Return what the server shows for a column of the last line of the program."""
    name = f"program_{next(server.numbers)}.py"
    uri = server.open(name, PROGRAM + expression + "\n")
    return server.hover(uri, PROGRAM.count("\n"), column)


@pytest.mark.parametrize(("expression", "words"), NAMES)
def test_an_editor_shows_a_text_for_a_name(
    server: LanguageServer, expression: str, words: str
) -> None:
    assert words in " ".join(hovered(server, expression, len(expression) - 1).split())


@pytest.mark.parametrize(("expression", "type"), TYPES)
def test_an_editor_shows_the_type_of_a_result(
    server: LanguageServer, expression: str, type: str
) -> None:
    assert type in hovered(server, f"result = {expression}", 1)


def test_no_editor_shows_a_text_for_a_name_that_does_not_exist(server: LanguageServer) -> None:
    assert "System V" not in hovered(server, "sysv_ipc.Semaphor", 12)


def test_the_client_has_found_the_installed_package(server: LanguageServer) -> None:
    import sysv_ipc

    result = server.request(
        "textDocument/definition",
        textDocument={"uri": server.open("definition.py", "import sysv_ipc.aio\n")},
        position={"line": 0, "character": 17},
    )
    assert {Path(sysv_ipc.aio.__file__).as_uri()} == {place["uri"] for place in result}

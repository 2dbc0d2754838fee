"""docs/how-to/other-users.md: users of one group share a queue, and no other user can."""

from __future__ import annotations

import grp
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from helpers import NEEDS_ROOT, in_child
from recipes import FOLDER, SCRIPTS, environment, load_recipe, run_command, run_recipe

import sysv_ipc
from sysv_ipc import IPC_CREX, MessageQueue, PermissionsError

pytestmark = [pytest.mark.once, NEEDS_ROOT]

GROUP = grp.getgrgid(65534)
MEMBER, OTHER = 4711, 4712


@pytest.fixture
def shared() -> Iterator[MessageQueue]:
    """The queue that the program has created for GROUP."""
    run_recipe("other_users.py", "create", GROUP.gr_name)
    key: int = load_recipe("other_users.py").KEY
    yield MessageQueue(key)
    run_recipe("other_users.py", "remove")
    assert not sysv_ipc.exists(key, MessageQueue)


def test_two_users_of_the_group_exchange_a_message(shared: MessageQueue) -> None:
    assert (shared.gid, shared.mode) == (GROUP.gr_gid, 0o660)
    key = shared.key or 0
    in_child(lambda: MessageQueue(key).send("order 1"), uid=MEMBER, gid=GROUP.gr_gid)
    assert run_recipe("other_users.py", "receive") == "order 1\n"
    run_recipe("other_users.py", "send", "order 2")
    received = in_child(
        lambda: MessageQueue(key).receive(block=False)[0], uid=OTHER, gid=GROUP.gr_gid
    )
    assert received == b"order 2"


def test_a_user_outside_the_group_cannot_open_the_queue(shared: MessageQueue) -> None:
    with pytest.raises(PermissionsError, match="Permission denied"):
        in_child(lambda: MessageQueue(shared.key), uid=OTHER, gid=OTHER)


def test_a_member_cannot_remove_the_queue(shared: MessageQueue) -> None:
    with pytest.raises(PermissionsError, match="Operation not permitted"):
        in_child(MessageQueue(shared.key).remove, uid=MEMBER, gid=GROUP.gr_gid)


def test_a_new_queue_belongs_to_the_group_of_its_creator_and_the_umask_has_no_effect(
    key: int,
) -> None:
    def create() -> tuple[int, int]:
        os.umask(0o777)
        queue = MessageQueue(key, IPC_CREX, mode=0o660)
        return queue.gid, queue.mode

    assert in_child(create, uid=MEMBER, gid=OTHER) == (OTHER, 0o660)
    sysv_ipc.MessageQueue(key).remove()


def test_two_commands_give_an_existing_queue_to_the_group(queue: MessageQueue) -> None:
    run_command(SCRIPTS / "sysv-ipc", "chown", f":{GROUP.gr_name}", "msg", str(queue.key))
    run_command(SCRIPTS / "sysv-ipc", "chmod", "660", "msg", str(queue.key))
    assert (queue.gid, queue.mode) == (GROUP.gr_gid, 0o660)


def test_a_program_without_a_command_shows_its_commands() -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "other_users.py"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert '"create GROUP" creates the queue' in done.stderr

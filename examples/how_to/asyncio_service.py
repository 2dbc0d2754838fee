"""Serve requests from a queue with asyncio, and stop cleanly on SIGTERM.

Without arguments, this program starts the service, sends requests as a client, and stops it.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys

from sysv_ipc import IPC_CREX, MessageQueue, aio


async def answer(request: bytes, replies: aio.MessageQueue) -> None:
    """Compute something and send it to the client, whose pid is the type of its replies."""
    question = json.loads(request)
    await asyncio.sleep(0.01)
    reply = json.dumps({"id": question["id"], "square": question["number"] ** 2})
    await replies.send(reply, type=question["client"])


async def serve(requests: aio.MessageQueue, replies: aio.MessageQueue) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with asyncio.TaskGroup() as answers:

        async def receive() -> None:
            async for message, _ in requests:
                answers.create_task(answer(message, replies))

        receiver = answers.create_task(receive())
        print("the service is ready", flush=True)
        await stop.wait()
        receiver.cancel()  # The group waits for the answers that have begun.
    requests.close()
    replies.close()


def ask(requests: MessageQueue, replies: MessageQueue, id: int, number: int) -> int:
    client = os.getpid()
    requests.send(json.dumps({"id": id, "client": client, "number": number}))
    while True:
        reply = json.loads(replies.receive(type=client, timeout=30)[0])
        if reply["id"] == id:  # Otherwise it is a late reply to an earlier question.
            return int(reply["square"])


def main() -> None:
    requests, replies = MessageQueue(None, IPC_CREX), MessageQueue(None, IPC_CREX)
    command = [sys.executable, __file__, str(requests.key), str(replies.key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        print(service.stdout.readline(), end="")
        print([ask(requests, replies, number, number) for number in (3, 4, 5)])
        service.terminate()
    print("the service ended with status", service.returncode)
    requests.send("a request that arrives later")
    print("requests that wait for the next service:", requests.current_messages)
    requests.remove()
    replies.remove()


if __name__ == "__main__":
    if len(sys.argv) == 3:
        asyncio.run(serve(*(aio.MessageQueue(int(key)) for key in sys.argv[1:])))
    else:
        main()

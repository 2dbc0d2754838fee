"""A client of a language server: the part of the protocol that an editor needs for hover texts."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SERVER = Path(sys.executable).with_name("basedpyright-langserver")


class LanguageServer:
    """basedpyright's server for one folder, with the packages of this interpreter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = itertools.count(1)
        self.process = subprocess.Popen(
            [SERVER, "--stdio"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        capabilities = {
            "workspace": {"configuration": True},
            "textDocument": {"hover": {"contentFormat": ["plaintext"]}},
        }
        folder = {"uri": self.folder.as_uri(), "name": "folder"}
        self.request(
            "initialize", processId=None, capabilities=capabilities, workspaceFolders=[folder]
        )
        self.send(method="initialized", params={})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def send(self, **message: Any) -> None:
        """Send a message, after a header with its length."""
        content = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Receive a message."""
        assert self.process.stdout
        length = 0
        while line := self.process.stdout.readline().strip():
            name, _, value = line.partition(b": ")
            if name == b"Content-Length":
                length = int(value)
        message: dict[str, Any] = json.loads(self.process.stdout.read(length))
        return message

    def request(self, method: str, **params: Any) -> Any:
        """Send a request and return its result.  Answer the server's own requests meanwhile."""
        number = next(self.numbers)
        self.send(id=number, method=method, params=params)
        while True:
            message = self.receive()
            if "method" not in message and message["id"] == number:
                return message["result"]
            if message.get("method") == "workspace/configuration":
                self.send(id=message["id"], result=[*map(settings, message["params"]["items"])])
            elif "id" in message and "method" in message:
                self.send(id=message["id"], result=None)

    def open(self, name: str, text: str) -> str:
        """Open a document with this text, without a file, and return its URI."""
        uri = (self.folder / name).as_uri()
        document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        self.send(method="textDocument/didOpen", params={"textDocument": document})
        return uri

    def hover(self, uri: str, line: int, column: int) -> str:
        """Return the text that an editor shows for a place in a document."""
        place = {"line": line, "character": column}
        result = self.request("textDocument/hover", textDocument={"uri": uri}, position=place)
        return str(result["contents"]["value"]) if result else ""


def settings(item: dict[str, str]) -> dict[str, str]:
    """Return the settings for a section that the server asks for."""
    return {"pythonPath": sys.executable} if item.get("section") == "python" else {}

"""A server as users have it: a process of `sentvec serve` on a free port of this machine, and ways to talk to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.status, self.headers, self.content = status, headers, content

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class Running:
    """A server that is there."""

    def __init__(self, process: subprocess.Popen[str], url: str, lines: list[str]) -> None:
        self.process, self.url, self.lines = process, url, lines
        self.port = int(url.rsplit(":", 1)[1])

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        more = {} if body is None else {"content-type": "application/json"}
        try:
            connection.request(method, path, content, more | {k.replace("_", "-"): v for k, v in headers.items()})
            found = connection.getresponse()
            return Answer(found.status, {k.lower(): v for k, v in found.getheaders()}, found.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def raw(self, content: bytes = b"", timeout: float = 30) -> socket.socket:
        """Return a connection over which so much was sent."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        made.sendall(content)
        return made

    def children(self) -> list[int]:
        """Return the processes that encode: the grandchildren but those that hold the models, in case."""
        found = [pid for nest in _children(self.process.pid) for pid in _children(nest)]
        return [pid for pid in found if pid not in self.spares(found)]

    @staticmethod
    def spares(pids: list[int]) -> list[int]:
        """Return those of some processes that only wait to take the place of the one that holds the models."""
        return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text() == "sentvec-spare\n"]

    def wait_for(self, event: str, seconds: float = 60) -> None:
        late = time.monotonic() + seconds
        while not any(json.loads(line).get("event") == event for line in self.lines if line.startswith("{")):
            if time.monotonic() > late:
                raise AssertionError(f"no {event!r} in {self.lines}")
            time.sleep(0.05)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [
        int(one)
        for task in Path(f"/proc/{pid}/task").iterdir()
        if task.name != str(pid)
        for one in (task / "children").read_text().split()
    ]


@contextmanager
def serving(
    model: str | Path, *arguments: str, env: dict[str, str] | None = None, files: int | None = None
) -> Iterator[Running]:
    """Run a server until the block ends; it may have so many files open."""
    command = [sys.executable, "-m", "sentvec", "serve", str(model), "--port", "0", "--local-files-only", *arguments]
    if files is not None:
        command = ["sh", "-c", f'ulimit -n {files} && exec "$0" "$@"', *command]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | (env or {})
    )
    lines: list[str] = []
    there = threading.Event()
    found: list[str] = []

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line.rstrip())
            if '"listening"' in line:
                found.append(json.loads(line)["url"])
                there.set()
        there.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        there.wait(300)
        assert found, "\n".join(lines)
        yield Running(process, found[0], lines)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(5)
        if process.stderr is not None:
            process.stderr.close()

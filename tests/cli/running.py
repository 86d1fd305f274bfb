"""Run the command line inside the test's own process, or as a user's shell would."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from sentvec.cli import app


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `main()` with arguments and bytes on standard input."""

    def run(*arguments: object, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "argv", ["sentvec", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code: object = 0
        try:
            app.main()
        except SystemExit as stop:
            code = stop.code or 0
        said = capsys.readouterr()
        assert isinstance(code, int)
        assert "Traceback" not in said.out + said.err
        return Ended(code, said.out, said.err)

    return run


def shell(
    *arguments: object, stdin: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "sentvec", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, env=environment(env))


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """Return a bare environment in which sentvec can be imported and the network is off."""
    fixed = {"PYTHONPATH": ":".join(sys.path), "HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
    # a process that may write no more than a few bytes, or is killed, would leave half a file of byte code
    return fixed | {"PYTHONDONTWRITEBYTECODE": "1"} | (more or {})

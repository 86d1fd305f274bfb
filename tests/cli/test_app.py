"""The command as a whole: exit codes, streams, signals, and no traceback whatever happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.builders import tiny_bert
from tests.cli.running import environment, inside, shell

from sentvec import __version__
from sentvec.cli import app
from sentvec.errors import SentvecError

FULL = Path("/dev/full")
SLOW = """
import os, signal, sys
from sentvec.cli import encode
def open_model(*_):
    print("loading", flush=True)
    signal.pause()
encode.open_model = open_model
from sentvec.cli.app import main
sys.argv = ["sentvec", "encode", "-"]
main()
"""


@pytest.fixture
def sentvec(monkeypatch, capsys):
    return inside(monkeypatch, capsys)


def test_version(sentvec):
    assert sentvec("--version").out == f"sentvec {__version__}\n"


def test_help_shows_brackets_and_fills_lines(sentvec, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = sentvec("train", "--help").out
    assert "[[data]] of --config" in " ".join(said.split())
    assert "float32 or bfloat16.  [float32]" in said
    lines = said.splitlines()
    broken = [line for line in lines if line.rstrip().endswith(("recognised by", "says how it"))]  # as in the source
    assert max(map(len, lines)) <= 80 and not broken
    assert "--first-prompt <str>" in sentvec("inspect", "why", "--help").out


@pytest.mark.parametrize("arguments", [["encode", "--no-such-option"], ["no-such-command"], ["encode", "--dim", "x"]])
def test_usage_errors_go_to_stderr(sentvec, arguments):
    ended = sentvec(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            SentvecError("\x1b[2J\x9b1m\x07\udcff\u202e\r and\nmore"),
            1,
            "error: \\x1b[2J\\x9b1m\\x07\\udcff\\u202e\\r and\nmore\n",
        ),
        (PermissionError(13, "Permission denied", "\x1b]0;"), 1, "error: Permission denied: \\x1b]0;\n"),
        (SentvecError("what is [bold]wrong[/x]"), 1, "error: what is [bold]wrong[/x]\n"),
        (OSError(28, "No space left on device"), 1, "error: No space left on device\n"),
        (PermissionError(13, "Permission denied", "a.txt"), 1, "error: Permission denied: a.txt\n"),
    ],
)
def test_errors_are_one_line(sentvec, monkeypatch, error, code, said):
    def fail():
        raise error

    monkeypatch.setattr(app, "app", fail)
    ended = sentvec("info")
    assert (ended.code, ended.out, ended.err) == (code, "", said)


def test_faults_of_our_own_are_not_hidden(sentvec, monkeypatch):
    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(ZeroDivisionError):
        sentvec("info")


def test_ctrl_c_stops_quietly():
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=environment(),
    )
    assert process.stdout.readline() == b"loading\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == b""
    assert err.decode().strip().lower() in ("", "stopped", "aborted!", "aborted.")


ENDLESS = """
import signal
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, under which tests may run, has all children ignore it
from sentvec.cli import encode
def read_texts(*_):
    yield "the cat"
    print("reading", flush=True)
    signal.pause()
encode.read_texts = read_texts
from sentvec.cli.app import main
main()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGKILL", -9)])
def test_signals_leave_no_half_file(tmp_path, name, code):
    tiny_bert(tmp_path / "model")
    Path(tmp_path / "out.npy").write_bytes(b"precious")
    for _ in range(2):  # what nobody can tidy up after is at least not left twice
        command = [sys.executable, "-c", ENDLESS, "encode", "-", "-m", str(tmp_path / "model"), "-o", "out.npy"]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        with process:
            assert process.stdout.readline() == b"reading\n"
            process.send_signal(getattr(signal, name))
            _, err = process.communicate(timeout=60)
        assert process.returncode == code
        assert b"Traceback" not in err
    left = {path.name for path in tmp_path.iterdir()} - {"model", "out.npy"}
    assert len(left) == (1 if name == "SIGKILL" else 0)
    assert (tmp_path / "out.npy").read_bytes() == b"precious"


def test_signals_are_as_before_once_the_command_has_ended(sentvec):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    sentvec("--version")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_log_lines_do_not_steer_the_terminal(tmp_path):
    tiny_bert(tmp_path / "\x1b[2J")  # no modules.json: a warning with the folder's name
    done = shell("info", tmp_path / "\x1b[2J")
    assert done.returncode == 0
    assert b"WARNING" in done.stderr
    assert b"\x1b" not in done.stderr + done.stdout


def test_a_closed_standard_input(tmp_path):
    tiny_bert(tmp_path / "model")
    command = f"{sys.executable} -m sentvec encode -m {tmp_path / 'model'} <&-"
    done = subprocess.run(command, shell=True, capture_output=True, env=environment(), check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: standard input is closed; give a file")


def test_a_reader_that_leaves_is_no_error_to_speak_of(tmp_path):
    tiny_bert(tmp_path / "model")
    process = subprocess.Popen(
        [sys.executable, "-m", "sentvec", "encode", "-m", str(tmp_path / "model"), "--device", "cpu"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    with process.stdin:
        process.stdin.write(b"the cat sat\n" * 3000)
    assert process.stdout.readline().startswith(b'{"text": "the cat sat"')
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=60) != 0
    assert "Traceback" not in err
    assert "Broken" not in err


def test_output_is_utf8_whatever_the_terminal_says(tmp_path):
    tiny_bert(tmp_path / "model")
    done = shell(*("similarity", "你好", "猫", "--json", "-m", tmp_path / "model"), env={"PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 0
    assert '"你好"' in done.stdout.decode("utf-8")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output(tmp_path):
    tiny_bert(tmp_path / "model")
    command = [sys.executable, "-m", "sentvec", "encode", "-m", str(tmp_path / "model")]
    with FULL.open("wb") as full:
        done = subprocess.run(
            command, input=b"cat\n", stdout=full, stderr=subprocess.PIPE, env=environment(), check=False
        )
    assert done.returncode != 0
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr


def test_verbose_says_what_is_decided(tmp_path):
    tiny_bert(tmp_path / "model")
    (tmp_path / "model" / "tokenizer_config.json").unlink()
    done = shell("-v", "info", tmp_path / "model", "--json")
    assert json.loads(done.stdout)["hidden"] == 32
    assert b"WARNING: " in done.stderr  # no modules.json
    assert b"INFO: no do_lower_case is set" in done.stderr

"""The contract: `import sentvec` and `sentvec --help` load no heavy library."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "tokenizers", "safetensors", "huggingface_hub", "faiss", "apsw", "transformers")
REPORT = f"import sys; print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
HELP = """
import sys
from sentvec.cli.app import main
sys.argv = ["sentvec", *{args!r}]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""


def loaded_by(code: str) -> str:
    """Run code in a fresh Python and return its last line: which heavy libraries it brought in."""
    done = subprocess.run([sys.executable, "-c", f"{code}\n{REPORT}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_import_brings_in_nothing_heavy() -> None:
    assert loaded_by("import sentvec; sentvec.__version__; dir(sentvec)") == "LOADED []"


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["encode", "--help"], ["search", "--help"]], ids=" ".join)
def test_help_brings_in_nothing_heavy(args: list[str]) -> None:
    assert loaded_by(HELP.format(args=args)) == "LOADED []"


def test_the_report_sees_what_is_loaded() -> None:
    assert loaded_by("import numpy") == "LOADED ['numpy']"

"""A command imports torch without looking for garbage in it, and looks for garbage again afterwards."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from sentvec.cli.common import imports


def test_what_is_imported_is_not_searched_for_garbage_and_what_follows_is() -> None:
    code = """
import gc
from sentvec.cli.common import imports
runs = []
gc.callbacks.append(lambda phase, info: runs.append(phase))
with imports():
    import numpy
    kept = [[] for _ in range(10_000)]
assert runs == [], "it was looked for while modules came in"
assert gc.isenabled() and gc.get_freeze_count() > 10_000
more = [[] for _ in range(10_000)]
assert runs, "it is looked for no more"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_process_that_has_torch_is_left_alone() -> None:
    pytest.importorskip("torch")
    before = gc.get_freeze_count()
    with imports():
        assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_an_import_that_fails_leaves_the_collector_running() -> None:
    code = """
import gc
from sentvec.cli.common import imports
try:
    with imports():
        import no_such_module
except ModuleNotFoundError:
    pass
assert gc.isenabled() and gc.get_freeze_count() == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True)

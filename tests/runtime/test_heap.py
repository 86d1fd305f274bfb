"""What was freed goes back to the system, though something lies behind it."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from sentvec.runtime.heap import give_back


def resident():
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries give back by themselves")
def test_freed_memory_is_given_back():
    pieces = [torch.ones(25_000) for _ in range(1_000)]  # 100 KB each: below what the C library maps by itself
    full = resident()
    last = pieces[-1]
    del pieces
    give_back()
    assert last.sum() == 25_000
    assert full - resident() > 60

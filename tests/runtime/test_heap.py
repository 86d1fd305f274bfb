"""What was freed goes back to the system when it is told to, and stays where it is taken again."""

from __future__ import annotations

import platform
import subprocess
import sys
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


FAULTS = """
import resource, torch
from sentvec.runtime.heap import give_back, keep
{call}
for _ in range(20):
    torch.ones(15_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    torch.ones(15_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep memory in their own ways")
def test_memory_that_is_kept_is_taken_again_without_the_system():
    def faults(call):
        script = FAULTS.format(call=call)
        return int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout)

    assert faults("keep()") < 200 < faults("")

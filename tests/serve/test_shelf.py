"""A collection that is exchanged while a server has it open."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from tests.builders import add_modules, tiny_bert
from tests.serve.running import Running, serving

from sentvec import Collection, Embedder

WITH = {"authorization": "Bearer key"}


def index(folder: Path, model: Path, text: str) -> None:
    with Collection.open(folder, Embedder.from_pretrained(model, device="cpu")) as opened:
        opened.add([text], ids=["one"])


def found(server: Running) -> set[str]:
    return {hit["text"] for hit in server.post("/search", {"query": "the cat"}, **WITH).json["hits"]}


def test_a_collection_that_was_exchanged_is_opened_again(tmp_path: Path) -> None:
    model = add_modules(tiny_bert(tmp_path / "model"), "Pooling", "Normalize")
    index(tmp_path / "notes.sv", model, "the cat sat")
    index(tmp_path / "backup.sv", model, "a cat from a backup")
    env = {"SENTVEC_API_KEY": "key"}
    with serving(model, "--processes", "1", "--collection", str(tmp_path / "notes.sv"), env=env) as server:
        assert found(server) == {"the cat sat"}
        shutil.rmtree(tmp_path / "notes.sv")
        more = {"documents": [{"text": "dogs", "id": "two"}]}
        assert server.post("/documents", more, **WITH).status == 500
        shutil.copytree(tmp_path / "backup.sv", tmp_path / "notes.sv")
        assert server.post("/documents", more, **WITH).json["added"] == 1
        assert found(server) == {"a cat from a backup", "dogs"}

        add_modules(tiny_bert(model, seed=5), "Pooling", "Normalize")
        shutil.rmtree(tmp_path / "notes.sv")
        index(tmp_path / "notes.sv", model, "the cat of another model")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("models loaded again")
        assert found(server) == {"the cat of another model"}
        assert server.post("/documents", more, **WITH).json["added"] == 1

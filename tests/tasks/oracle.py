"""One folder, our pipeline and transformers'; and whether two results say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.builders import write_json
from tests.headed import tiny

from sentvec.checkpoint.tokenizer import read_tokenizer
from sentvec.tasks.pipeline import ALIASES, Task, pipeline

NEAR = 1e-5


def both(folder: Path, task: str, family: str, ending: str, **config: Any) -> tuple[Task, Any]:
    """Write a small seeded model, and load it twice."""
    import transformers

    tiny(folder, family, ending, **config)
    if family == "roberta":  # as published: with a <mask> that takes the space before it
        (folder / "tokenizer.json").write_text(read_tokenizer(folder).to_json(), encoding="utf-8")
        roles = {"cls": "<s>", "bos": "<s>", "sep": "</s>", "eos": "</s>", "unk": "<unk>", "pad": "<pad>"}
        special = {f"{role}_token": token for role, token in (roles | {"mask": "<mask>"}).items()}
        write_json(
            folder / "tokenizer_config.json",
            special | {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64},
        )
    theirs = transformers.pipeline(ALIASES.get(task, task), model=str(folder), device="cpu")
    theirs.tokenizer.model_max_length = 64
    return pipeline(task, folder, device="cpu"), theirs


def same(ours: Any, theirs: Any) -> bool:
    """Whether two results have the same keys and values, and scores that are near."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, float):
        return abs(ours - theirs) < NEAR
    return bool(ours == theirs) and type(ours) in (int, str)

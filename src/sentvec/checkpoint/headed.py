"""A folder of a model with a task head in, encoder and heads out; and back into a folder that transformers reads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sentvec.checkpoint.files import read_json_or_empty, write_json
from sentvec.checkpoint.load import Checkpoint, Parts, load_parts
from sentvec.checkpoint.names import complaint, shape_fault
from sentvec.checkpoint.save import config_of, encoder_tensors, state_of, write_tensors, write_tokenizer
from sentvec.checkpoint.sentence import read_modules, read_reading
from sentvec.errors import ConfigError, HeadNotFound, WeightsError
from sentvec.models.head_table import SUFFIXES, Family, HeadRow, Part
from sentvec.models.registry import architecture
from sentvec.models.task_head import TaskHead, build_head, word_table

_log = logging.getLogger("sentvec")

PROBLEMS = ("regression", "single_label_classification", "multi_label_classification")


@dataclass(frozen=True)
class Headed:
    """A model with a task head that was read from a folder.

    Attributes:
        checkpoint: encoder, tokeniser, and how texts are read; its recipe's pooling is not used.
        task: what the heads are for, a key of `sentvec.models.head_table.SUFFIXES`.
        heads: the heads by name, in float32 on the CPU.
        labels: names of the labels, in the order of the logits.
        problem_type: one of `PROBLEMS`, or None where config.json does not say.
        activation: class path of what follows the logits of a cross-encoder, or None where no file says.
    """

    checkpoint: Checkpoint
    task: str
    heads: Mapping[str, TaskHead]
    labels: tuple[str, ...]
    problem_type: str | None
    activation: str | None


def load_headed(root: Path, task: str | None = None) -> Headed:
    """Read a folder.

    Args:
        root: a Hugging Face folder, or one of a sentence-transformers CrossEncoder.
        task: the head to read; None is the one that `architectures` in config.json names.

    Raises:
        HeadNotFound: the checkpoint has no head for the task; the message names those that it has.
        ModelError: anything in the folder is absent, broken, or does not fit together.
    """
    modules = read_modules(root)
    parts = load_parts(modules[0].folder if modules else root)
    family = architecture(parts.model_type).tasks
    task = _chosen(parts, family, task, root)
    labels = read_labels(parts.config)
    heads = _filled(parts, family, family.rows[task], len(labels))
    if set(heads) <= {"masked-lm", "next-sentence", "question-answering"}:
        labels = ()  # config.json may have some, but they name nothing
    problem = parts.config.get("problem_type")
    if problem is not None and problem not in PROBLEMS:
        raise ConfigError(f"problem_type {problem!r} in config.json is not known. Known: {', '.join(PROBLEMS)}.")
    recipe = read_reading(root, modules, max_tokens=parts.encoder.config.max_tokens)
    return Headed(parts.checkpoint(recipe), task, heads, labels, problem, _activation(root, parts.config))


def save_headed(folder: Path, headed: Headed) -> None:
    """Write a folder that transformers reads (and, with one head for whole texts, sentence-transformers' CrossEncoder).

    Args:
        folder: made if it is not there; files of the same names are replaced one by one.
        headed: the model; weights are written in float32.
    """
    checkpoint = headed.checkpoint
    row = architecture(checkpoint.model_type)
    head_row = row.tasks.rows[headed.task]
    folder.mkdir(parents=True, exist_ok=True)
    config = config_of(checkpoint, row.saved_as.removesuffix("Model") + head_row.suffix)
    if headed.labels:
        config["id2label"] = {str(i): label for i, label in enumerate(headed.labels)}
        config["label2id"] = {label: i for i, label in enumerate(headed.labels)}
    if headed.problem_type is not None:
        config["problem_type"] = headed.problem_type
    if headed.activation is not None:
        known = config.get("sentence_transformers")
        config["sentence_transformers"] = (known if isinstance(known, dict) else {}) | {
            "activation_fn": headed.activation
        }
    write_json(folder / "config.json", config)
    tensors = {row.tasks.prefix + name: tensor for name, tensor in encoder_tensors(checkpoint).items()}
    for key, head in headed.heads.items():
        part = head_row.parts[key]
        state = state_of(head)
        tensors |= {part.names[ours]: tensor for ours, tensor in state.items()}
        if part.bias is not None and not head.tied:
            tensors[f"{part.out}.bias"] = state["out.bias"].clone()  # an untied map reads its bias from there
    write_tensors(folder, tensors)
    write_tokenizer(folder, checkpoint)
    _write_reading(folder, headed)


def _write_reading(folder: Path, headed: Headed) -> None:
    """Write what only sentence-transformers has a place for, in its newest form: older versions know none of it."""
    recipe = headed.checkpoint.recipe
    if not (recipe.prompts or recipe.lower_case):
        return
    kind = "sentence_transformers.base.modules.transformer.Transformer"
    write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": kind}])
    text = {"method": "forward", "method_output_name": "logits"}
    content: dict[str, Any] = {"transformer_task": headed.task, "modality_config": {"text": text}}
    content |= {"module_output_name": "scores"} | ({"do_lower_case": True} if recipe.lower_case else {})
    write_json(folder / "sentence_bert_config.json", content)
    stored: dict[str, Any] = {"model_type": "CrossEncoder", "prompts": dict(recipe.prompts)}
    stored |= {"default_prompt_name": recipe.default_prompt, "activation_fn": headed.activation}
    write_json(folder / "config_sentence_transformers.json", stored)


def read_labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the names of labels, in the order of the logits; LABEL_0, LABEL_1 … where config.json has none.

    Raises:
        ConfigError: they are not numbered from 0 without gaps.
    """
    given = config.get("id2label")
    if given is None:
        count = config.get("num_labels", 2)
        if not isinstance(count, int) or isinstance(count, bool) or not 0 < count < 1 << 20:
            raise ConfigError(f"num_labels in config.json is {count!r}, which should be a whole number, 1 or more.")
        return tuple(f"LABEL_{i}" for i in range(count))
    try:
        numbered = {int(key): str(label) for key, label in given.items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(f"id2label in config.json is {str(given)[:80]}, which should map numbers to names.") from None
    if not numbered or sorted(numbered) != list(range(len(given))):
        raise ConfigError(f"id2label in config.json should number labels from 0 without gaps, but has {list(given)}.")
    return tuple(numbered[i] for i in range(len(numbered)))


def _chosen(parts: Parts, family: Family, task: str | None, root: Path) -> str:
    """Decide which head to read: by name, as several tasks call their weights the same."""
    if task is not None and task not in SUFFIXES:
        raise HeadNotFound(f"there is no task {task!r}. Known: {', '.join(SUFFIXES)}.")
    declared = _declared(parts.config, family)
    # a head is there when its weights are, and when its names do not stand for another head's
    own = list(family.rows[declared].parts.values()) if declared else []
    there = [
        name
        for name, row in family.rows.items()
        if all(_has(part, parts.heads) and not any(_clash(part, other) for other in own) for part in row.parts.values())
    ]
    if task is None and (declared in there or len(there) == 1):
        return declared if declared in there else there[0]
    if task in there or (task is not None and task == declared):
        return task  # or its weights are missing, which is told by name
    asked = f"no head for {task}" if task is not None else "no task head" if not there else "several task heads"
    found = ", ".join(f"{name} ({family.rows[name].suffix})" for name in there)
    seen = f"config.json says {_architectures(parts.config)}, and the weights hold {found or 'the encoder alone'}"
    error = HeadNotFound(
        f"{root} has {asked}: {seen}. "
        + (f"Ask for {'one of these' if len(there) > 1 else there[0]}." if there else "Use it as an Embedder.")
    )
    error.there, error.seen = tuple(there), seen
    raise error


def _declared(config: Mapping[str, Any], family: Family) -> str | None:
    names = config.get("architectures")
    for name in names if isinstance(names, list) else ():
        for task, row in family.rows.items():
            if str(name).endswith(row.suffix):
                return task
    return None


def _architectures(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    return ", ".join(map(str, names)) if isinstance(names, list) and names else "nothing of a head"


def _has(part: Part, given: Mapping[str, Tensor]) -> bool:
    """Whether the weights of a head are there; biases are looked at later."""
    needed = [f"{name}.weight" for name in (part.dense, part.norm, None if part.tied else part.out) if name is not None]
    return all(name in given for name in needed) and any(name in given for name in part.names.values())


def _clash(part: Part, other: Part) -> bool:
    """Whether two heads call their weights the same and are not the same."""
    return part != other and not set(part.names.values()).isdisjoint(other.names.values())


def _filled(parts: Parts, family: Family, row: HeadRow, labels: int) -> dict[str, TaskHead]:
    """Build a task's heads and fill them, and say everything that is wrong at once."""
    given = parts.heads
    heads: dict[str, TaskHead] = {}
    missing: list[str] = []
    wrong: list[str] = []
    for key, part in row.parts.items():
        head = build_head(part, parts.encoder, parts.config, labels=labels, tied=_tied(parts, part))
        if head.readout == "pooler" and parts.encoder.pooler is None:
            names = dict(architecture(parts.model_type).names)
            missing += [name for ours in ("weight", "bias") for name in names.get(f"pooler.dense.{ours}", ())]
        found = {}
        for ours, tensor in head.state_dict().items():
            name = _stored(part, ours, given, head.tied)
            if name not in given:
                missing.append(name)
            elif fault := shape_fault(name, given[name], tensor.shape):
                wrong.append(fault)
            else:
                found[ours] = given[name].to(torch.float32)
        if len(found) == len(head.state_dict()):
            head.load_state_dict(found, assign=True)
        heads[key] = head.requires_grad_(True).eval()
    everywhere = [part for other in family.rows.values() for part in other.parts.values()]
    known = {name for part in everywhere for name in (*part.names.values(), *part.copies)}
    unexpected = sorted(given.keys() - known)
    if missing or wrong or unexpected:
        raise WeightsError(complaint(parts.origin, sorted(missing), unexpected, wrong))
    used = {name for part in row.parts.values() for name in (*part.names.values(), *part.copies)}
    if others := sorted(given.keys() - used):
        _log.info("%s: left out, of other tasks' heads: %s", parts.origin, ", ".join(others))
    return heads


def _stored(part: Part, ours: str, given: Mapping[str, Tensor], tied: bool) -> str:
    """Return the name under which a checkpoint stores a parameter. A bias can have two: it stands beside the last map,
    and in the map itself, which counts where the map is not tied, and where the other is not there."""
    name = part.names[ours]
    inside = f"{part.out}.bias"
    return inside if ours == "out.bias" and inside in given and (not tied or name not in given) else name


def _tied(parts: Parts, part: Part) -> bool:
    """Whether the last map borrows the word embeddings: unless config.json or other weights in the file say no."""
    if not part.tied or parts.config.get("tie_word_embeddings") is False:
        return False
    own = parts.heads.get(f"{part.out}.weight")
    table = word_table(parts.encoder)
    return own is None or (own.shape == table.shape and torch.equal(own.to(table.dtype), table))


def _activation(root: Path, config: Mapping[str, Any]) -> str | None:
    """Find the class path of a cross-encoder's activation, under the keys of all versions, the newest first."""
    newest = read_json_or_empty(root / "config_sentence_transformers.json").get("activation_fn")
    section = config.get("sentence_transformers")
    newer = section.get("activation_fn") if isinstance(section, dict) else None
    found = newest or newer or config.get("sbert_ce_default_activation_function")
    if found is not None and not isinstance(found, str):
        raise ConfigError(f"the activation function of {root} is {found!r}, which should be a class path.")
    return found

"""A model in, a hex digest out that is the same for every folder that gives the same vectors."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import torch
from torch import Tensor, nn

from sentvec.checkpoint.load import Checkpoint
from sentvec.checkpoint.recipe import Normalize, Step
from sentvec.models.heads import Projection
from sentvec.nn.activations import ACTIVATIONS


def fingerprint(checkpoint: Checkpoint) -> str:
    """Digest all that decides what a vector is: weights, tokeniser, pooling, lengths, prompts.

    Shapes speak through the weights, and dropout is for training. File formats, names of tensors and files, and the
    number format the encoder runs in do not count.

    Returns:
        sha256, 64 hex digits.
    """
    digest = hashlib.sha256()

    def add(label: str, tensors: dict[str, Tensor]) -> None:
        for key, tensor in sorted(tensors.items()):
            digest.update(f"{label}.{key}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().data)

    recipe = checkpoint.recipe
    encoder = checkpoint.encoder
    assert isinstance(encoder, nn.Module)
    add("encoder", encoder.state_dict())
    for number, step in enumerate(recipe.steps):
        if not isinstance(step, Normalize):
            add(f"step{number}", step.state_dict())
    numbers = checkpoint.encoder.config
    facts = {
        "scheme": 1,
        "act": _canonical(numbers.act),
        "heads": numbers.heads,
        "norm_eps": numbers.norm_eps,
        "position_offset": numbers.position_offset,
        "pooling": recipe.pooling,
        "include_prompt": recipe.include_prompt,
        "steps": [_described(step) for step in recipe.steps],
        "max_seq_length": recipe.max_seq_length,
        "lower_case": recipe.lower_case,
        # an empty prompt is the same as none; sentence-transformers writes two of them into every model it saves
        "prompts": sorted((name, text) for name, text in recipe.prompts.items() if text),
        "default_prompt": recipe.prompts.get(recipe.default_prompt, "") if recipe.default_prompt else "",
        "dim": recipe.dim,
    }
    if numbers.own is not None:  # layers may share their weights, so their number does not show in those
        facts |= {"layers": numbers.layers, "own": asdict(numbers.own)}
    digest.update(json.dumps(facts, sort_keys=True).encode())
    digest.update(checkpoint.tokenizer.to_json().encode())
    return digest.hexdigest()


def _canonical(act: str) -> str:
    """Return one name for an activation that has several."""
    return next(name for name, function in ACTIVATIONS.items() if function is ACTIVATIONS[act])


def _described(step: Step) -> str:
    if isinstance(step, Projection):
        return f"Dense {type(step.act).__name__} {step.adds_input}"
    return "Normalize" if isinstance(step, Normalize) else f"Flow {step.depth}"

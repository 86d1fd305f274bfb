"""A model in, a hex digest out that is the same for every folder that gives the same vectors."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from sentvec.checkpoint.load import Checkpoint
from sentvec.checkpoint.recipe import Step
from sentvec.models.heads import Projection


def fingerprint(checkpoint: Checkpoint) -> str:
    """Digest all that decides what a vector is: weights, tokeniser, pooling, lengths, prompts.

    File formats, names of tensors and files, and the number format the encoder runs in do not count.

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
        if isinstance(step, Projection):
            add(f"step{number}", step.state_dict())
    facts = (
        checkpoint.model_type,
        checkpoint.encoder.config,
        recipe.pooling,
        recipe.include_prompt,
        [_described(step) for step in recipe.steps],
        recipe.max_seq_length,
        recipe.lower_case,
        sorted(recipe.prompts.items()),
        recipe.default_prompt,
        recipe.dim,
    )
    digest.update(repr(facts).encode())
    digest.update(checkpoint.tokenizer.to_json().encode())
    return digest.hexdigest()


def _described(step: Step) -> str:
    if isinstance(step, Projection):
        return f"Dense {type(step.act).__name__} {step.adds_input}"
    return "Normalize"

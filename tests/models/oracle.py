"""Build our encoder and transformers' from the same seeded numbers, and run both on the same texts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sentvec.batch import PackedBatch, TokenIds, pack
from sentvec.checkpoint.names import to_ours
from sentvec.models.registry import architecture, build_empty
from sentvec.nn.probe import Probe


def seeded(reference: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Fill every parameter with numbers large enough that no part of the model is close to doing nothing.

    (transformers' own initialisation gives biases of zero and attention that is all but uniform.)
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "LayerNorm.weight" in name:
                parameter.copy_(1 + 0.1 * noise)
            elif parameter.ndim == 1:
                parameter.copy_(0.1 * noise)
            else:
                parameter.copy_(noise * 1.5 / parameter.shape[-1] ** 0.5)
    return reference.eval()


def ours_from(reference: Any, model_type: str) -> Any:
    """Our encoder with the reference's numbers, through the same name table that reads checkpoints."""
    row = architecture(model_type)
    numbers = row.read(reference.config.to_dict())
    encoder = build_empty(row, numbers, pooler=reference.pooler is not None)
    shapes = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    translated = to_ours(reference.state_dict(), row, row.places(numbers), shapes, "the reference")
    encoder.load_state_dict(translated.tensors, assign=True)
    return encoder.eval()


def random_batch(vocab: int, lengths: list[int], types: int, seed: int = 1) -> tuple[list[TokenIds], PackedBatch]:
    generator = torch.Generator().manual_seed(seed)
    texts = []
    for length in lengths:
        ids = torch.randint(5, vocab, (length,), generator=generator).tolist()
        kinds = torch.randint(0, types, (length,), generator=generator).sort().values.tolist()
        texts.append(TokenIds(ids, kinds))
    return texts, pack(texts)


def compare(reference: Any, encoder: Any, texts: list[TokenIds], batch: PackedBatch) -> dict[str, float]:
    """Return the largest differences in hidden states (of any layer), attention maps and pooler output."""
    with torch.no_grad():
        probe = Probe(attention=True)
        last = encoder(batch, probe=probe)
        starts = batch.offsets.tolist()
        worst = {"last": 0.0, "hidden": 0.0, "attention": 0.0, "pooler": 0.0}
        for i, text in enumerate(texts):
            # one text at a time: no padding and no mask, so that nothing of the reference's batching takes part
            out = reference(
                input_ids=torch.tensor([text.ids]),
                token_type_ids=torch.tensor([text.types]),
                output_hidden_states=True,
                output_attentions=True,
            )
            rows = slice(starts[i], starts[i + 1])
            assert len(probe.hidden_states) == len(out.hidden_states)
            assert len(probe.attentions) == len(out.attentions)
            worst["last"] = max(worst["last"], _gap(last[rows], out.last_hidden_state[0]))
            for layer, states in enumerate(out.hidden_states):
                worst["hidden"] = max(worst["hidden"], _gap(probe.hidden_states[layer][rows], states[0]))
            for layer, maps in enumerate(out.attentions):
                worst["attention"] = max(worst["attention"], _gap(probe.attentions[layer][i], maps[0]))
            pooled = encoder.pooler(last[starts[i]][None])
            worst["pooler"] = max(worst["pooler"], _gap(pooled, out.pooler_output))
    return worst


def _gap(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float((ours - theirs).abs().max())

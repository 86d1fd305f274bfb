"""Build our encoder and transformers' from the same seeded numbers, and run both on the same texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sentvec import Embedder
from sentvec.batch import PackedBatch, TokenIds, pack
from sentvec.checkpoint.load import load_encoder
from sentvec.checkpoint.names import to_ours
from sentvec.models.architecture import build_empty
from sentvec.models.registry import architecture
from sentvec.nn.probe import Probe

TEXTS: tuple[str | tuple[str, str], ...] = (
    "The cat sat on the mat",
    "",
    "unaffable, 你好世界!",
    "a rather longer text that has some more words in it, so that lengths differ",
    ("the cat sat", "on the mat, 中文"),
    ("你好", "dogs"),
)
"""Texts and pairs whose letters are in `tests.builders.PIECES`."""


def seeded(reference: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Fill every parameter with numbers large enough that no part of the model is close to doing nothing.

    (transformers' own initialisation gives biases of zero and attention that is all but uniform.)
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            if not parameter.requires_grad:  # a table of sines, say
                continue
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1 and name.endswith("weight"):  # a normalisation's
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
    encoder = build_empty(row, numbers, pooler=getattr(reference, "pooler", None) is not None)
    shapes = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    translated = to_ours(reference.state_dict(), row, row.places(numbers), shapes, "the reference")
    encoder.load_state_dict(translated.tensors, assign=True)
    return encoder.eval()


def saved_and_loaded(reference: Any, folder: Path) -> Any:
    """Our encoder, read from the folder that transformers' own `save_pretrained` writes."""
    reference.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return load_encoder(folder, config, config["model_type"])[0]


def assert_parity(
    reference: Any, folder: Path, lengths: Sequence[int] = (7, 33, 2, 33, 64), types: int = 2, exact: float = 1e-12
) -> None:
    """Hold every number to transformers', in float32 to rounding and in float64 to `exact`."""
    encoder = saved_and_loaded(reference, folder)
    texts, batch = random_batch(encoder.config.vocab, list(lengths), types)
    single = compare(reference, encoder, texts, batch)
    assert max(single.values()) < 5e-5, single
    double = compare(reference.double(), encoder.double(), texts, batch)
    assert max(double.values()) < exact, double
    reference.float()


def assert_embeds_alike(folder: Path, again: Path, *, near: float = 2e-6) -> None:
    """Hold `Embedder` on a folder without modules.json to transformers with mean pooling, texts and pairs.

    What we save is held to the same numbers, read by transformers and by sentence-transformers.

    Args:
        folder: weights and tokeniser as transformers or their publishers write them.
        again: where our own save goes.
    """
    from sentence_transformers import SentenceTransformer

    model = Embedder.from_pretrained(str(folder), device="cpu", precision="float32")
    found = model.encode(list(TEXTS), normalize=False)
    expected = reference_means(folder, TEXTS)
    np.testing.assert_allclose(found, expected, atol=near * float(abs(expected).max()), rtol=0)
    model.save_pretrained(again)
    np.testing.assert_allclose(reference_means(again, TEXTS), expected, atol=near * float(abs(expected).max()), rtol=0)
    alone = [i for i, text in enumerate(TEXTS) if isinstance(text, str)]
    theirs = SentenceTransformer(str(again), device="cpu").encode([TEXTS[i] for i in alone])
    np.testing.assert_allclose(theirs, expected[alone], atol=near * float(abs(expected).max()), rtol=0)
    ours = Embedder.from_pretrained(str(again), device="cpu", precision="float32")
    assert ours.fingerprint == model.fingerprint


def assert_fast_is_near(folder: Path) -> None:
    """Hold the fused stack, in each precision it offers, to the layers run one by one."""
    texts = list(TEXTS)
    plain = Embedder.from_pretrained(str(folder), device="cpu", precision="float32")
    assert plain.encoder.layers.fusible  # type: ignore[attr-defined]
    expected = reference_means(folder, texts)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    for precision, least in (("float32", 0.99999), ("bfloat16", 0.999), ("int8", 0.99)):
        model = Embedder.from_pretrained(str(folder), device="cpu", precision=precision)
        found = model.encode(texts, normalize=True)
        assert (found * expected).sum(axis=1).min() > least, precision


def reference_means(folder: Path, texts: Sequence[str | tuple[str, str]]) -> np.ndarray:
    """Mean token states of transformers' own model and tokeniser, one text or pair at a time: (n, hidden)."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    model = transformers.AutoModel.from_pretrained(str(folder)).eval()
    cut = tokenizer.model_max_length < 1 << 20  # transformers writes a very large number where there is no limit
    asks_types = getattr(model.config, "type_vocab_size", 0) > 1 or model.config.model_type == "xlnet"
    means = []
    with torch.no_grad():
        for text in texts:
            parts = (text,) if isinstance(text, str) else text
            given = tokenizer(*parts, truncation=cut, return_tensors="pt", return_token_type_ids=asks_types)
            if not asks_types:
                given.pop("token_type_ids", None)
            means.append(model(**given).last_hidden_state[0].mean(0))
    return torch.stack(means).numpy()


def random_batch(vocab: int, lengths: list[int], types: int, seed: int = 1) -> tuple[list[TokenIds], PackedBatch]:
    generator = torch.Generator().manual_seed(seed)
    texts = []
    for length in lengths:
        ids = torch.randint(5, vocab, (length,), generator=generator).tolist()
        kinds = torch.randint(0, types, (length,), generator=generator).sort().values.tolist()
        texts.append(TokenIds(ids, kinds))
    return texts, pack(texts)


def compare(
    reference: Any, encoder: Any, texts: list[TokenIds], batch: PackedBatch, *, kernel: str = "auto"
) -> dict[str, float]:
    """Return the largest differences in hidden states (of any layer), attention maps and pooler output."""
    with torch.no_grad():
        probe = Probe(attention=True)
        last = encoder(batch, kernel=kernel, probe=probe)
        starts = batch.offsets.tolist()
        worst = {"last": 0.0, "hidden": 0.0, "attention": 0.0, "pooler": 0.0}
        for i, text in enumerate(texts):
            # one text at a time: no padding and no mask, so that nothing of the reference's batching takes part
            out = reference(
                input_ids=torch.tensor([text.ids]),
                **({"token_type_ids": torch.tensor([text.types])} if encoder.config.types else {}),
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
            assert (encoder.pooler is None) == (getattr(out, "pooler_output", None) is None)
            if encoder.pooler is not None:
                pooled = encoder.pooler(last[starts[i]][None])
                worst["pooler"] = max(worst["pooler"], _gap(pooled, out.pooler_output))
    return worst


def _gap(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float((ours - theirs).abs().max())

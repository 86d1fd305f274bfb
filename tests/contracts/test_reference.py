"""The contract: vectors equal the reference implementation's, on real texts with the real model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

EXAMPLES = ["This is an example sentence", "Each sentence is converted"]


def real_texts(shared_data) -> list[str]:
    """More than 500 real texts in two languages, and the odd ones that users send."""
    texts = []
    for language in ("en", "zh"):
        path = shared_data / "corpora" / "throughput_mix" / f"{language}.tsv"
        with path.open(encoding="utf-8") as file:
            texts += [next(file).rstrip("\n").split("\t", 1)[1] for _ in range(260)]
    moby = (shared_data / "corpora" / "gutenberg" / "moby-dick-2701-0.txt").read_text(encoding="utf-8").split()
    texts += [
        "",
        " ",
        "\n\n",
        "🙂👍🏽 emoji 👩‍👩‍👧‍👦 and flags 🇩🇪",
        "a",
        "[SEP] [CLS] [MASK]",
        "é́ naïve ﬁ Å ß İ",
        "x" * 500,
    ]
    texts += [" ".join(moby[1000:3000]), " ".join(moby[:255]), "你好" * 1000, "12345 67890 " * 200]
    return texts


@pytest.fixture(scope="module")
def st_minilm(minilm):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(minilm.folder.as_posix(), device="cpu")


@pytest.mark.oracle
def test_minilm_equals_transformers_with_mean_pooling(minilm):
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm.folder)
    model = AutoModel.from_pretrained(minilm.folder)
    inputs = tokenizer(EXAMPLES, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"][:, :, None].float()
    pooled = (states * mask).sum(1) / mask.sum(1)
    expected = torch.nn.functional.normalize(pooled, dim=1).numpy()
    assert np.abs(minilm.encode(EXAMPLES) - expected).max() <= 1e-6


@pytest.mark.oracle
@pytest.mark.data
def test_minilm_equals_sentence_transformers_on_real_texts(minilm, st_minilm, shared_data):
    texts = real_texts(shared_data)
    assert len(texts) >= 500
    expected = st_minilm.encode(texts)
    worst = np.abs(minilm.encode(texts) - expected).max()
    print(f"{len(texts)} texts, largest difference {worst:.2e}")
    assert worst <= 2e-6


@pytest.mark.data
def test_a_vector_does_not_depend_on_its_batch(minilm, shared_data):
    texts = real_texts(shared_data)[::9]
    together = minilm.encode(texts)
    alone = np.stack([minilm.encode(text) for text in texts])
    backwards = minilm.encode(texts[::-1])[::-1]
    assert np.abs(together - alone).max() <= 1e-6
    assert np.abs(together - backwards).max() <= 1e-6


@pytest.mark.oracle
def test_saved_model_is_read_by_sentence_transformers(minilm, tmp_path):
    from sentence_transformers import SentenceTransformer

    from sentvec import Embedder

    minilm.save_pretrained(tmp_path / "saved")
    again = Embedder.from_pretrained(tmp_path / "saved", device="cpu")
    assert again.fingerprint == minilm.fingerprint
    assert np.array_equal(again.encode(EXAMPLES), minilm.encode(EXAMPLES))
    theirs = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert theirs.max_seq_length == 256
    assert np.abs(theirs.encode(EXAMPLES) - minilm.encode(EXAMPLES)).max() <= 1e-6
    assert np.allclose(
        theirs.similarity(theirs.encode(EXAMPLES), theirs.encode(EXAMPLES)),
        minilm.similarity(minilm.encode(EXAMPLES), minilm.encode(EXAMPLES)),
        atol=1e-6,
    )

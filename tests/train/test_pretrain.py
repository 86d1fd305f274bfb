"""Masked rows: how many, of what, whole words, pairs, each epoch anew, and that a model learns from them."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from tests.builders import tiny_bert
from tests.train.runs import WORDS

from sentvec.checkpoint.headed import load_headed
from sentvec.checkpoint.load import load
from sentvec.errors import InvalidInput
from sentvec.runtime.headed import HeadedModel
from sentvec.tasks.fill_mask import FillMask
from sentvec.train.config import TrainConfig
from sentvec.train.heads import IGNORED, HeadLearner, new_headed
from sentvec.train.loop import train
from sentvec.train.plot import read_metrics
from sentvec.train.pretrain import MaskedSource, Masking


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"), max_position_embeddings=64)


@pytest.fixture(scope="module")
def tokenizer(model):
    return load(model).tokenizer


def documents(count=30, seed=0):
    draw = random.Random(seed)
    return [[" ".join(draw.choices(WORDS, k=9)) + "." for _ in range(draw.randint(4, 9))] for _ in range(count)]


def source(tokenizer, **options):
    return MaskedSource(documents(), tokenizer, 32, **({"batch_size": 8, "seed": 1} | options))


def rows(found, epoch=0):
    return [
        (tokens, masked)
        for _, batch in found.batches(epoch)
        for tokens, masked in zip(batch.tokens, batch.targets["masked-lm"], strict=True)
    ]


def test_fifteen_in_a_hundred_of_which_eighty_show_the_mask(tokenizer):
    mask = tokenizer.vocab()["[MASK]"]
    counts = Counter()
    for epoch in range(4):
        for tokens, masked in rows(source(tokenizer), epoch):
            assert len(tokens) == len(masked) <= 32
            for i, wanted in zip(tokens.ids, masked.tolist(), strict=True):
                counts["text"] += i not in tokenizer.special().values() or wanted != IGNORED
                counts["asked"] += wanted != IGNORED
                counts["hidden"] += wanted != IGNORED and i == mask
                counts["same"] += wanted != IGNORED and i == wanted
    assert counts["asked"] / counts["text"] == pytest.approx(0.15, abs=0.02)
    assert counts["hidden"] / counts["asked"] == pytest.approx(0.8, abs=0.04)
    assert counts["same"] / counts["asked"] == pytest.approx(0.1, abs=0.04)


def test_every_token_comes_once_an_epoch_and_masks_change(tokenizer):
    found = source(tokenizer)

    def texts(epoch):
        return sorted(
            tuple(i if wanted == IGNORED else wanted for i, wanted in zip(tokens.ids, masked.tolist(), strict=True))
            for tokens, masked in rows(found, epoch)
        )

    def masks(epoch):
        return sorted(tuple(tokens.ids) for tokens, _ in rows(found, epoch))

    assert texts(0) == texts(1)
    assert masks(0) != masks(1)
    assert masks(0) == masks(0)
    flat = [i for row in texts(0) for i in row if i not in tokenizer.special().values()]
    assert len(flat) == sum(len(p) for p in tokenizer.pieces([t for d in documents() for t in d]))


def test_resumed_in_the_middle(tokenizer):
    whole = [[tokens.ids for tokens in batch.tokens] for _, batch in source(tokenizer).batches(2)]
    rest = [[tokens.ids for tokens in batch.tokens] for _, batch in source(tokenizer).batches(2, start=3)]
    assert rest == whole[3:]


def test_whole_words(tokenizer):
    found = MaskedSource(
        [["unaffable dogs"] * 5], tokenizer, 30, batch_size=4, seed=0, masking=Masking(whole_words=True, share=0.3)
    )
    for tokens, masked in rows(found):
        original = [i if w == IGNORED else w for i, w in zip(tokens.ids, masked.tolist(), strict=True)]
        pieces = tokenizer.tokens(original)
        for place, piece in enumerate(pieces):
            if piece.startswith("##"):
                assert (masked[place] == IGNORED) == (masked[place - 1] == IGNORED), pieces


def test_words_of_chinese(tokenizer):
    words = {"你好": True, "世界": True}
    masking = Masking(
        whole_words=True, share=0.4, segment=lambda text: ["你好", "世界"] if text in ("你好世界",) else [text]
    )
    found = MaskedSource([["你好世界"] * 3], tokenizer, 30, batch_size=4, seed=0, masking=masking)
    seen = set()
    for epoch in range(6):
        for tokens, masked in rows(found, epoch):
            asked = [place for place, wanted in enumerate(masked.tolist()) if wanted != IGNORED]
            original = [i if w == IGNORED else w for i, w in zip(tokens.ids, masked.tolist(), strict=True)]
            letters = "".join(tokenizer.tokens(original)[place] for place in asked)
            while letters:
                assert letters[:2] in words, letters
                seen.add(letters[:2])
                letters = letters[2:]
    assert seen == set(words)
    with pytest.raises(InvalidInput, match="does not stand in"):
        MaskedSource(
            [["你好"]], tokenizer, 30, batch_size=4, seed=0, masking=Masking(whole_words=True, segment=lambda _: ["x"])
        )


@pytest.mark.parametrize("pairs", ["nsp", "sop"])
def test_pairs(tokenizer, pairs):
    found = source(tokenizer, pairs=pairs)
    order = found._passages
    labels = Counter()
    for _, batch in found.batches(0):
        for tokens, masked, label in zip(batch.tokens, *batch.targets.values(), strict=True):
            original = [i if w == IGNORED else w for i, w in zip(tokens.ids, masked.tolist(), strict=True)]
            border = tokens.types.index(1)
            one, two = original[1 : border - 1], original[border:-1]
            at = [[n for n, p in enumerate(order) if p.ids == ids] for ids in (one, two)]  # short ones occur twice
            together = [(a, b) for a in at[0] for b in at[1] if order[a].document == order[b].document]
            assert label == 1 or any(b == a + 1 for a, b in together)
            assert label == 0 or pairs == "nsp" or any(a == b + 1 for a, b in together)
            assert label == 0 or pairs == "sop" or len(at[0]) * len(at[1]) > len(together)
            labels[int(label)] += 1
    assert min(labels.values()) > 0.3 * sum(labels.values())


def test_a_model_learns_to_fill_in(model, tmp_path):
    config = TrainConfig(epochs=12, learning_rate=3e-3, batch_size=8)
    headed = new_headed(model, "masked-lm")
    tokenizer = headed.checkpoint.tokenizer
    text = [["the cat sat on the mat"] * 40]
    taught = HeadLearner(headed, config, device="cpu")
    train(taught, MaskedSource(text, tokenizer, 9, batch_size=8, seed=0), tmp_path / "out", config, progress=False)
    losses = [line["loss"] for line in read_metrics(tmp_path / "out" / "run" / "metrics.jsonl")]
    assert losses[-1] < 0.5 * losses[0]
    fill = FillMask(HeadedModel(load_headed(tmp_path / "out"), name="x", device="cpu"))
    assert fill("the cat [MASK] on the mat")[0]["token_str"] == "sat"


def test_both_heads_of_pre_training_learn(model, tmp_path):
    config = TrainConfig(epochs=2, learning_rate=1e-3, batch_size=8)
    headed = new_headed(model, "pre-training")
    taught = HeadLearner(headed, config, device="cpu")
    before = {name: head.state_dict()["out.bias"].clone() for name, head in headed.heads.items()}
    found = MaskedSource(documents(), headed.checkpoint.tokenizer, 32, batch_size=8, seed=0, pairs="nsp")
    train(taught, found, tmp_path / "out", config, progress=False)
    again = load_headed(tmp_path / "out")
    assert set(again.heads) == {"masked-lm", "next-sentence"}
    for name, head in again.heads.items():
        assert not torch.equal(head.state_dict()["out.bias"], before[name]), name


def test_what_cannot_be(tokenizer):
    with pytest.raises(InvalidInput, match="pairs is 'both'"):
        source(tokenizer, pairs="both")
    with pytest.raises(InvalidInput, match="no document of two passages"):
        MaskedSource([["a"]], tokenizer, 32, batch_size=2, seed=0, pairs="sop")
    with pytest.raises(InvalidInput, match="no text"):
        MaskedSource([], tokenizer, 32, batch_size=2, seed=0)
    with pytest.raises(InvalidInput, match="leave no room"):
        source(tokenizer).__class__(documents(), tokenizer, 3, batch_size=2, seed=0)
    with pytest.raises(InvalidInput, match="accepted: 0 to 1"):
        Masking(share=0)
    with pytest.raises(InvalidInput, match="needs whole_words"):
        Masking(segment=list)

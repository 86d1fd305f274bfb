"""What the embedder promises: order, shapes, prompts, lengths, clear refusals, many threads."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from sentvec import Embedder
from sentvec.checkpoint.recipe import Normalize, Recipe
from sentvec.errors import ConfigError, InvalidInput, NonFiniteOutput
from sentvec.runtime import engine
from sentvec.runtime.plan import plan

TEXTS = [f"{'word ' * (i % 13)}text number {i}" for i in range(40)]


def with_recipe(model: Embedder, **changes) -> Embedder:
    """The same model with other facts in its recipe."""
    checkpoint = replace(model._checkpoint, recipe=replace(model.recipe, **changes))
    return Embedder(checkpoint, name=model.name, device="cpu")


def test_one_text_gives_one_vector_and_a_list_gives_rows(minilm):
    assert minilm.encode("one").shape == (384,)
    assert minilm.encode(["one"]).shape == (1, 384)
    assert minilm.encode([]).shape == (0, 384)
    assert minilm.encode(["one"]).dtype == np.float32
    assert minilm.encode("").shape == (384,)
    assert np.isclose(np.linalg.norm(minilm.encode("")), 1, atol=1e-6)


def test_generators_and_numpy_strings_are_texts(minilm):
    expected = minilm.encode(TEXTS)
    np.testing.assert_array_equal(minilm.encode(text for text in TEXTS), expected)
    np.testing.assert_array_equal(minilm.encode(tuple(TEXTS)), expected)
    np.testing.assert_array_equal(minilm.encode(np.array(TEXTS)), expected)


def test_order_is_kept_over_batches_and_windows(minilm, monkeypatch):
    expected = np.stack([minilm.encode(text) for text in TEXTS])
    monkeypatch.setattr(engine, "WINDOW", 7)
    monkeypatch.setattr(engine, "BATCH_TOKENS", 16)
    assert np.abs(minilm.encode(iter(TEXTS)) - expected).max() < 1e-6


def test_a_generator_is_read_two_windows_ahead_at_most(minilm, monkeypatch):
    monkeypatch.setattr(engine, "WINDOW", 5)
    read = []

    def texts():
        for text in TEXTS[:20]:
            read.append(text)
            yield text

    seen = []
    forward = minilm.encoder.forward
    monkeypatch.setattr(minilm.encoder, "forward", lambda *a, **k: (seen.append(len(read)), forward(*a, **k))[1])
    minilm.encode(texts())
    assert seen[0] == 10
    assert max(seen) == 20


def test_a_stream_gives_windows_in_order(minilm, monkeypatch):
    monkeypatch.setattr(engine, "WINDOW", 7)
    parts = list(minilm.encode_stream(iter(TEXTS), dim=64))
    assert [len(part) for part in parts] == [7, 7, 7, 7, 7, 5]
    np.testing.assert_allclose(np.concatenate(parts), minilm.encode(TEXTS, dim=64), atol=1e-6)
    assert list(minilm.encode_stream([])) == []
    with pytest.raises(InvalidInput, match="dim is 0"):  # at once, not at the first window
        minilm.encode_stream(TEXTS, dim=0)


def test_equal_texts_are_encoded_once(minilm, monkeypatch):
    texts = ["twice", "once", "twice", ("a", "pair"), ["a", "pair"]]
    tokens = []
    forward = minilm.encoder.forward
    monkeypatch.setattr(minilm.encoder, "forward", lambda b, **k: (tokens.append(len(b.ids)), forward(b, **k))[1])
    vectors = minilm.encode(texts)
    assert sum(tokens) == 3 + 3 + 5
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_array_equal(vectors[3], vectors[4])
    np.testing.assert_allclose(vectors, np.stack([minilm.encode([text])[0] for text in texts]), atol=1e-6)
    first, _, again = minilm.encode_tokens(texts[:3])
    first[:] = 0  # results are the caller's: none is a view of another
    assert np.abs(again).max() > 0


def test_dim_cuts_and_scales_again(minilm):
    full, cut = minilm.encode(TEXTS), minilm.encode(TEXTS, dim=64)
    assert cut.shape == (40, 64)
    expected = full[:, :64] / np.linalg.norm(full[:, :64], axis=1, keepdims=True)
    np.testing.assert_allclose(cut, expected, atol=1e-6)
    raw = minilm.encode(TEXTS, dim=64, normalize=False)
    assert not np.allclose(np.linalg.norm(raw, axis=1), 1)


def test_normalize_can_be_turned_off_and_on(minilm):
    raw = minilm.encode(TEXTS, normalize=False)
    assert np.linalg.norm(raw, axis=1).min() > 1.5
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), minilm.encode(TEXTS), atol=1e-6)
    bare = with_recipe(minilm, steps=())
    np.testing.assert_allclose(bare.encode(TEXTS), raw, atol=1e-6)
    np.testing.assert_allclose(bare.encode(TEXTS, normalize=True), minilm.encode(TEXTS), atol=1e-6)


@pytest.mark.parametrize("dim", [0, 385, -1, 1.5, True, "64"])
def test_an_impossible_dim_is_refused(minilm, dim):
    with pytest.raises(InvalidInput, match="a whole number from 1 to 384"):
        minilm.encode(TEXTS, dim=dim)


def test_poolings_agree_with_token_states(minilm):
    texts = TEXTS[:5]
    states = minilm.encode_tokens(texts)
    assert [len(s) for s in states] == minilm.count_tokens(texts)
    expected = {
        "first": [s[0] for s in states],
        "last": [s[-1] for s in states],
        "max": [s.max(0) for s in states],
        "mean": [s.mean(0) for s in states],
        "mean_sqrt": [s.sum(0) / len(s) ** 0.5 for s in states],
        "weighted_mean": [np.average(s, axis=0, weights=np.arange(1, len(s) + 1)) for s in states],
    }
    for name, rows in expected.items():
        got = with_recipe(minilm, pooling=(name,), steps=()).encode(texts)
        np.testing.assert_allclose(got, np.stack(rows), atol=2e-5)
    both = with_recipe(minilm, pooling=("first", "mean"), steps=())
    assert both.dim == 768
    np.testing.assert_allclose(both.encode(texts), np.hstack([expected["first"], expected["mean"]]), atol=2e-5)


def test_pooler_and_first_last_mean_equal_transformers(minilm):
    transformers = pytest.importorskip("transformers", reason="the dev extra is not installed")
    model = transformers.AutoModel.from_pretrained(minilm.folder)
    ids = torch.tensor([minilm.tokenizer.encode(["How are you?"])[0].ids])
    with torch.no_grad():
        out = model(input_ids=ids, output_hidden_states=True)
    pooled = with_recipe(minilm, pooling=("pooler",), steps=()).encode("How are you?")
    np.testing.assert_allclose(pooled, out.pooler_output[0].numpy(), atol=1e-6)
    both = (out.hidden_states[1] + out.hidden_states[-1]) / 2
    ends = with_recipe(minilm, pooling=("first_last_mean",), steps=()).encode("How are you?")
    np.testing.assert_allclose(ends, both[0].mean(0).numpy(), atol=1e-6)


def test_prompts(minilm):
    model = with_recipe(minilm, prompts={"query": "ask: ", "passage": "tell: "}, default_prompt="query")
    plain = minilm.encode
    np.testing.assert_allclose(model.encode("x"), plain("ask: x"), atol=1e-6)
    np.testing.assert_allclose(model.encode("x", prompt=""), plain("x"), atol=1e-6)
    np.testing.assert_allclose(model.encode_query("x"), plain("ask: x"), atol=1e-6)
    np.testing.assert_allclose(model.encode_document("x"), plain("tell: x"), atol=1e-6)
    np.testing.assert_allclose(model.encode_document("x", prompt="so: "), plain("so: x"), atol=1e-6)
    np.testing.assert_allclose(model.encode("x", prompt_name="passage"), plain("tell: x"), atol=1e-6)
    with pytest.raises(InvalidInput, match="prompt_name 'qery' is not stored .* Stored: query, passage"):
        model.encode("x", prompt_name="qery")
    with pytest.raises(InvalidInput, match="not both"):
        model.encode("x", prompt="a", prompt_name="query")


def test_a_full_passage_is_read_to_its_end_behind_its_prompt(minilm, caplog):
    model = with_recipe(minilm, prompts={"passage": "this is a passage: "}, max_seq_length=32)
    assert model.passage_tokens == 32 - 2 - 5
    assert minilm.passage_tokens == 254
    model.encode_document("word " * model.passage_tokens)
    assert caplog.records == []
    model.encode_document("word " * (model.passage_tokens + 1))
    assert len(caplog.records) == 1


def test_a_prompt_can_be_left_out_of_pooling(minilm):
    model = with_recipe(minilm, prompts={"query": "search for this: "}, include_prompt=False, steps=())
    states = minilm.encode_tokens(["search for this: blue whales"])[0]
    skip = 1 + len(minilm.token_spans("search for this: "))
    np.testing.assert_allclose(model.encode_query("blue whales"), states[skip:].mean(0), atol=2e-5)


def test_lower_case_is_the_recipes_affair(minilm):
    texts, pairs = ["ÀB"], [("Ab", "CD")]
    model = with_recipe(minilm, lower_case=True)
    np.testing.assert_array_equal(model.encode(texts), minilm.encode(["àb"]))
    np.testing.assert_array_equal(model.encode(pairs), minilm.encode([("ab", "cd")]))


def test_pairs_are_one_text_with_two_types(minilm):
    pair = minilm.encode([("how are you", "fine")])
    assert pair.shape == (1, 384)
    assert np.abs(pair - minilm.encode(["how are you fine"])).max() > 1e-3


def test_cut_texts_are_reported_once(minilm, caplog):
    with caplog.at_level(logging.WARNING, logger="sentvec"):
        minilm.encode(["short", "word " * 300, "word " * 400])
    (record,) = caplog.records
    assert record.getMessage() == (
        "2 of 3 texts were longer than 256 tokens and lost their end (192 tokens in all); "
        "the longest, text 2, has 402 tokens"
    )
    caplog.clear()
    minilm.encode(["short"])
    assert caplog.records == []


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (None, "texts is NoneType"),
        (b"bytes", "texts is bytes"),
        ({"a": "b"}, "texts is dict"),
        (7, "texts is int"),
        (["a", 5], "text 1 is int (5)"),
        (["a", None], "text 1 is NoneType"),
        (["a", ["x"]], "text 1 is list"),
        (["a", "b\ud83d"], "text 1 is not valid Unicode"),
        ([("a", 5)], "text 0 is tuple"),
    ],
)
def test_what_is_not_text_is_refused_by_place(minilm, texts, message):
    with pytest.raises(InvalidInput) as caught:
        minilm.encode(texts)
    assert message in str(caught.value)


def test_the_place_counts_over_windows(minilm, monkeypatch):
    monkeypatch.setattr(engine, "WINDOW", 4)
    with pytest.raises(InvalidInput, match="text 9 is int"):
        minilm.encode([*TEXTS[:9], 3])
    with pytest.raises(InvalidInput, match="text 9 is not valid Unicode"):
        minilm.encode(["same"] * 9 + ["\ud800"] + ["same"] * 9)


def test_nan_names_the_text(minilm, monkeypatch):
    place = minilm.tokenizer.vocab()["zebra"]
    monkeypatch.setattr(engine, "BATCH_TOKENS", 64)
    weight = minilm.encoder.embeddings.token_table.weight
    before = weight[place].detach().clone()
    try:
        with torch.no_grad():
            weight[place] = float("nan")
        texts = [*TEXTS, "a zebra", *TEXTS]
        with pytest.raises(NonFiniteOutput, match="the vector of text 40 holds NaN"):
            minilm.encode(texts)
        with pytest.raises(NonFiniteOutput, match="the vector of text 40 holds NaN"):
            minilm.encode_tokens(texts)
        assert np.isfinite(minilm.encode(TEXTS)).all()
    finally:
        with torch.no_grad():
            weight[place] = before


def test_threads_get_their_own_answers(minilm):
    parts = [TEXTS[i::8] for i in range(8)]
    expected = [minilm.encode(part) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for got, want in zip(pool.map(minilm.encode, parts), expected, strict=True):
                np.testing.assert_array_equal(got, want)


def test_similarity_takes_single_vectors_and_refuses_other_widths(minilm):
    a, b = minilm.encode(["cat", "dog"]), minilm.encode("kitten")
    scores = minilm.similarity(a, b)
    assert scores.shape == (2, 1)
    assert scores.dtype == np.float32
    assert scores[0, 0] > scores[1, 0]
    with pytest.raises(InvalidInput, match="cannot be compared"):
        minilm.similarity(a, b[:100])


def test_values_out_of_reach_are_refused(minilm):
    for changes, message in (
        ({"max_seq_length": 513}, "takes 3 to 512 tokens"),
        ({"max_seq_length": 2}, "takes 3 to 512 tokens"),
        ({"pooling": ()}, "names nothing"),
    ):
        with pytest.raises(InvalidInput, match=message):
            with_recipe(minilm, **changes)
    with pytest.raises(InvalidInput, match="precision 'int3' is not known. Known: float32"):
        Embedder.from_pretrained(minilm.folder, precision="int3")
    with pytest.raises(InvalidInput, match="device 'gpu' cannot be used"):
        Embedder.from_pretrained(minilm.folder, device="gpu")


def test_without_a_pooler_the_pooler_is_refused(minilm):
    class Bare:
        config = minilm.encoder.config
        pooler = None

    checkpoint = replace(minilm._checkpoint, encoder=Bare(), recipe=replace(minilm.recipe, pooling=("pooler",)))
    with pytest.raises(ConfigError, match="needs the model's pooler"):
        Embedder(checkpoint, name="bare", device="cpu")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_stays_near(minilm, precision, tmp_path):
    model = Embedder.from_pretrained(minilm.folder, precision=precision, device="cpu")
    got, want = model.encode(TEXTS), minilm.encode(TEXTS)
    assert got.dtype == np.float32
    assert (got * want).sum(1).min() > 0.999
    assert not np.array_equal(got, want)
    assert model.fingerprint == minilm.fingerprint
    model.save_pretrained(tmp_path / "saved")
    again = Embedder.from_pretrained(tmp_path / "saved", device="cpu")
    np.testing.assert_array_equal(again.encode(TEXTS), want)  # nothing was rounded


def test_fingerprint_follows_what_changes_vectors(minilm):
    assert with_recipe(minilm).fingerprint == minilm.fingerprint
    changes = (
        {"pooling": ("first",)},
        {"steps": ()},
        {"max_seq_length": 128},
        {"lower_case": True},
        {"prompts": {"query": "q: "}},
        {"dim": 64},
    )
    found = {with_recipe(minilm, **change).fingerprint for change in changes}
    assert len(found | {minilm.fingerprint}) == len(changes) + 1


def test_fingerprint_leaves_out_what_does_not_change_vectors(minilm):
    assert with_recipe(minilm, prompts={"query": "", "document": ""}).fingerprint == minilm.fingerprint
    numbers = minilm.encoder.config
    try:
        minilm.encoder.config = replace(numbers, dropout=0.3, attention_dropout=0.0, act="gelu_python")
        assert with_recipe(minilm).fingerprint == minilm.fingerprint
        minilm.encoder.config = replace(numbers, norm_eps=1e-5)
        assert with_recipe(minilm).fingerprint != minilm.fingerprint
    finally:
        minilm.encoder.config = numbers


def test_a_stored_dim_wider_than_the_vectors_is_no_matter(minilm):
    model = with_recipe(minilm, dim=400)
    assert model.dim == 384
    np.testing.assert_array_equal(model.encode(TEXTS), minilm.encode(TEXTS))


def test_similarity_of_texts_is_refused(minilm):
    with pytest.raises(InvalidInput, match="give texts to encode first"):
        minilm.similarity("a", "b")


@pytest.mark.parametrize("include", [True, False])
def test_a_given_prompt_that_leaves_no_room_is_refused(minilm, include):
    model = with_recipe(minilm, include_prompt=include)
    assert model.encode("x", prompt="word " * 253).shape == (384,)
    with pytest.raises(InvalidInput, match="has 254 tokens, which leaves nothing of the 256"):
        model.encode("x", prompt="word " * 254)


def test_a_prompt_that_leaves_no_room_is_refused(minilm):
    model = with_recipe(minilm, prompts={"document": "word " * 300})
    with pytest.raises(ConfigError, match="has 300 tokens, which leaves nothing of the 256"):
        _ = model.passage_tokens


def test_plan_uses_every_place_once_and_keeps_the_budget():
    lengths = [5, 1, 9, 3, 3, 12, 2]
    batches = plan(lengths, 10)
    assert sorted(i for batch in batches for i in batch) == list(range(7))
    assert all(sum(lengths[i] for i in batch) <= 10 or len(batch) == 1 for batch in batches)
    assert plan([], 10) == []
    assert plan([0, 0], 10) == [[0, 1]]


def test_recipe_knows_whether_it_normalizes():
    assert Recipe(max_seq_length=8, steps=(Normalize(),)).normalizes
    assert not Recipe(max_seq_length=8).normalizes

"""A map fitted on texts is one more step of the recipe: applied once, saved with the model, read by others."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.builders import add_modules, tiny_bert, write_json

from sentvec import Embedder
from sentvec.errors import ConfigError, InvalidInput, ModelError
from sentvec.ops import affine
from sentvec.runtime import engine, fitting, flow

WORDS = ["the", "cat", "sat", "on", "mat", "dog", "un", "affable", "query", "passage"]
TEXTS = [f"{a} {b} {c}" for a in WORDS for b in WORDS for c in WORDS][::3]
LINEAR = tuple(affine.POSTPROCESSINGS)
KINDS = (*LINEAR, "flow")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return add_modules(tiny_bert(tmp_path_factory.mktemp("model")), "Pooling", "Normalize")


@pytest.fixture(scope="module")
def tiny(folder):
    return Embedder.from_pretrained(folder, device="cpu")


@pytest.fixture(autouse=True)
def _short_training(monkeypatch):
    monkeypatch.setattr(flow, "_UPDATES", 4)


def loaded(folder):
    return Embedder.from_pretrained(folder, device="cpu")


@pytest.mark.parametrize("kind", ["whitening", "pca", "all_but_the_top", "standardisation"])
def test_vectors_are_those_of_the_map_applied_by_hand(tiny, kind):
    dim = 8 if kind in ("whitening", "pca") else None
    before = tiny.encode(TEXTS).astype(np.float64)
    fitted = tiny.fit_postprocessing(kind, iter(TEXTS), dim=dim)
    off = before - before.mean(0)
    values, columns = np.linalg.eigh(np.cov(before.T))
    by_hand = {
        "whitening": off @ columns[:, ::-1][:, :8] / np.sqrt(values[::-1][:8]),
        "pca": off @ columns[:, ::-1][:, :8],
        "all_but_the_top": off - np.outer(off @ columns[:, -1], columns[:, -1]),
        "standardisation": off / before.std(0, ddof=1),
    }[kind]
    found = fitted.encode(TEXTS, normalize=False)
    assert found.shape == by_hand.shape == (len(TEXTS), fitted.dim)
    if dim:  # a direction is as good as its opposite
        by_hand = by_hand * np.sign((by_hand * found).sum(0))
    np.testing.assert_allclose(found, by_hand, atol=2e-4)
    np.testing.assert_allclose(np.linalg.norm(fitted.encode(TEXTS), axis=1), 1, atol=1e-6)


def test_the_model_that_it_was_fitted_from_stays_as_it_is(tiny):
    before, fingerprint = tiny.encode(TEXTS[:5]), tiny.fingerprint
    fitted = tiny.fit_postprocessing("whitening", TEXTS, dim=8)
    assert np.array_equal(tiny.encode(TEXTS[:5]), before)
    assert tiny.dim == 32 and fitted.dim == 8
    assert tiny.fingerprint == fingerprint != fitted.fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_applied_once_after_loading(tiny, kind, tmp_path):
    fitted = tiny.fit_postprocessing(kind, TEXTS)
    fitted.save_pretrained(tmp_path / "a")
    once = loaded(tmp_path / "a")
    once.save_pretrained(tmp_path / "b")
    twice = loaded(tmp_path / "b")
    for again in (once, twice):
        np.testing.assert_allclose(again.encode(TEXTS), fitted.encode(TEXTS), atol=1e-6)
        assert again.fingerprint == fitted.fingerprint
        assert again.recipe.fitted == fitted.recipe.fitted
    with pytest.raises(InvalidInput, match=rf"already applies {kind}, fitted on {len(TEXTS)} texts. Load the model"):
        twice.fit_postprocessing("whitening", TEXTS)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize("modules", [("Pooling",), ("Pooling", "Normalize"), ("Pooling", "Dense", "Normalize")])
def test_sentence_transformers_gives_the_same_vectors(kind, modules, tmp_path):
    from sentence_transformers import SentenceTransformer

    model = loaded(add_modules(tiny_bert(tmp_path / "model"), *modules))
    fitted = model.fit_postprocessing(kind, TEXTS, dim=8 if kind in ("whitening", "pca") else None)
    fitted.save_pretrained(tmp_path / "fitted")
    theirs = SentenceTransformer(str(tmp_path / "fitted"), device="cpu")
    ours, before = fitted.encode(TEXTS), model.encode(TEXTS)
    # two encoders differ by float32's rounding, which a map that widens narrow directions widens too
    np.testing.assert_allclose(theirs.encode(TEXTS), ours, atol=1e-5 * max(np.abs(ours).max(), 1))
    features = {"sentence_embedding": torch.from_numpy(before)}
    for module in list(theirs)[1 + len(modules) :]:
        features = module(features)
    np.testing.assert_allclose(features["sentence_embedding"].detach(), ours, atol=1e-6 * max(np.abs(ours).max(), 1))


@pytest.mark.oracle
def test_sentence_transformers_gives_the_same_vectors_for_a_real_model(minilm, root, tmp_path):
    from sentence_transformers import SentenceTransformer

    lines = [line for page in sorted(root.glob("docs/*.md")) for line in page.read_text(encoding="utf-8").splitlines()]
    texts = [line for line in lines if len(line) > 60][:400]
    fitted = minilm.fit_postprocessing("whitening", texts, dim=128)
    fitted.save_pretrained(tmp_path)
    theirs = SentenceTransformer(str(tmp_path), device="cpu")
    np.testing.assert_allclose(theirs.encode(texts), fitted.encode(texts), atol=1e-6)
    features = {"sentence_embedding": torch.from_numpy(minilm.encode(texts))}
    for module in list(theirs)[3:]:
        features = module(features)
    np.testing.assert_allclose(features["sentence_embedding"].detach(), fitted.encode(texts), atol=1e-6)


def test_a_flow_is_applied_as_it_was_trained(tiny):
    before, fitted = tiny.encode(TEXTS), tiny.fit_postprocessing("flow", iter(TEXTS))
    with torch.no_grad():
        by_hand = flow.fit_flow(torch.from_numpy(before))(torch.from_numpy(before)).numpy()
    np.testing.assert_allclose(fitted.encode(TEXTS, normalize=False), by_hand, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(fitted.encode(TEXTS), axis=1), 1, atol=1e-6)
    assert np.abs(fitted.encode(TEXTS) - before).max() > 0.1


@pytest.mark.oracle
def test_a_flow_is_refused_by_sentence_transformers_and_not_left_out(tiny, tmp_path, caplog):
    from sentence_transformers import SentenceTransformer

    tiny.fit_postprocessing("flow", TEXTS).save_pretrained(tmp_path)
    assert "a flow is not known to sentence-transformers, which will refuse the folder" in caplog.text
    with pytest.raises(Exception, match=r"sentvec|Flow"):
        SentenceTransformer(str(tmp_path), device="cpu")


def test_a_flow_that_does_not_fit_is_refused(tiny, tmp_path):
    tiny.fit_postprocessing("flow", TEXTS).save_pretrained(tmp_path)
    config = tmp_path / "3_Flow" / "config.json"
    whole = json.loads(config.read_text())
    for key, value, told in (
        ("features", 16, "is for 16 features, but 32 come in"),
        ("depth", 9, "config.json says depth, width"),
        ("width", 10**12, "config.json says depth, width"),
        ("width", None, "config.json says depth, width"),
        ("width", [256], "config.json says depth, width"),
        ("depth", {}, "config.json says depth, width"),
    ):
        config.write_text(json.dumps(whole | {key: value}))
        with pytest.raises(ModelError, match=told):
            loaded(tmp_path)
    config.write_text(json.dumps(whole))
    weights = tmp_path / "3_Flow" / "model.safetensors"
    tensors = load_file(weights)
    save_file({name: tensor for name, tensor in tensors.items() if name != "steps.0.turn"}, weights)
    with pytest.raises(ModelError, match=r"does not fit its config.json.*steps.0.turn"):
        loaded(tmp_path)


def test_another_pooling_than_the_flow_was_trained_on_is_told(tiny, tmp_path):
    tiny.fit_postprocessing("flow", TEXTS).save_pretrained(tmp_path)
    with pytest.raises(InvalidInput, match="gives 64 features, but the map after it takes 32"):
        Embedder.from_pretrained(tmp_path, device="cpu", pooling=["mean", "max"])


def test_a_rotation_changes_no_cosine(tiny):
    before, after = tiny.encode(TEXTS), tiny.fit_postprocessing("rotation", TEXTS).encode(TEXTS)
    np.testing.assert_allclose(after @ after.T, before @ before.T, atol=2e-6)
    assert np.abs(after).sum() > np.abs(before).sum()  # of one size, so that signs say more


def test_a_cut_model_is_fitted_on_what_it_gives(folder, tmp_path):
    cut = add_modules(tiny_bert(tmp_path / "cut"), "Pooling", "Normalize")
    write_json(cut / "config_sentence_transformers.json", {"truncate_dim": 8})
    model = loaded(cut)
    fitted = model.fit_postprocessing("whitening", TEXTS)
    by_hand = model.encode(TEXTS).astype(np.float64)
    values, columns = np.linalg.eigh(np.cov(by_hand.T))
    by_hand = (by_hand - by_hand.mean(0)) @ columns[:, ::-1] / np.sqrt(values[::-1])
    found = fitted.encode(TEXTS, normalize=False)
    np.testing.assert_allclose(found, by_hand * np.sign((by_hand * found).sum(0)), atol=1e-3)
    fitted.save_pretrained(tmp_path / "saved")
    np.testing.assert_allclose(loaded(tmp_path / "saved").encode(TEXTS), fitted.encode(TEXTS), atol=1e-6)


def test_the_first_features_of_whitened_vectors_are_those_of_fewer(tiny):
    """Features come in the order of their variance, so that cutting afterwards is the same as fitting fewer."""
    eight, four = (tiny.fit_postprocessing("whitening", TEXTS, dim=dim) for dim in (8, 4))
    np.testing.assert_allclose(eight.encode(TEXTS, dim=4), four.encode(TEXTS), atol=1e-5)


def test_workers_encode_with_the_fitted_model(tiny):
    fitted = tiny.fit_postprocessing("whitening", TEXTS, dim=8)
    np.testing.assert_allclose(fitted.encode(TEXTS[:40], workers=2), fitted.encode(TEXTS[:40]), atol=1e-6)


def test_a_model_saved_over_a_fitted_one_is_not_taken_for_it(tiny, tmp_path):
    tiny.fit_postprocessing("pca", TEXTS).save_pretrained(tmp_path)
    tiny.save_pretrained(tmp_path)
    assert loaded(tmp_path).recipe.fitted is None
    np.testing.assert_allclose(loaded(tmp_path).encode(TEXTS), tiny.encode(TEXTS), atol=1e-6)


def test_what_cannot_be_fitted_is_told(tiny, folder):
    with pytest.raises(InvalidInput, match="post-processing 'whiten' is not known. Known: whitening, pca, .*, flow"):
        tiny.fit_postprocessing("whiten", TEXTS)
    with pytest.raises(InvalidInput, match="dim is 8, but flow keeps all features"):
        tiny.fit_postprocessing("flow", TEXTS, dim=8)
    with pytest.raises(InvalidInput, match="9 texts are too few for a flow"):
        tiny.fit_postprocessing("flow", TEXTS[:9])
    with pytest.raises(InvalidInput, match="0 texts say nothing"):
        tiny.fit_postprocessing("pca", [])
    with pytest.raises(InvalidInput, match="too few for 32 features"):
        tiny.fit_postprocessing("pca", TEXTS[:9])
    with pytest.raises(InvalidInput, match="normalize is no option of fitting"):
        tiny.fit_postprocessing("pca", TEXTS, normalize=False)
    with pytest.raises(InvalidInput, match="bfloat16 cannot be fitted. Load it with precision='float32'"):
        Embedder.from_pretrained(folder, device="cpu", precision="bfloat16").fit_postprocessing("pca", TEXTS)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_that_are_all_alike_are_refused(tiny, kind):
    with pytest.raises(InvalidInput, match="200 texts have the same vector, which says nothing"):
        tiny.fit_postprocessing(kind, ["the cat sat"] * 200)


@pytest.mark.parametrize(("kind", "dim"), [("whitening", 33), ("pca", 0), ("pca", 2.5), ("rotation", 8), ("flow", 8)])
def test_a_number_of_features_that_cannot_be_is_told_before_texts_are_read(tiny, kind, dim):
    def texts():
        raise AssertionError("read")
        yield

    with pytest.raises(InvalidInput, match=rf"dim is {dim}, (which should be a whole number from 1 to 32|but {kind})"):
        tiny.fit_postprocessing(kind, texts(), dim=dim)


def test_texts_are_read_as_they_are_encoded(tiny, monkeypatch):
    """No more than a few windows are held, so that memory does not grow with the texts."""
    monkeypatch.setattr(engine, "WINDOW", 16)
    read, read_at_each_sum = 0, []

    def source():
        nonlocal read
        for text in TEXTS:
            read += 1
            yield text

    def moments(rows, before, most):
        read_at_each_sum.append(read)
        return affine.moments(rows, before, most)

    monkeypatch.setattr(fitting, "moments", moments)
    tiny.fit_postprocessing("standardisation", source())
    assert len(read_at_each_sum) == -(-len(TEXTS) // 16)
    assert read_at_each_sum[0] <= 64


PAIRS = [("the cat", "the cats"), ("the dog", "dogs"), ("on the mat", "sat on mat")] * 4
OTHERS = [("the cat", "query: 9?"), ("unaffable", "12345"), ("你好", "passage")] * 4
LABELS = [1] * len(PAIRS) + [0] * len(OTHERS)


def test_calibration_is_saved_with_the_model_and_changes_no_vector(tiny, tmp_path):
    fitted = tiny.fit_calibration(PAIRS + OTHERS, LABELS)
    assert fitted.fingerprint == tiny.fingerprint
    fitted.save_pretrained(tmp_path)
    again = loaded(tmp_path)
    assert again.recipe.calibration == fitted.recipe.calibration
    a, b = (again.encode([pair[side] for pair in PAIRS + OTHERS]) for side in (0, 1))
    found = again.probability(a, b)
    slope, offset = fitted.recipe.calibration.slope, fitted.recipe.calibration.offset
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-(slope * again.similarity(a, b) + offset))), atol=1e-5)
    own = found.diagonal()
    assert own[: len(PAIRS)].mean() > own[len(PAIRS) :].mean() + 0.1
    related = again.similarity(a, b).diagonal() >= fitted.recipe.calibration.threshold
    assert related[: len(PAIRS)].mean() > related[len(PAIRS) :].mean()


@pytest.mark.oracle
def test_sentence_transformers_reads_a_calibrated_folder(tiny, tmp_path):
    from sentence_transformers import SentenceTransformer

    tiny.fit_calibration(PAIRS + OTHERS, LABELS).save_pretrained(tmp_path)
    theirs = SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS[:9])
    np.testing.assert_allclose(theirs, tiny.encode(TEXTS[:9]), atol=1e-6)


def test_a_probability_fitted_on_other_vectors_is_dropped(tiny):
    both = tiny.fit_calibration(PAIRS + OTHERS, LABELS).fit_postprocessing("pca", TEXTS)
    assert both.recipe.calibration is None
    with pytest.raises(InvalidInput, match="does not know what its similarities mean. Fit it on labelled pairs"):
        both.probability(both.encode("a"), both.encode("b"))
    assert both.fit_calibration(PAIRS + OTHERS, LABELS).recipe.fitted is not None


def test_pairs_that_cannot_be_fitted_are_told(tiny):
    with pytest.raises(InvalidInput, match="pair 1 is 'ab'; give two texts each"):
        tiny.fit_calibration([("a", "b"), "ab"], [1, 0])
    with pytest.raises(InvalidInput, match="1 pairs and 2 labels came"):
        tiny.fit_calibration([("a", "b")], [1, 0])
    with pytest.raises(InvalidInput, match="0 pairs and 0 labels came"):
        tiny.fit_calibration([], [])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"calibration": {"slope": "steep"}}, "slope is 'steep', which should be a number"),
        ({"calibration": {"slope": -1, "offset": 0, "threshold": 0, "pairs": 1}}, "slope is -1"),
        ({"calibration": {"slope": float("nan")}}, "slope is nan, which should be a number"),
        ({"calibration": {"slope": 10**400}}, "slope is 1000.*0, which should be a number"),
        ({"calibration": {"slope": 1, "offset": float("inf")}}, "offset is inf, which should be a number"),
        ({"postprocessing": {"kind": "pca", "texts": -(10**400)}}, "texts is -1000.*0, which should be a number"),
        ({"calibration": []}, r"calibration should be an object, but is \[\]"),
        ({"postprocessing": {"texts": 3}}, "postprocessing should name a kind"),
        ({"postprocessing": {"kind": "pca"}}, "texts is None, which should be a number"),
    ],
)
def test_a_broken_file_is_refused(content, told, tmp_path):
    add_modules(tiny_bert(tmp_path), "Pooling")
    (tmp_path / "sentvec.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=told):
        loaded(tmp_path)


def test_projections_are_whole_after_a_round_trip(tiny, tmp_path):
    fitted = tiny.fit_postprocessing("whitening", TEXTS)
    fitted.save_pretrained(tmp_path)
    ours, theirs = (model.recipe.steps[-2].state_dict() for model in (fitted, loaded(tmp_path)))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)

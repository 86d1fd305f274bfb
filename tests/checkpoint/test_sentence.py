"""sentence-transformers folders, old and new: the same vectors as the library itself, or a clear error."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from tests.builders import (
    OLD_POOLING,
    TEXTS,
    add_modules,
    dense_weights,
    pooling_config,
    tiny_bert,
    tiny_roberta,
    write_json,
    write_vocab,
    write_weights,
)

from sentvec import Embedder
from sentvec.checkpoint.load import load
from sentvec.errors import ConfigError, ModelError, UnknownPooling, WeightsError

NEW = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
}
TORCH = "torch.nn.modules.activation."


def ours(folder, **options):
    return Embedder.from_pretrained(folder, device="cpu", **options)


def equal(folder, **options):
    """Compare with the library, which loads the same folder; return our vectors."""
    library = pytest.importorskip("sentence_transformers")
    got = ours(folder).encode(TEXTS, **options)
    expected = library.SentenceTransformer(str(folder), device="cpu").encode(list(TEXTS), **options)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < 1e-5
    return got


@pytest.mark.oracle
@pytest.mark.parametrize("mode", OLD_POOLING)
def test_old_pooling_keys(tmp_path, mode):
    equal(add_modules(tiny_bert(tmp_path), "Pooling", pooling=pooling_config(mode)))


@pytest.mark.oracle
@pytest.mark.parametrize(
    "modes",
    ["cls", "lasttoken", "weightedmean", "mean_sqrt_len_tokens", "max", ["mean"], ["lasttoken", "cls", "mean"]],
)
def test_new_pooling_keys_and_new_class_paths(tmp_path, modes):
    pooling = {"embedding_dimension": 32, "pooling_mode": modes, "include_prompt": True}
    equal(add_modules(tiny_bert(tmp_path), "Pooling", "Normalize", pooling=pooling, types=NEW))


@pytest.mark.oracle
def test_all_old_keys_at_once_are_joined_in_the_librarys_order(tmp_path):
    assert equal(add_modules(tiny_bert(tmp_path), "Pooling", pooling=pooling_config(*reversed(OLD_POOLING)))).shape == (
        6,
        6 * 32,
    )


@pytest.mark.oracle
def test_no_old_key_at_all_is_the_mean(tmp_path):
    equal(add_modules(tiny_bert(tmp_path), "Pooling", pooling=pooling_config()))
    assert load(tmp_path).recipe.pooling == ("mean",)


@pytest.mark.oracle
def test_the_five_keys_of_the_oldest_files(tmp_path):
    pooling = pooling_config("max")
    for late in ("weighted_mean", "last"):
        pooling.pop(OLD_POOLING[late])
    equal(add_modules(tiny_bert(tmp_path), "Pooling", pooling=pooling))


@pytest.mark.oracle
def test_normalize_without_its_folder(tmp_path):
    folder = add_modules(tiny_bert(tmp_path), "Pooling", "Normalize")
    assert not (folder / "2_Normalize").exists()
    assert np.linalg.norm(equal(folder), axis=1) == pytest.approx(1)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "act", ["Tanh", "ReLU", "GELU", "SiLU", "Sigmoid", "LeakyReLU", "Mish", "ELU", "torch.nn.modules.linear.Identity"]
)
def test_dense_activations(tmp_path, act):
    path = act if "." in act else TORCH + act
    equal(add_modules(tiny_bert(tmp_path), "Pooling", "Dense", dense={"activation_function": path}))


@pytest.mark.oracle
@pytest.mark.parametrize(
    "dense",
    [
        {},
        {"bias": False, "activation_function": TORCH + "Tanh"},
        {"use_residual": True, "activation_function": TORCH + "ReLU"},
        {"use_residual": True, "out_features": 32},
        {"out_features": 48, "module_input_name": "sentence_embedding"},
    ],
    ids=str,
)
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_dense_shapes_and_files(tmp_path, dense, file):
    folder = add_modules(tiny_bert(tmp_path), "Pooling", "Dense", "Normalize", dense=dense, types=NEW)
    if file == "pytorch_model.bin":
        (folder / "2_Dense" / "model.safetensors").unlink()
        content = {"in_features": 32, "out_features": 16} | dense
        torch.save(dense_weights(content), folder / "2_Dense" / file)
    equal(folder)


@pytest.mark.oracle
def test_dense_after_several_poolings(tmp_path):
    folder = add_modules(
        tiny_bert(tmp_path),
        *("Pooling", "Normalize", "Dense", "Normalize", "Dropout"),
        pooling=pooling_config("first", "mean"),
        dense={"in_features": 64},
    )
    write_json(folder / "5_Dropout" / "config.json", {"dropout": 0.1})
    equal(folder)


@pytest.mark.oracle
@pytest.mark.parametrize("where", ["sub", "root"])
def test_an_encoder_in_its_own_folder(tmp_path, where):
    encoder = tiny_bert(tmp_path / "0_Transformer")
    add_modules(tmp_path, "Pooling", transformer="0_Transformer")
    write_json(
        (encoder if where == "sub" else tmp_path) / "sentence_bert_config.json",
        {"max_seq_length": 7, "do_lower_case": False},
    )
    equal(tmp_path)
    # the library looks beside the encoder only
    assert ours(tmp_path).max_seq_length == (7 if where == "sub" else 64)


NEW_SENTENCE = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("sentence", "tokenizer", "length"),
    [
        ({"max_seq_length": 5}, {"model_max_length": 12}, 5),
        ({"max_seq_length": 9, "do_lower_case": True}, {}, 9),
        ({"max_seq_length": None}, {"model_max_length": 12}, 12),
        ({"max_seq_length": None}, {}, 64),
        (NEW_SENTENCE, {"model_max_length": 12}, 12),
        (NEW_SENTENCE, {"model_max_length": 1e30}, 64),
        (NEW_SENTENCE, {"model_max_length": int(1e30)}, 64),
        (NEW_SENTENCE, {"model_max_length": 999}, 64),
        ({"max_seq_length": 999}, {}, 64),
    ],
)
def test_the_longest_text(tmp_path, sentence, tokenizer, length):
    folder = add_modules(tiny_bert(tmp_path), "Pooling")
    write_vocab(folder, **tokenizer)
    write_json(folder / "sentence_bert_config.json", sentence)
    equal(folder)
    assert ours(folder).max_seq_length == length


@pytest.mark.oracle
def test_other_names_of_the_sentence_config(tmp_path):
    folder = add_modules(tiny_bert(tmp_path), "Pooling")
    write_json(folder / "sentence_xlm-roberta_config.json", {"max_seq_length": 6})
    equal(folder)
    assert ours(folder).max_seq_length == 6


@pytest.mark.oracle
def test_lowering_before_a_cased_tokenizer(tmp_path):
    folder = add_modules(tiny_bert(tmp_path), "Pooling")
    write_vocab(folder, do_lower_case=False)
    kept = ours(folder).encode("The CAT")
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": True})
    equal(folder)
    assert not np.allclose(kept, ours(folder).encode("The CAT"))


@pytest.mark.parametrize("length", [0, -5, "6", 6.5, True, [6]])
def test_lengths_that_cannot_be(tmp_path, length):
    folder = add_modules(tiny_bert(tmp_path), "Pooling")
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": length})
    with pytest.raises(ModelError, match="max_seq_length in .* is"):
        load(folder)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "content",
    [
        {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query"},
        {"prompts": {"query": "query: "}, "default_prompt_name": None, "similarity_fn_name": "dot"},
        {"similarity_fn_name": "euclidean", "truncate_dim": 8},
        {"similarity_fn_name": "manhattan", "truncate_dim": 999},
        {"similarity_fn_name": None, "prompts": {}},
        {"__version__": {"sentence_transformers": "2.0.0"}},
    ],
    ids=str,
)
def test_config_sentence_transformers(tmp_path, content):
    library = pytest.importorskip("sentence_transformers")
    folder = add_modules(tiny_bert(tmp_path), "Pooling")
    write_json(folder / "config_sentence_transformers.json", content)
    got = equal(folder)
    model, reference = ours(folder), library.SentenceTransformer(str(folder), device="cpu")
    assert model.recipe.similarity == reference.similarity_fn_name
    assert np.abs(model.similarity(got, got) - reference.similarity(got, got).numpy()).max() < 1e-4
    for method in ("encode_query", "encode_document"):
        difference = getattr(model, method)(TEXTS) - getattr(reference, method)(list(TEXTS))
        assert np.abs(difference).max() < 1e-5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"default_prompt_name": "x"}, "default_prompt_name 'x' is not among the prompts: there are none"),
        ({"default_prompt_name": ["x"]}, "default_prompt_name"),
        ({"prompts": {"query": 3}}, "prompts should map names to texts"),
        ({"prompts": ["query"]}, "prompts should map names to texts"),
        ({"similarity_fn_name": "MaxSim"}, r"config_sentence_transformers\.json: similarity_fn_name: .*'MaxSim'"),
        ({"truncate_dim": 0}, "truncate_dim is 0"),
        ({"truncate_dim": "8"}, "truncate_dim is '8'"),
        ({"truncate_dim": True}, "truncate_dim is True"),
    ],
)
def test_a_config_sentence_transformers_that_cannot_be(tmp_path, content, said):
    folder = add_modules(tiny_bert(tmp_path), "Pooling")
    write_json(folder / "config_sentence_transformers.json", content)
    with pytest.raises(ConfigError, match=said):
        load(folder)


@pytest.mark.oracle
@pytest.mark.parametrize("mode", OLD_POOLING)
@pytest.mark.parametrize(("make", "prompt"), [(tiny_bert, "query: "), (tiny_roberta, "the cat: ")])
def test_prompts_that_do_not_count(tmp_path, make, prompt, mode):
    folder = add_modules(make(tmp_path), "Pooling", pooling=pooling_config(mode, include_prompt=False))
    counted = ours(folder).encode(TEXTS)
    assert not np.allclose(equal(folder, prompt=prompt), counted)


def test_no_modules_is_the_mean_and_a_warning(tmp_path, caplog):
    folder = tiny_bert(tmp_path)
    shutil.copytree(add_modules(tiny_bert(tmp_path / "b"), "Pooling") / "1_Pooling", folder / "1_Pooling")
    recipe = load(folder).recipe
    assert (recipe.pooling, recipe.steps) == (("mean",), ())
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "no modules.json; 1_Pooling/config.json is there, but nothing refers to it" in record.getMessage()
    assert "Pass pooling=" in record.getMessage()


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (("Pooling", "LSTM"), "holds 'LSTM'"),
        (("Dense", "Pooling"), "holds 'Dense'"),
        (("Normalize",), "holds 'Normalize'"),
        ((), "no Pooling module"),
        (("Pooling", "Pooling"), "holds 'Pooling'"),
        (("Pooling", "Transformer"), "holds 'Transformer'"),
    ],
)
def test_chains_that_are_not_known(tmp_path, kinds, said):
    with pytest.raises(ConfigError, match=said):
        load(add_modules(tiny_bert(tmp_path), *kinds))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({}, "should hold a list"),
        ([], "should hold a list"),
        (["x"], "should hold a list"),
        ([{"type": "a.Transformer", "path": 3}], "needs a type and a path"),
        ([{"path": ""}], "needs a type and a path"),
        ([{"type": "a.WordEmbeddings", "path": ""}], "begins with 'WordEmbeddings'"),
        ([{"type": "a.Transformer", "path": "nowhere"}], "is not a folder"),
        ([{"type": "a.Transformer", "path": "../.."}], "points outside its folder"),
        ([{"type": "a.Transformer", "path": "/etc"}], "points outside its folder"),
        ([{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "../x"}], "points outside"),
        ([{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "gone"}], "cannot be read"),
        ([{"type": "a.Transformer", "path": "\ud800"}], "names a folder that cannot be"),
        ([{"type": "a.Transformer", "path": "\0"}], "names a folder that cannot be"),
        ([{"type": "a.Transformer", "path": "a" * 5000}], "names a folder that cannot be"),
        ([{"type": "a.Transformer", "path": "loop"}], "names a folder that cannot be"),
    ],
)
def test_modules_that_cannot_be(tmp_path, rows, said):
    folder = tiny_bert(tmp_path / "a" / "model")
    write_json(folder / "modules.json", rows)
    (folder / "loop").symlink_to("loop")
    with pytest.raises(ModelError, match=said):
        load(folder)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    folder = add_modules(tiny_bert(tmp_path / "model"), "Pooling")
    shutil.move(folder / "1_Pooling", tmp_path / "outside")
    (folder / "1_Pooling").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match="points outside its folder"):
        load(folder)


@pytest.mark.parametrize(
    ("pooling", "said"),
    [
        (pooling_config("mean", hidden=64), "for hidden size 64, but the encoder's is 32"),
        ({"pooling_mode": "avg"}, r"'avg' in .*1_Pooling/config\.json is not known"),
        ({"pooling_mode": []}, "should be a name or a list of names"),
        ({"pooling_mode": 3}, "should be a name or a list of names"),
        ({"pooling_mode": ["mean", 3]}, "should be a name or a list of names"),
    ],
)
def test_poolings_that_cannot_be(tmp_path, pooling, said):
    with pytest.raises(ConfigError, match=said):
        load(add_modules(tiny_bert(tmp_path), "Pooling", pooling=pooling))


def test_an_unknown_pooling_has_a_class_of_its_own(tmp_path):
    with pytest.raises(UnknownPooling):
        load(add_modules(tiny_bert(tmp_path), "Pooling", pooling={"pooling_mode": "avg"}))


@pytest.mark.parametrize(
    ("dense", "said"),
    [
        ({"in_features": 64}, "maps 64 to 16 features, but 32 come in"),
        ({"activation_function": "torch.nn.Swirl"}, "'torch.nn.Swirl' of a Dense module is not known. Known: "),
        ({"activation_function": "their.code.ReLU"}, "'their.code.ReLU' is not one of torch's"),
        ({"module_input_name": "token_embeddings"}, "works on 'token_embeddings', not on pooled vectors"),
    ],
)
def test_denses_that_cannot_be(tmp_path, dense, said):
    with pytest.raises(ConfigError, match=said):
        load(add_modules(tiny_bert(tmp_path), "Pooling", "Dense", dense=dense))


@pytest.mark.parametrize(
    "changes",
    [
        {"out_features": 17},
        {"out_features": 10**12},
        {"bias": False},
        {"use_residual": True},
    ],
    ids=str,
)
def test_a_dense_whose_weights_do_not_fit(tmp_path, changes):
    folder = add_modules(tiny_bert(tmp_path), "Pooling", "Dense")
    write_json(folder / "2_Dense" / "config.json", {"in_features": 32, "out_features": 16, "bias": True} | changes)
    with pytest.raises(WeightsError, match=r"2_Dense/model\.safetensors does not fit its config\.json"):
        load(folder)


@pytest.mark.parametrize("out", [0, -1, "16", None, True])
def test_a_dense_whose_numbers_cannot_be(tmp_path, out):
    folder = add_modules(tiny_bert(tmp_path), "Pooling", "Dense")
    write_json(folder / "2_Dense" / "config.json", {"in_features": 32, "out_features": out})
    with pytest.raises(ModelError, match="2_Dense/"):
        load(folder)


def test_a_dense_without_weights(tmp_path):
    folder = add_modules(tiny_bert(tmp_path), "Pooling", "Dense")
    (folder / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="2_Dense holds no weights"):
        load(folder)


def test_a_dense_in_half_precision(tmp_path):
    folder = add_modules(tiny_bert(tmp_path), "Pooling", "Dense")
    halves = {name: tensor.half() for name, tensor in dense_weights({"in_features": 32, "out_features": 16}).items()}
    write_weights(folder / "2_Dense", halves)
    (step,) = load(folder).recipe.steps
    assert step.linear.weight.dtype == torch.float32

"""What is saved comes back the same: to us, to sentence-transformers, and to transformers."""

from __future__ import annotations

import errno
import json
import os
import shutil

import numpy as np
import pytest
import torch
from tests.builders import (
    PIECES,
    TEXTS,
    add_modules,
    pooling_config,
    tiny_bert,
    tiny_roberta,
    tiny_xlm_roberta,
    write_json,
    write_vocab,
)

from sentvec import Embedder
from sentvec.checkpoint.tokenizer import read_tokenizer
from sentvec.errors import InvalidInput


def ours(folder, **options):
    return Embedder.from_pretrained(folder, device="cpu", **options)


def plain(folder):
    return tiny_bert(folder)


def rich(folder):
    """Two poolings, a projection with a residual, normalisation, prompts, a length, a cased vocabulary."""
    add_modules(
        tiny_bert(folder),
        *("Pooling", "Dense", "Normalize"),
        pooling=pooling_config("first", "mean"),
        dense={"in_features": 64, "use_residual": True, "activation_function": "torch.nn.modules.activation.GELU"},
    )
    write_vocab(folder, do_lower_case=False)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 9, "do_lower_case": True})
    prompts = {"query": "query: ", "document": "passage: "}
    write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": prompts, "default_prompt_name": "query", "similarity_fn_name": "dot"},
    )
    return folder


def first_token(folder):
    return add_modules(tiny_bert(folder), "Pooling", "Normalize", pooling=pooling_config("first", include_prompt=False))


def dense_then_normalize_twice(folder):
    return add_modules(tiny_bert(folder, pooler=False), "Pooling", "Normalize", "Dense", "Normalize")


def cased(folder):
    add_modules(tiny_bert(folder), "Pooling")
    write_vocab(folder, do_lower_case=False)
    return folder


def googles(folder):
    (tiny_bert(folder) / "config.json").rename(folder / "bert_config.json")
    content = json.loads((folder / "bert_config.json").read_text())
    del content["model_type"]
    write_json(folder / "bert_config.json", content)
    return folder


def wwm(folder):
    tiny_bert(folder)
    content = json.loads((folder / "config.json").read_text()) | {"model_type": "roberta", "torch_dtype": "float16"}
    write_json(folder / "config.json", content)
    return folder


def bert_with_pieces_of_sentences(folder):
    """The shape of multilingual-e5-small: BERT's encoder, XLM-RoBERTa's tokeniser."""
    tiny_xlm_roberta(folder / "tokens")
    tiny_bert(folder, vocab_size=64, pad_token_id=0)
    (folder / "vocab.txt").unlink()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "tokens" / name).replace(folder / name)
    shutil.rmtree(folder / "tokens")
    return add_modules(folder, "Pooling", "Normalize")


def roberta_with_a_space_first(folder):
    tiny_roberta(folder)
    names = {"tokenizer_class": "RobertaTokenizer", "model_max_length": 64, "add_prefix_space": True}
    write_json(folder / "tokenizer_config.json", names)
    return folder


def named_otherwise(folder):
    """Special tokens of a WordPiece vocabulary with names of their own."""
    names = {"[CLS]": "<s>", "[SEP]": "</s>", "[UNK]": "<unk>", "[PAD]": "<pad>", "[MASK]": "<mask>"}
    special = {f"{old[1:-1].lower()}_token": new for old, new in names.items()}
    write_vocab(tiny_bert(folder), [names.get(piece, piece) for piece in PIECES], **special)
    return folder


def composed(folder):
    """WordPiece behind a normaliser that is not BERT's."""
    content = json.loads(read_tokenizer(tiny_bert(folder)).to_json()) | {"normalizer": {"type": "NFC"}}
    write_json(folder / "tokenizer.json", content)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"})
    (folder / "vocab.txt").unlink()
    return folder


def with_added_tokens(folder):
    tiny_bert(folder, vocab_size=len(PIECES) + 2)
    write_json(folder / "added_tokens.json", {"query: ": len(PIECES), "mat": PIECES.index("mat")})
    return folder


MAKERS = [plain, rich, first_token, dense_then_normalize_twice, cased, googles, wwm, tiny_roberta, tiny_xlm_roberta]
MAKERS += [bert_with_pieces_of_sentences, roberta_with_a_space_first, named_otherwise, composed, with_added_tokens]


@pytest.mark.parametrize("make", MAKERS)
def test_saved_and_loaded_again_is_the_same_model(tmp_path, make):
    model = ours(make(tmp_path / "a"))
    model.save_pretrained(tmp_path / "new" / "b")
    again = ours(tmp_path / "new" / "b")
    assert (again.encode(TEXTS) == model.encode(TEXTS)).all()
    assert again.fingerprint == model.fingerprint
    assert (again.recipe.pooling, again.recipe.prompts, again.recipe.default_prompt, again.recipe.similarity) == (
        model.recipe.pooling,
        model.recipe.prompts,
        model.recipe.default_prompt,
        model.recipe.similarity,
    )
    again.save_pretrained(tmp_path / "c")
    for path in sorted((tmp_path / "c").rglob("*")):
        if path.is_file():
            twin = tmp_path / "new" / "b" / path.relative_to(tmp_path / "c")
            assert path.read_bytes() == twin.read_bytes(), path


@pytest.mark.oracle
@pytest.mark.parametrize("make", MAKERS)
def test_sentence_transformers_reads_what_we_save(tmp_path, make):
    library = pytest.importorskip("sentence_transformers")
    model = ours(make(tmp_path / "a"))
    model.save_pretrained(tmp_path / "b")
    reference = library.SentenceTransformer(str(tmp_path / "b"), device="cpu")
    got, expected = model.encode(TEXTS), reference.encode(list(TEXTS))
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < 1e-5
    assert reference.max_seq_length == model.max_seq_length
    assert reference.similarity_fn_name == model.recipe.similarity
    for name, prompt in model.recipe.prompts.items():
        assert reference.prompts[name] == prompt


@pytest.mark.oracle
@pytest.mark.parametrize("make", MAKERS)
def test_transformers_reads_what_we_save(tmp_path, make):
    transformers = pytest.importorskip("transformers")
    model = ours(make(tmp_path / "a"))
    model.save_pretrained(tmp_path / "b")
    reference = transformers.AutoModel.from_pretrained(tmp_path / "b")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "b")
    texts = [text.lower() if model.recipe.lower_case else text for text in TEXTS]
    for text, states in zip(texts, model.encode_tokens(texts, prompt=""), strict=True):
        with torch.no_grad():
            inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=model.max_seq_length)
            expected = reference(**inputs).last_hidden_state[0].numpy()
        assert np.abs(states - expected).max() < 5e-6
    assert tokenizer.model_max_length == model.max_seq_length
    vocab = model.tokenizer.vocab()
    assert tokenizer.pad_token_id == next(vocab[pad] for pad in ("[PAD]", "<pad>") if pad in vocab)
    if model.encoder.pooler is not None:
        assert reference.pooler is not None


def cut(folder, *kinds):
    add_modules(tiny_bert(folder), "Pooling", *kinds)
    write_json(folder / "config_sentence_transformers.json", {"truncate_dim": 8})
    return folder


@pytest.mark.oracle
def test_a_stored_cut(tmp_path):
    library = pytest.importorskip("sentence_transformers")
    model = ours(cut(tmp_path / "a"))
    model.save_pretrained(tmp_path / "b")
    assert (ours(tmp_path / "b").encode(TEXTS) == model.encode(TEXTS)).all()
    expected = library.SentenceTransformer(str(tmp_path / "b"), device="cpu").encode(list(TEXTS))
    assert np.abs(model.encode(TEXTS) - expected).max() < 1e-5


@pytest.mark.oracle
def test_a_stored_cut_of_unit_vectors_gives_unit_vectors(tmp_path):
    """The library leaves them shorter, pointing the same way."""
    library = pytest.importorskip("sentence_transformers")
    folder = cut(tmp_path, "Normalize")
    expected = library.SentenceTransformer(str(folder), device="cpu").encode(list(TEXTS), normalize_embeddings=True)
    assert np.abs(ours(folder).encode(TEXTS) - expected).max() < 1e-5


@pytest.mark.oracle
def test_the_references_own_save_is_read(tmp_path):
    library = pytest.importorskip("sentence_transformers")
    reference = library.SentenceTransformer(str(rich(tmp_path / "a")), device="cpu")
    reference.save_pretrained(str(tmp_path / "b"))
    assert "pooling_mode_cls_token" not in (tmp_path / "b" / "1_Pooling" / "config.json").read_text()
    assert np.abs(ours(tmp_path / "b").encode(TEXTS) - reference.encode(list(TEXTS))).max() < 1e-5


def test_only_old_keys_and_old_class_paths_are_written(tmp_path):
    ours(rich(tmp_path / "a")).save_pretrained(tmp_path / "b")
    pooling = json.loads((tmp_path / "b" / "1_Pooling" / "config.json").read_text())
    assert pooling["pooling_mode_cls_token"] is True
    assert not {"pooling_mode", "embedding_dimension"} & pooling.keys()  # readers before 5.4 stumble over them
    for row in json.loads((tmp_path / "b" / "modules.json").read_text()):
        assert row["type"].startswith("sentence_transformers.models.")
    assert "use_residual" not in json.loads(
        (saved(tmp_path, dense_then_normalize_twice) / "3_Dense" / "config.json").read_text()
    )


def saved(tmp_path, make):
    ours(make(tmp_path / "x")).save_pretrained(tmp_path / "y")
    return tmp_path / "y"


@pytest.mark.parametrize("pooling", ["first_last_mean", "pooler", ("last", "first"), ("mean", "mean")])
def test_poolings_of_our_own_come_back_to_us(tmp_path, pooling, caplog):
    model = ours(tiny_bert(tmp_path / "a"), pooling=pooling)
    model.save_pretrained(tmp_path / "b")
    assert "not known to sentence-transformers, which will refuse the folder" in caplog.text
    again = ours(tmp_path / "b")
    assert again.recipe.pooling == model.recipe.pooling
    assert (again.encode(TEXTS) == model.encode(TEXTS)).all()


@pytest.mark.oracle
def test_other_readers_refuse_a_pooling_of_our_own(tmp_path):
    library = pytest.importorskip("sentence_transformers")
    ours(tiny_bert(tmp_path / "a"), pooling="first_last_mean").save_pretrained(tmp_path / "b")
    with pytest.raises(Exception, match=r"sentvec|Pooling"):
        library.SentenceTransformer(str(tmp_path / "b"), device="cpu")


def test_code_that_stays_behind_is_not_named(tmp_path):
    paths = {"AutoModel": "modeling.OwnBert", "AutoConfig": "someone/models--configuration.OwnConfig"}
    tiny_bert(tmp_path / "a", auto_map=paths)
    ours(tmp_path / "a").save_pretrained(tmp_path / "b")
    written = json.loads((tmp_path / "b" / "config.json").read_text(encoding="utf-8"))
    assert written["auto_map"] == {"AutoConfig": "someone/models--configuration.OwnConfig"}
    tiny_bert(tmp_path / "c", auto_map={"AutoModel": "modeling.OwnBert"})
    ours(tmp_path / "c").save_pretrained(tmp_path / "d")
    assert "auto_map" not in json.loads((tmp_path / "d" / "config.json").read_text(encoding="utf-8"))


def test_saving_over_another_model(tmp_path):
    rich(tmp_path / "there")
    model = ours(first_token(tmp_path / "a"))
    model.save_pretrained(tmp_path / "there")
    assert ours(tmp_path / "there").fingerprint == model.fingerprint


def test_saving_over_the_folder_it_was_read_from(tmp_path):
    model = ours(rich(tmp_path))
    before = model.encode(TEXTS)
    model.save_pretrained(tmp_path)
    assert (model.encode(TEXTS) == before).all()
    assert (ours(tmp_path).encode(TEXTS) == before).all()


def test_saving_from_another_number_format_writes_float32(tmp_path):
    folder = add_modules(tiny_bert(tmp_path / "a"), "Pooling")
    half = ours(folder, precision="bfloat16")
    half.save_pretrained(tmp_path / "b")
    assert {p.dtype for p in ours(tmp_path / "b").encoder.parameters()} == {torch.float32}
    assert json.loads((tmp_path / "b" / "config.json").read_text())["dtype"] == "float32"


def test_a_disk_that_fills_up_leaves_each_old_file_whole(tmp_path, monkeypatch):
    old = ours(first_token(tmp_path / "a"))
    old.save_pretrained(tmp_path / "b")
    before = {path: path.read_bytes() for path in (tmp_path / "b").rglob("*") if path.is_file()}
    other = ours(add_modules(tiny_bert(tmp_path / "c", seed=5), "Pooling", "Normalize"))
    real, calls = os.fsync, []

    def fill(descriptor):
        calls.append(descriptor)
        if len(calls) > 1:  # config.json gets through, the weights do not
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(OSError, match="No space left"):
        other.save_pretrained(tmp_path / "b")
    monkeypatch.undo()
    after = {path: path.read_bytes() for path in (tmp_path / "b").rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    changed = [path.name for path in before if after[path] != before[path]]
    assert changed in ([], ["config.json"])
    assert ours(tmp_path / "b").encode(TEXTS).shape == (6, 32)


def test_a_file_where_the_folder_should_be(tmp_path):
    model = ours(tiny_bert(tmp_path / "a"))
    (tmp_path / "b").write_text("x")
    with pytest.raises(InvalidInput, match="is a file; give a folder"):
        model.save_pretrained(tmp_path / "b")
    assert (tmp_path / "b").read_text() == "x"

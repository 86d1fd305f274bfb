"""What was published is read as transformers reads it: numbers of config.json, and texts laid out as tokens."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from tests.builders import write_json

from sentvec.checkpoint.tokenizer import read_tokenizer
from sentvec.models.config import EncoderConfig
from sentvec.models.registry import architecture

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = [pytest.mark.oracle, pytest.mark.data]

TEXTS = (
    "The cat sat on the mat.",
    "",
    "unaffable naïve résumé, 你好世界！",
    "今天天气很好，我们去公园散步吧。 OK?",
    ("How do I reset my password?", "Press the button."),
    ("你好", ""),
    ("", "mask [MASK] <mask> [SEP] </s> [PAD]"),
)
# folder of vocabulary, tokeniser's class, model_type
LAYOUTS = (
    ("bert-base-uncased", "BertTokenizer", "bert"),
    ("bert-base-cased", "BertTokenizer", "bert"),
    ("bert-base-chinese", "BertTokenizer", "ernie"),
    ("bert-base-chinese", "BertTokenizer", "albert"),
    ("bert-base-multilingual-cased", "DistilBertTokenizer", "distilbert"),
    ("bert-base-uncased", "ElectraTokenizer", "electra"),
    ("mpnet", "MPNetTokenizer", "mpnet"),
    ("roberta-base", "RobertaTokenizer", "roberta"),
)


@pytest.mark.parametrize(
    "name",
    ("all-MiniLM-L6-v2", "bert-base-chinese", "bert-base-uncased", "bge-base-zh-v1.5", "bge-small-zh-v1.5",
     "uer-chinese_roberta_L-2_H-128"),
)  # fmt: skip
def test_numbers_of_published_models(shared_data, name):
    folder = shared_data / "configs" / name
    numbers = architecture("bert").read(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    theirs = transformers.AutoConfig.from_pretrained(str(folder))
    keys = architecture("bert").keys
    assert {f.name for f in fields(EncoderConfig)} - keys.keys() == {"position_offset", "own"}
    for field, (key, _) in keys.items():
        assert getattr(numbers, field) == getattr(theirs, key), key


@pytest.mark.parametrize(("vocabulary", "kind", "model_type"), LAYOUTS)
def test_texts_and_pairs_are_laid_out_as_the_reference_does(tmp_path, shared_data, vocabulary, kind, model_type):
    lower = {"do_lower_case": not vocabulary.endswith("-cased")}
    if vocabulary != "roberta-base":  # whose own files say all, that its mask takes the space before it for one
        write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": kind} | lower)
    write_json(tmp_path / "config.json", {"model_type": model_type})
    given = shared_data / "tokenizers" / ("bert-base-uncased" if vocabulary == "mpnet" else vocabulary)
    if vocabulary == "mpnet":  # BERT's pieces between RoBERTa's special tokens
        pieces = (given / "vocab.txt").read_text(encoding="utf-8")
        (tmp_path / "vocab.txt").write_text(f"<s>\n<pad>\n</s>\n<unk>\n{pieces}<mask>\n", encoding="utf-8")
    for path in given.iterdir() if vocabulary != "mpnet" else ():
        if path.name in ("vocab.txt", "vocab.json", "merges.txt") or vocabulary == "roberta-base":
            (tmp_path / path.name).symlink_to(path)
    ours, theirs = read_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    for text, found in zip(TEXTS, ours.encode(TEXTS), strict=True):
        # in a list, for otherwise the reference takes a pair with an empty second text for a single text
        expected = theirs([text if isinstance(text, str) else list(text)], return_token_type_ids=True)
        assert found.ids == expected["input_ids"][0], (text, ours.tokens(found.ids))
        assert found.types == expected["token_type_ids"][0], text

"""Tokeniser files: a folder in, a `Tokenizer` out."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from sentvec.checkpoint.files import read_json, read_json_or_empty
from sentvec.errors import TokenizerError
from sentvec.text.build import WordPieceOptions, byte_bpe, looks_cased, wordpiece
from sentvec.text.tokenizer import Tokenizer

_log = logging.getLogger("sentvec")
_FLAGS = {
    "do_lower_case": "lowercase",
    "tokenize_chinese_chars": "handle_chinese_chars",
    "strip_accents": "strip_accents",
}


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read tokenizer.json, else vocab.txt (WordPiece), else vocab.json with merges.txt (byte-level BPE).

    Raises:
        TokenizerError: there are no such files, or they are broken.
    """
    config = read_json_or_empty(folder / "tokenizer_config.json")
    if (folder / "tokenizer.json").is_file():
        return Tokenizer(_from_json(folder / "tokenizer.json", config))
    if (folder / "vocab.txt").is_file():
        return Tokenizer(_from_vocab(folder / "vocab.txt", config))
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return Tokenizer(_from_merges(folder, config))
    pieces = sorted(path.name for path in folder.glob("*.model"))
    hint = f" It has {pieces[0]}, which must be converted to tokenizer.json first." if pieces else ""
    raise TokenizerError(
        f"{folder} holds no tokeniser. Looked for: tokenizer.json; vocab.txt; vocab.json with merges.txt.{hint}"
    )


def _from_json(path: Path, config: Mapping[str, Any]) -> Backend:
    content = read_json(path)
    normalizer = content.get("normalizer") or {}
    if isinstance(normalizer, dict) and normalizer.get("type") == "BertNormalizer":
        # the two files can disagree; the reference lets tokenizer_config.json win
        for flag, key in _FLAGS.items():
            wanted = config.get(flag, normalizer.get(key))
            if wanted is not normalizer.get(key) and (isinstance(wanted, bool) or wanted is None):
                _log.info("%s: %s is %s by tokenizer_config.json", path.name, key, wanted)
                normalizer[key] = wanted
    try:
        return Backend.from_str(json.dumps(content))
    except Exception as error:  # the library raises no narrower class
        raise TokenizerError(f"{path} is not a usable tokeniser ({error}).") from None


def _from_vocab(path: Path, config: Mapping[str, Any]) -> Backend:
    # not splitlines(): vocabularies hold pieces such as U+2028 that it would take for line ends
    vocab = {piece.removesuffix("\r"): i for i, piece in enumerate(_text(path).removesuffix("\n").split("\n"))}
    lower = config.get("do_lower_case")
    if lower is None:
        lower = not looks_cased(vocab)
        how = "has no capital letters" if lower else "has capital letters"
        _log.info("no do_lower_case is set; %s %s, so letters are %s", path, how, "lowered" if lower else "kept")
    options = WordPieceOptions(
        do_lower_case=bool(lower),
        tokenize_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
        strip_accents=config.get("strip_accents"),
    )
    return wordpiece(vocab, options, _special(config))


def _from_merges(folder: Path, config: Mapping[str, Any]) -> Backend:
    lines = _text(folder / "merges.txt").split("\n")
    pairs = [line.removesuffix("\r").split(" ") for line in lines if line.strip() and not line.startswith("#version")]
    if bad := [pair for pair in pairs if len(pair) != 2]:
        raise TokenizerError(f"{folder / 'merges.txt'}: {' '.join(bad[0])!r} is not two pieces with a space between.")
    vocab = read_json(folder / "vocab.json")
    if not all(isinstance(i, int) for i in vocab.values()):
        raise TokenizerError(f"{folder / 'vocab.json'} should map every piece to a number.")
    return byte_bpe(vocab, [(a, b) for a, b in pairs], add_prefix_space=bool(config.get("add_prefix_space", False)))


def _special(config: Mapping[str, Any]) -> dict[str, str]:
    """Names of special tokens; old files write a token as a string, newer ones as an object."""
    found = {}
    for key, value in config.items():
        content = value.get("content") if isinstance(value, dict) else value
        if key.endswith("_token") and isinstance(content, str):
            found[key] = content
    return found


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")  # not read_text: it would turn a lone CR into a line end
    except (OSError, UnicodeDecodeError) as error:
        raise TokenizerError(f"{path} cannot be read as UTF-8 ({error}).") from None

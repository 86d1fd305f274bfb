"""Tokeniser files: a folder in, a `Tokenizer` out."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from sentvec.checkpoint.files import present, read_json, read_json_or_empty
from sentvec.errors import ConfigError, TokenizerError
from sentvec.text.build import WordPieceOptions, byte_bpe, looks_cased, wordpiece
from sentvec.text.guard import guarded
from sentvec.text.tokenizer import Tokenizer

_log = logging.getLogger("sentvec")
_FLAGS = {
    "do_lower_case": "lowercase",
    "tokenize_chinese_chars": "handle_chinese_chars",
    "strip_accents": "strip_accents",
}
# where the folder does not name them
_MPNET = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "mask_token": "<mask>"}
# classes that take tokenizer.json as it stands, and no flags from tokenizer_config.json
_GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read tokenizer.json, else vocab.txt (WordPiece), else vocab.json with merges.txt (byte-level BPE).

    Raises:
        TokenizerError: there are no such files, or they are broken.
    """
    config = read_json_or_empty(folder / "tokenizer_config.json")
    _check_flags(config, folder / "tokenizer_config.json")
    if config.get("tokenizer_class") not in _GENERIC and _family(folder, config) == "roformer":
        # not even tokenizer.json says how: it is written without the step that finds words
        raise TokenizerError(
            f"{folder} has RoFormer's tokeniser, which cuts Chinese into words with jieba; sentvec has no jieba. "
            "A vocabulary without Chinese words needs none: for that, name BertTokenizer as tokenizer_class in "
            "tokenizer_config.json. Otherwise take a checkpoint of another family."
        )
    if _there(folder / "tokenizer.json"):
        return Tokenizer(_from_json(folder / "tokenizer.json", config))
    if _there(folder / "vocab.txt"):
        return Tokenizer(_with_added(_from_vocab(folder, config), folder, config))
    if _there(folder / "vocab.json") and _there(folder / "merges.txt"):
        if _family(folder, config) == "xlm":
            raise TokenizerError(
                f"{folder} holds XLM's vocab.json and merges.txt, for words cut by Moses' rules, which sentvec does "
                "not have. Looked for: tokenizer.json. Convert the files to that."
            )
        return Tokenizer(_with_added(_from_merges(folder, config), folder, config))
    pieces = sorted(path.name for path in folder.glob("*.model"))
    hint = f" It has {pieces[0]}, which must be converted to tokenizer.json first." if pieces else ""
    raise TokenizerError(
        f"{folder} holds no tokeniser. Looked for: tokenizer.json; vocab.txt; vocab.json with merges.txt.{hint}"
    )


def read_special(folder: Path) -> dict[str, str]:
    """Read what the folder's files call its special tokens, such as ``{"cls_token": "[CLS]"}``."""
    config = read_json_or_empty(folder / "tokenizer_config.json")
    named = _special(config), _special(read_json_or_empty(folder / "special_tokens_map.json"))
    # newer files say all in tokenizer_config.json; the reference reads the other one only where they do not
    return named[1] | named[0] if "added_tokens_decoder" in config else named[0] | named[1]


def _from_json(path: Path, config: Mapping[str, Any]) -> Backend:
    content = _object(path)
    normalizer = content.get("normalizer") or {}
    flags = {} if config.get("tokenizer_class") in _GENERIC else config
    if isinstance(normalizer, dict) and normalizer.get("type") == "BertNormalizer":
        # The two files can disagree; the reference lets tokenizer_config.json win. Where that file says nothing,
        # the reference lowers letters even if tokenizer.json says not to; here, what is written down is believed.
        for flag, key in _FLAGS.items():
            wanted = flags.get(flag, normalizer.get(key))
            if wanted is not normalizer.get(key) and (wanted is not None or key == "strip_accents"):
                _log.info("%s: %s is %s by tokenizer_config.json", path.name, key, wanted)
                normalizer[key] = wanted
    _check_merges(content.get("model"), path)
    with guarded(f"{path} is not a usable tokeniser"):
        return Backend.from_str(json.dumps(content))


def _check_merges(model: object, path: Path) -> None:
    """Refuse merges whose second piece lacks the prefix that the library cuts off without looking."""
    prefix = model.get("continuing_subword_prefix") if isinstance(model, dict) else None
    merges = model.get("merges") if isinstance(model, dict) else None
    if not isinstance(prefix, str) or not prefix or not isinstance(merges, list):
        return
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or not isinstance(pair[-1], str) or not pair[-1].startswith(prefix):
            raise TokenizerError(
                f"{path} is not a usable tokeniser: {merge!r} does not merge with a piece in {prefix!r}."
            )


def _with_added(backend: Backend, folder: Path, config: Mapping[str, Any]) -> Backend:
    """Add the tokens that stand beside the vocabulary, in added_tokens.json or in newer files' added_tokens_decoder."""
    if "added_tokens_decoder" in config:
        path, given = folder / "tokenizer_config.json", config["added_tokens_decoder"]
        listed = list(given.items()) if isinstance(given, dict) else [given]
    else:
        path, special = folder / "added_tokens.json", set(read_special(folder).values())
        listed = [
            (place, {"content": token, "normalized": token not in special, "special": token in special})
            for token, place in (_object(path) if _there(path) else {}).items()
        ]
    try:
        rows = sorted(((int(str(i)), _added(row)) for i, row in listed), key=lambda row: row[0])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise TokenizerError(f"{path}: the added tokens should be texts with a number each.") from None
    with guarded(f"{path}: the added tokens cannot be used"):
        backend.add_tokens([token for _, token in rows])
    for place, token in rows:
        if backend.token_to_id(token.content) != place:
            raise TokenizerError(
                f"{path} gives {token.content!r} the id {place}, but behind the vocabulary it has "
                f"{backend.token_to_id(token.content)}. They are not of the same model."
            )
    return backend


def _added(row: Mapping[str, Any]) -> AddedToken:
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return AddedToken(row["content"], **{flag: row[flag] for flag in flags if flag in row})


def _from_vocab(folder: Path, config: Mapping[str, Any]) -> Backend:
    path = folder / "vocab.txt"
    # not splitlines(): vocabularies hold pieces such as U+2028 that it would take for line ends
    lines = enumerate(_text(path).split("\n"))
    # of a piece that stands twice, the later id counts; an empty line is no piece, but takes up an id
    vocab = {piece: i for i, line in lines if (piece := line.removesuffix("\r"))}
    mpnet = _family(folder, config) == "mpnet"  # its special tokens and layout are RoBERTa's
    lower = config.get("do_lower_case")
    if lower is None:
        lower = not looks_cased(vocab)
        how = "has no capital letters" if lower else "has capital letters"
        _log.info("no do_lower_case is set; %s %s, so letters are %s", path, how, "lowered" if lower else "kept")
    options = WordPieceOptions(
        do_lower_case=bool(lower),
        tokenize_chinese_chars=config.get("tokenize_chinese_chars") is not False,
        strip_accents=config.get("strip_accents"),
        separators=2 if mpnet else 1,
    )
    return wordpiece(vocab, options, (_MPNET if mpnet else {}) | read_special(folder))


def _family(folder: Path, config: Mapping[str, Any]) -> str:
    """Return whose the files are, by the tokeniser's class or else by the model's type, such as ``"mpnet"``."""
    named = config.get("tokenizer_class")
    if not isinstance(named, str) or named in _GENERIC:
        named = read_json_or_empty(folder / "config.json").get("model_type")
    return named.lower().removesuffix("fast").removesuffix("tokenizer") if isinstance(named, str) else ""


def _from_merges(folder: Path, config: Mapping[str, Any]) -> Backend:
    lines = _text(folder / "merges.txt").split("\n")
    pairs = [line.removesuffix("\r").split(" ") for line in lines if line.strip() and not line.startswith("#version")]
    if bad := [pair for pair in pairs if len(pair) != 2]:
        raise TokenizerError(f"{folder / 'merges.txt'}: {' '.join(bad[0])!r} is not two pieces with a space between.")
    vocab = _object(folder / "vocab.json")
    if not all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < 1 << 32 for i in vocab.values()):
        raise TokenizerError(f"{folder / 'vocab.json'} should map every piece to a number.")
    return byte_bpe(vocab, [(a, b) for a, b in pairs], add_prefix_space=bool(config.get("add_prefix_space", False)))


def _check_flags(config: Mapping[str, Any], path: Path) -> None:
    for flag in (*_FLAGS, "add_prefix_space"):
        if not isinstance(config.get(flag), bool | None):
            raise TokenizerError(f"{path}: {flag} is {config[flag]!r}, which should be true or false.")


def _there(path: Path) -> bool:
    try:
        return present(path)
    except ConfigError as error:
        raise TokenizerError(str(error)) from None


def _object(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except ConfigError as error:
        raise TokenizerError(str(error)) from None


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
        return path.read_bytes().decode("utf-8-sig")  # not read_text: it would turn a lone CR into a line end
    except (OSError, UnicodeDecodeError) as error:
        raise TokenizerError(f"{path} cannot be read as UTF-8 ({error}).") from None

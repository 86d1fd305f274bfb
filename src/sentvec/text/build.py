"""Build tokenisers from vocabularies: the content of vocab.txt, or of vocab.json with merges.txt, in; a backend out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, WordPiece

from sentvec.errors import TokenizerError
from sentvec.text.guard import guarded


@dataclass(frozen=True, kw_only=True)
class WordPieceOptions:
    """How BERT's basic tokeniser prepares a text, by the names that tokenizer_config.json uses.

    Attributes:
        do_lower_case: whether letters are lowered.
        tokenize_chinese_chars: whether each CJK character becomes a word of its own.
        strip_accents: whether accents go; None means that they go where letters are lowered.
        separators: how many separators stand between the texts of a pair. With two, as RoBERTa has them and MPNet
            after it, all tokens are of type 0, and the mask takes the space before it.
    """

    do_lower_case: bool = True
    tokenize_chinese_chars: bool = True
    strip_accents: bool | None = None
    separators: int = 1


def wordpiece(
    vocab: Mapping[str, int], options: WordPieceOptions, special: Mapping[str, str] | None = None
) -> Tokenizer:
    """Build BERT's tokeniser: longest match first, from the left (Wu et al. 2016; Devlin et al. 2018).

    Args:
        vocab: piece -> id; pieces that continue a word begin with ``##``.
        options: how texts are prepared.
        special: other names for the special tokens, such as ``{"cls_token": "<s>"}``.

    Raises:
        TokenizerError: a special token is not in the vocabulary.
    """
    names = {f"{role}_token": f"[{role.upper()}]" for role in ("unk", "cls", "sep", "pad", "mask")}
    names |= {key: value for key, value in (special or {}).items() if key in names}
    if absent := [names[key] for key in ("unk_token", "cls_token", "sep_token") if names[key] not in vocab]:
        raise TokenizerError(
            f"vocab.txt has no {', '.join(absent)} among its {len(vocab)} pieces; "
            "it is not BERT's, or tokenizer_config.json should name its special tokens."
        )
    cls, sep = names["cls_token"], names["sep_token"]
    roberta = options.separators == 2
    tokenizer = Tokenizer(WordPiece(dict(vocab), unk_token=names["unk_token"], max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options.tokenize_chinese_chars,
        strip_accents=options.strip_accents,
        lowercase=options.do_lower_case,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        # the tokens' own names do not stand in the template, which would take one such as "a:5" apart
        single="[CLS]:0 $A:0 [SEP]:0",
        pair=("[CLS]:0 $A:0 [SEP]:0 [SEP]:0 $B:0 [SEP]:0" if roberta else "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"),
        special_tokens=[
            {"id": "[CLS]", "ids": [vocab[cls]], "tokens": [cls]},
            {"id": "[SEP]", "ids": [vocab[sep]], "tokens": [sep]},
        ],
    )
    mask = names.pop("mask_token")
    marked = [AddedToken(name, normalized=False) for name in dict.fromkeys(names.values()) if name in vocab]
    marked += [AddedToken(mask, lstrip=roberta, normalized=False)] if mask in vocab else []
    tokenizer.add_special_tokens(marked)
    return tokenizer


def byte_bpe(
    vocab: Mapping[str, int], merges: Sequence[tuple[str, str]], *, add_prefix_space: bool = False
) -> Tokenizer:
    """Build RoBERTa's tokeniser: byte pairs over bytes (Radford et al. 2019; Liu et al. 2019).

    Args:
        vocab: piece -> id.
        merges: pairs of pieces in the order in which they are merged.
        add_prefix_space: whether a text is read as if a space stood before it.

    Raises:
        TokenizerError: a special token is not in the vocabulary, or a merge names an unknown piece.
    """
    if absent := [name for name in ("<s>", "</s>") if name not in vocab]:
        raise TokenizerError(f"vocab.json has no {', '.join(absent)} among its {len(vocab)} pieces.")
    with guarded("merges.txt does not fit vocab.json"):
        tokenizer = Tokenizer(BPE(dict(vocab), list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", vocab["</s>"]), ("<s>", vocab["<s>"]), trim_offsets=True, add_prefix_space=add_prefix_space
    )
    plain = [name for name in ("<s>", "<pad>", "</s>", "<unk>") if name in vocab]
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in plain])
    if "<mask>" in vocab:  # takes the space before it, as in fairseq
        tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    return tokenizer


def looks_cased(vocab: Mapping[str, int]) -> bool:
    """Whether a WordPiece vocabulary was made from text whose letters were not lowered.

    >>> looks_cased({"the": 0, "[CLS]": 1}), looks_cased({"The": 0, "the": 1})
    (False, True)
    """
    words = [piece for piece in vocab if not (piece.startswith("[") and piece.endswith("]"))]
    upper = sum(any("A" <= letter <= "Z" for letter in piece) for piece in words)
    return upper > 0.01 * len(words)

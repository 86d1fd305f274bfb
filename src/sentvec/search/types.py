"""What a collection takes and gives back: a text encoder in; hits, entries and reports out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_DUE_LATER, _DUE_SHARE = 50_000, 0.1  # passages past the generation, as a number and as a share of it: the larger
_DUE_GONE = 0.2  # share of the generation's passages that are removed


class TextEncoder(Protocol):
    """What a collection needs of a model; `sentvec.Embedder` is one."""

    @property
    def fingerprint(self) -> str:
        """Hex digest of all that a vector depends on: weights, tokeniser, pooling, lengths."""

    @property
    def name(self) -> str:
        """The name or folder that the model can be loaded by again."""

    @property
    def dim(self) -> int:
        """Numbers in a vector."""

    @property
    def similarity_name(self) -> str:
        """The similarity that the model was trained for: cosine, dot, euclidean or manhattan."""

    @property
    def passage_tokens(self) -> int:
        """The most tokens of a passage that `encode_document` reads to its end."""

    def encode_query(self, texts: Sequence[str], *, progress: bool | None = None) -> NDArray[np.float32]:
        """Return a vector (n, dim) for each question."""

    def encode_document(self, texts: Sequence[str], *, progress: bool | None = None) -> NDArray[np.float32]:
        """Return a vector (n, dim) for each passage."""

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return the characters (start, end) of each token, without special tokens."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is stored of one passage.

    Attributes:
        id: its id, unique in the collection.
        text: its text.
        source: the absolute path of its file, or None for a text that was given directly.
        line: the line of the file on which it begins, counted from 1, or None.
        end_line: the line on which it ends, or None.
        metadata: the fields stored with it.
    """

    id: str
    text: str
    source: str | None
    line: int | None
    end_line: int | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer to a query: as `Entry`, with the score of the query's and the passage's vectors.

    The score is their cosine, or their inner product where the model was trained for dot products.
    """

    id: str
    score: float
    text: str
    source: str | None
    line: int | None
    end_line: int | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AddReport:
    """What `Collection.add` did.

    Attributes:
        ids: the id of each text, in the order given.
        added: ids that were not there before.
        updated: ids that were there and have been replaced.
        encoded: texts that went through the model.
    """

    ids: tuple[str, ...]
    added: int
    updated: int
    encoded: int


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What `Collection.add_files` did. Numbers of passages, except where files are named.

    Attributes:
        files: files looked at that sentvec reads, skipped ones included.
        changed_files: files whose passages were stored or updated.
        unchanged_files: files that are as they were.
        removed_files: files that are gone and were pruned.
        added: passages that were not there before.
        unchanged: passages that were there already.
        removed: passages deleted.
        encoded: passages that went through the model.
        skipped: (path, reason) of each file or folder that could not be read. What the collection held of
            it stays as it was.
        bad_records: (path, line, reason) of records left out of a file that was otherwise read, or stored
            without the longest of their fields ("only the metadata ...").
        ignored: files in the given folders of types that sentvec does not read.
        gone: files that the collection holds of the given folders, that are no longer there, and were not pruned.
    """

    files: int = 0
    changed_files: int = 0
    unchanged_files: int = 0
    removed_files: int = 0
    added: int = 0
    unchanged: int = 0
    removed: int = 0
    encoded: int = 0
    skipped: tuple[tuple[str, str], ...] = ()
    bad_records: tuple[tuple[str, int, str], ...] = ()
    ignored: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What `Collection.compact` did.

    Attributes:
        generation: the number of the generation that is in use now; 0 where there are no passages.
        kind: its index, by name or as a faiss factory string.
        rows: passages in it.
        seconds: how long it took.
    """

    generation: int
    kind: str
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ReencodeReport:
    """What `reencode` did.

    Attributes:
        passages: passages that have vectors of the new model now.
        encoded: passages that went through it; fewer where a run was gone on with.
        seconds: how long it took.
    """

    passages: int
    encoded: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PartsReport:
    """What `add_parts` did.

    Attributes:
        parts: parts that were added.
        passed: parts that were in already.
        added: passages that were not there before.
        updated: passages whose ids were there, and that were replaced.
    """

    parts: int = 0
    passed: int = 0
    added: int = 0
    updated: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a collection.

    Attributes:
        kind: database, lost, texts, metadata, words, vectors, orphans or generation.
        told: what is wrong.
        rows: the rows that it is about, where it is about single ones.
    """

    kind: str
    told: str
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `Collection.verify` and `Collection.repair` found.

    Attributes:
        problems: what is wrong; of `repair`, what still is.
        passages: passages that were read.
        recall: the share of the 10 nearest that the index finds, measured on 50 passages; None if it compares all.
        seconds: how long it took.
        repaired: what was wrong and is right now.
    """

    problems: tuple[Problem, ...]
    passages: int
    recall: float | None
    seconds: float
    repaired: tuple[Problem, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Stats:
    """The state of a collection.

    Attributes:
        path: its folder, absolute.
        passages: how many passages it holds.
        files: how many files they come from.
        model: name of the model that made its vectors.
        fingerprint: that model's fingerprint.
        dim: numbers in a vector.
        bytes: size of its files.
        metric: cosine or inner_product.
        generation: the number of the generation of index files in use, 0 where there is none.
        index: its kind, as a faiss factory string; "Flat" compares every vector.
        indexed: passages in it.
        later: passages that came after it, which are compared one by one.
        removed: rows in it that were removed since.
        recall: the recall at 10 that its index was measured to have; None where it compares every vector.
        curve: how that was found: of each way of searching its effort (lists or queue), the factor of candidates,
            recall and seconds of a query.
        damage: what is wrong with it, so that it is not used; None where nothing is known.
        questions: how many questions of yours are kept, with which a new index is measured; where there are none,
            passages stand for them.
    """

    path: str
    passages: int
    files: int
    model: str
    fingerprint: str
    dim: int
    bytes: int
    metric: str = "cosine"
    generation: int = 0
    index: str = "Flat"
    indexed: int = 0
    later: int = 0
    removed: int = 0
    recall: float | None = None
    curve: tuple[tuple[int, int, float, float], ...] = ()
    damage: str | None = None
    questions: int = 0

    @property
    def due(self) -> bool:
        """Whether so much has come or gone since the index was built that a new one is worth its time."""
        held = self.indexed + self.removed
        return self.later > max(_DUE_LATER, _DUE_SHARE * held) or self.removed > _DUE_GONE * held > 0


@dataclass(frozen=True, slots=True)
class Row:
    """One passage on its way into the store."""

    id: str
    text: str
    digest: str
    line: int | None = None
    end_line: int | None = None
    metadata: str = "{}"


@dataclass(frozen=True, slots=True)
class Active:
    """The generation in use: its number, kind and size, the last row when it was made, its manifest's SHA-256."""

    generation: int
    kind: str
    rows: int
    last_row: int
    manifest: str


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it was when it was read: enough to see cheaply whether it has changed."""

    path: str
    size: int
    mtime_ns: int
    sha256: str
    read_ns: int


def text_digest(text: str, fingerprint: str) -> str:
    """Return the hash under which a text's vector is known: of the text and the model."""
    return hashlib.blake2b(f"{fingerprint}\0{text}".encode(), digest_size=16).hexdigest()

"""A stream of texts in, a folder of vectors out, which an interrupted run goes on with."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from sentvec.errors import InvalidInput, OutputError
from sentvec.extras import require
from sentvec.runtime.engine import Array
from sentvec.runtime.shards import FORMATS, Id, ShardFolder, digest_rows
from sentvec.text.tokenizer import Text

SHARD_ROWS = 32_768
"""Rows of a part: a kill costs at most the time to encode so many, and the window of texts behind them."""


@dataclass(frozen=True)
class EncodeReport:
    """What one run of `encode_to` did.

    Attributes:
        rows: rows in the folder now.
        encoded: rows that this run encoded.
        resumed: rows that were there already.
        shards: parts in the folder.
    """

    rows: int
    encoded: int
    resumed: int
    shards: int


def encode_rows(
    folder: Path,
    rows: Iterable[tuple[Id, Text]],
    vectors_of: Callable[[Iterator[Text]], Generator[Array, None, None]],
    *,
    key: dict[str, Any],
    file_format: str = "parquet",
    shard_rows: int = SHARD_ROWS,
    resume: bool = False,
) -> EncodeReport:
    """Encode rows into a folder of parts.

    Rows of finished parts are read again and compared with what was encoded, but not encoded again. An input that
    has become longer goes on where it ended.

    Args:
        folder: where to write; see `sentvec.runtime.shards`.
        rows: ids and texts, in the same order at every run.
        vectors_of: encodes a stream of texts, some at a time, in order.
        key: all that decides what a vector is; a run goes on with a folder of the same key only.
        file_format: parquet or npy.
        shard_rows: rows of a part.
        resume: whether to go on with parts that are there.

    Raises:
        OutputError: see `ShardFolder`; or the rows are not those that the finished parts were made from.
        InvalidInput: `file_format` or `shard_rows` is not possible.
        MissingExtra: parquet is asked for, and pyarrow is not installed.
    """
    if file_format not in FORMATS:
        raise InvalidInput(f"format {file_format!r} is not known. Known: {', '.join(FORMATS)}.")
    if isinstance(shard_rows, bool) or not isinstance(shard_rows, int) or shard_rows < 1:
        raise InvalidInput(f"shard_rows is {shard_rows!r}, which should be a whole number of rows, 1 or more.")
    if file_format == "parquet":  # now, and not when the first part is encoded
        require("pyarrow", extra="bulk")
    source = iter(rows)
    with ShardFolder(folder, key | {"format": file_format}, resume=resume) as out:
        resumed = _pass_over(source, out)
        waiting: deque[tuple[Id, Text]] = deque()

        def texts() -> Iterator[Text]:
            for row in source:
                waiting.append(row)
                yield row[1]

        encoded = 0
        with closing(vectors_of(texts())) as stream:  # now, should writing fail, and not when the garbage is collected
            for vectors in _regrouped(stream, shard_rows):
                part = [waiting.popleft() for _ in range(len(vectors))]
                out.write([name for name, _ in part], vectors, digest_rows(part))
                encoded += len(part)
        out.finish()
        return EncodeReport(resumed + encoded, encoded, resumed, len(out.done))


def _pass_over(source: Iterator[tuple[Id, Text]], out: ShardFolder) -> int:
    """Read the rows of finished parts, and make sure that they are the same rows."""
    passed = 0
    for shard in out.done:
        rows = list(islice(source, shard.rows))
        if len(rows) < shard.rows or digest_rows(rows) != shard.input_sha256:
            raise OutputError(
                f"the input is not what {out.folder} was begun with: rows {passed} to {passed + shard.rows - 1} "
                f"differ from those that {shard.file} was made from. Give the same input, or another folder."
            )
        passed += shard.rows
    return passed


def _regrouped(arrays: Iterator[Array], rows: int) -> Iterator[Array]:
    """Cut a stream of arrays anew, into arrays of so many rows and a rest.

    >>> [len(part) for part in _regrouped(iter([np.zeros((5, 2)), np.zeros((4, 2))]), 4)]
    [4, 4, 1]
    """
    held: list[Array] = []
    count = 0
    for array in arrays:
        held.append(array)
        count += len(array)
        while count >= rows:
            whole = np.concatenate(held)
            yield whole[:rows]
            held, count = [whole[rows:]], count - rows
    if count:
        yield np.concatenate(held)

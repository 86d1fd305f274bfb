"""What passes between reading, sampling and learning: examples, sets of them, and batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, overload

from torch import Tensor

Kind = Literal[
    "pairs", "tuples", "scored", "labelled_pairs", "classes", "lists", "texts", "taught_scores", "taught_vectors"
]
"""What an example is:

- pairs: (query, positive);
- tuples: (query, positive, negative, ...), any number of negatives;
- scored: (a, b) and a score from 0 to 1;
- labelled_pairs: (a, b) and 0 or 1, or the number of a class of inference;
- classes: (text,) and the number of its class;
- lists: (query, document, ...) and a grade for each document;
- texts: (text,);
- taught_scores: (query, document, ...) and a teacher's score for each document;
- taught_vectors: (text,) and a teacher's vector.
"""


@dataclass(frozen=True, slots=True)
class Example:
    """One example.

    Attributes:
        texts: the texts, in the order that `Kind` has.
        value: the score, the number of the class, or one number for each document or feature; None where there is none.
    """

    texts: tuple[str, ...]
    value: float | tuple[float, ...] | None = None


class Examples(Protocol):
    """A list of examples, or what gives them as a list does."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Example]: ...

    @overload
    def __getitem__(self, place: int, /) -> Example: ...

    @overload
    def __getitem__(self, place: slice, /) -> Examples: ...


@dataclass(frozen=True)
class Dataset:
    """Examples of one kind.

    Attributes:
        name: what to call it: the file's name.
        kind: what an example is.
        examples: all of them.
        labels: names of the classes, where there are classes.
        columns: (role, column) of what was read, as `sentvec.train.roles` calls roles.
        notes: what reading found and a user should know before training, a sentence each.
    """

    name: str
    kind: Kind
    examples: Examples
    labels: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.examples)


@dataclass(frozen=True)
class Batch:
    """Examples that are learnt from at once.

    Attributes:
        kind: what an example is.
        columns: texts by their role, each a column of its own: queries, positives, and all negatives in one column;
            (a, b); queries and all documents of all lists in one column; or the texts alone.
        owners: of the last column where it may have any number of texts for an example (negatives, documents of
            lists): the number of the example that each belongs to, (texts,) int64; else None.
        values: (examples,) scores, labels (int64) or 0/1; (documents,) grades or teacher's scores; (examples, dim)
            teacher's vectors; None where there are none.
    """

    kind: Kind
    columns: tuple[tuple[str, ...], ...]
    owners: Tensor | None = None
    values: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.columns[0])

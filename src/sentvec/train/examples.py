"""Columns and what they are in; examples, the names of their classes, and the rows that cannot be used, out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput
from sentvec.evaluate.tables import as_number, shortly
from sentvec.progress import counted
from sentvec.train.batches import Example, Examples, Kind
from sentvec.train.kinds import Choice
from sentvec.train.labels import Labels, find_labels
from sentvec.train.roles import Role
from sentvec.train.sources import Columns, Faults


@dataclass(frozen=True)
class Wanted:
    """What to build.

    Attributes:
        choice: what examples are.
        table: the cells.
        labels: names of the classes by the user's word.
        scores: the lowest and highest score by the user's word.
    """

    choice: Choice
    table: Columns
    labels: Sequence[str] | None = None
    scores: tuple[float, float] | None = None


@dataclass
class Built:
    """What was built.

    Attributes:
        examples: the examples.
        faults: rows that cannot be used.
        labels: names of the classes.
        notes: what a user should know, a sentence each.
    """

    examples: Examples = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    labels: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


class Taught:
    """Texts with vectors, kept as one matrix: examples of a million vectors would fill the memory.

    Args:
        texts: the texts.
        vectors: (texts, dim) float32.
    """

    def __init__(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        self.texts = texts
        self.vectors = vectors

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.texts)

    def __iter__(self) -> Iterator[Example]:
        """Yield the examples."""
        return (self[place] for place in range(len(self)))

    @overload
    def __getitem__(self, place: int) -> Example: ...

    @overload
    def __getitem__(self, place: slice) -> Taught: ...

    def __getitem__(self, place: int | slice) -> Example | Taught:
        """Return an example, or several."""
        if isinstance(place, slice):
            return Taught(self.texts[place], self.vectors[place])
        return Example((self.texts[place],), tuple(self.vectors[place].tolist()))


class _Bad(Exception):
    """A row cannot be used; the message says why."""


Make = Callable[[int], Iterator[Example]]


def build(wanted: Wanted) -> Built:
    """Make examples of rows.

    Raises:
        InvalidInput: no score can be what it should be, or labels are not what was said.
    """
    built = Built(faults=wanted.table.faults)
    builder = _Builder(wanted, built)
    make: Make = getattr(builder, wanted.choice.kind)
    examples: list[Example] = []
    for place, number in enumerate(wanted.table.lines):
        try:
            examples += make(place)
        except _Bad as bad:
            built.faults.add(number, str(bad))
    built.examples = examples
    builder.finish()
    return built


class _Builder:
    """Makes the examples of a row: one method for each kind."""

    def __init__(self, wanted: Wanted, built: Built) -> None:
        self.table = wanted.table
        self.used: Mapping[Role, tuple[str, ...]] = wanted.choice.used
        self.built = built
        self.kind: Kind = wanted.choice.kind
        self.fewer = 0  # rows with fewer negatives than others
        self.left = 0  # pairs that do not belong together
        self.vectors: list[NDArray[np.float32]] = []
        self.low, self.high = 0.0, 1.0
        self.known: Labels | None = None
        if self.kind == "scored":
            self._scale(wanted.scores)
        if "label" in self.used:
            self.known = find_labels(self.table, self.used["label"][0], wanted.labels, pairs=self.kind != "classes")
            built.notes += self.known.notes
            built.labels = self.known.names if self.kind != "pairs" else ()

    def finish(self) -> None:
        """Say what was met on the way, and put vectors together."""
        if self.vectors:
            self.built.examples = Taught([one.texts[0] for one in self.built.examples], np.stack(self.vectors))
        if self.fewer:
            self.built.notes.append(f"Rows with fewer negatives than there is room for: {self.fewer:,}.")
        if self.left:
            self.built.notes.append(
                f"{counted(self.left, 'row')} left out, whose label says that the texts do not belong together."
            )

    def pairs(self, place: int) -> Iterator[Example]:
        query = self._text("query", place)
        if self.known is not None and not self._belongs(place):
            self.left += 1
            return
        for positive in self._texts("positive", place):
            yield Example((query, positive))

    def tuples(self, place: int) -> Iterator[Example]:
        query, negatives = self._text("query", place), self._negatives(place)
        for positive in self._texts("positive", place):
            yield Example((query, positive, *negatives))

    def scored(self, place: int) -> Iterator[Example]:
        both = self._text("query", place), self._text("positive", place)
        score = self._number("score", place)
        if not self.low <= score <= self.high:
            raise _Bad(
                f"column {self._name('score')!r} is {score:g}, which is not between {self.low:g} and {self.high:g}; if "
                "scores go further, say so with scores=(lowest, highest) (--scores 0,10)"
            )
        yield Example(both, (score - self.low) / (self.high - self.low))

    def labelled_pairs(self, place: int) -> Iterator[Example]:
        yield Example((self._text("query", place), self._text("positive", place)), self._label(place))

    def classes(self, place: int) -> Iterator[Example]:
        label = self._label(place)
        if "text" in self.used:
            yield Example((self._text("text", place),), label)
            return
        roles: tuple[Role, ...] = ("query", "positive")
        filled = [role for role in roles if self._cell(role, place)]
        if not filled:
            raise _Bad(f"columns {self._name('query')!r} and {self._name('positive')!r} are empty")
        for role in filled:
            yield Example((self._text(role, place),), label)

    def lists(self, place: int) -> Iterator[Example]:
        yield self._scored_documents("scores", place)

    def texts(self, place: int) -> Iterator[Example]:
        roles: tuple[Role, ...] = ("text",) if "text" in self.used else ("query", "positive")
        for role in roles:
            for text in self._texts(role, place):
                yield Example((text,))

    def taught_scores(self, place: int) -> Iterator[Example]:
        if "documents" in self.used:
            yield self._scored_documents("teacher", place)
            return
        query, positives = self._text("query", place), self._texts("positive", place)
        negatives = self._negatives(place) if "negative" in self.used else []
        texts = (query, *positives, *negatives)
        if "teacher" in self.used:
            scores = self._numbers("teacher", place)
            if len(scores) == 1 and len(positives) == len(negatives) == 1:
                scores = (scores[0], 0.0)  # losses of taught scores see differences alone
        else:
            scores = self._numbers("positive_scores", place) + self._numbers("negative_scores", place)
        if len(scores) != len(texts) - 1:
            raise _Bad(f"{counted(len(scores), 'score')} for {counted(len(texts) - 1, 'document')}")
        yield Example(texts, scores)

    def taught_vectors(self, place: int) -> Iterator[Example]:
        text, name = self._text("text", place), self._name("vector")
        cell = self._cell("vector", place)
        vector = cell if isinstance(cell, np.ndarray) else np.array(self._numbers("vector", place), dtype=np.float32)
        if not vector.size or not np.isfinite(vector).all():
            raise _Bad(f"column {name!r} has {'a number that is not finite' if vector.size else 'no numbers'}")
        if self.vectors and len(vector) != len(self.vectors[0]):
            width = len(self.vectors[0])
            raise _Bad(f"column {name!r} has {counted(len(vector), 'number')}, and {width} in the rows before")
        self.vectors.append(vector)
        yield Example((text,))

    def _scored_documents(self, role: Role, place: int) -> Example:
        query, documents, scores = (
            self._text("query", place),
            self._texts("documents", place),
            self._numbers(role, place),
        )
        if len(documents) != len(scores):
            raise _Bad(f"{counted(len(scores), 'score')} for {counted(len(documents), 'document')}")
        return Example((query, *documents), scores)

    def _name(self, role: Role) -> str:
        return self.used[role][0]

    def _cell(self, role: Role, place: int) -> Any:
        return self.table.cells[self.used[role][0]][place]

    def _text(self, role: Role, place: int) -> str:
        return _text(self._cell(role, place), self._name(role))

    def _texts(self, role: Role, place: int) -> list[str]:
        return self._several(self._name(role), place)

    def _several(self, name: str, place: int) -> list[str]:
        cell = _opened(self.table.cells[name][place], name, self.table.flat)
        if not isinstance(cell, list | tuple):
            return [_text(cell, name)]
        if not cell:
            raise _Bad(f"column {name!r} is an empty list")
        return [_text(one, name) for one in cell]

    def _negatives(self, place: int) -> list[str]:
        """Return the negatives, of which a row may have fewer than others."""
        names = self.used["negative"]
        cells = [(name, self.table.cells[name][place]) for name in names]
        filled = [name for name, cell in cells if cell is not None and not (isinstance(cell, str) and not cell.strip())]
        if not filled:
            raise _Bad(f"column {names[0]!r} is {'missing' if cells[0][1] is None else 'empty'}")
        texts = [text for name in filled if self.table.cells[name][place] != [] for text in self._several(name, place)]
        self.fewer += len(filled) < len(names) or not texts
        return texts

    def _number(self, role: Role, place: int) -> float:
        return _number(self._cell(role, place), self._name(role))

    def _numbers(self, role: Role, place: int) -> tuple[float, ...]:
        name = self._name(role)
        cell = _opened(self._cell(role, place), name, self.table.flat)
        if isinstance(cell, list | tuple):
            return tuple(_number(one, name) for one in cell)
        return (_number(cell, name),)

    def _label(self, place: int) -> int:
        assert self.known is not None
        number = self.known.number(self._cell("label", place))
        if number is None:
            raise _Bad(self.known.refusal(self._cell("label", place)))
        return number

    def _belongs(self, place: int) -> bool:
        assert self.known is not None
        self._label(place)
        return self.known.positive == self._label(place)

    def _scale(self, given: tuple[float, float] | None) -> None:
        """Find out between which numbers scores lie."""
        name = self._name("score")
        if given is not None:
            self.low, self.high = given
            if not self.low < self.high:
                raise InvalidInput(f"scores is {given}; accepted: the lowest and the highest score, the lowest first.")
        else:
            numbers = [number for cell in self.table.cells[name] if (number := as_number(cell)) is not None]
            self.high = 1.0 if not numbers or max(numbers) <= 1 else 5.0
        if (self.low, self.high) != (0, 1):
            self.built.notes.append(
                f"Scores in {name!r}, from {self.low:g} to {self.high:g}, are put between 0 and 1"
                + (
                    "; if they have another range, pass scores=(lowest, highest) (--scores 0,10)."
                    if given is None
                    else "."
                )
            )


def _text(cell: Any, name: str) -> str:
    if isinstance(cell, str):
        if not cell.strip():
            raise _Bad(f"column {name!r} is empty")
        if not cell.isascii():
            try:
                cell.encode()
            except UnicodeEncodeError:
                raise _Bad(f"column {name!r} has half of a surrogate pair, which is no character") from None
        return cell
    if isinstance(cell, Mapping) and isinstance(cell.get("text"), str):
        title = cell.get("title")  # a document as Tevatron writes it
        return _text(f"{title} {cell['text']}" if isinstance(title, str) and title else cell["text"], name)
    raise _Bad(f"column {name!r} is {shortly(cell)}" + ("" if cell is None else ", which is not a text"))


def _number(cell: Any, name: str) -> float:
    value = as_number(cell)
    if value is None:
        raise _Bad(f"column {name!r} is {shortly(cell)}" + ("" if cell is None else ", which is not a number"))
    return value


def _opened(cell: Any, name: str, flat: bool) -> Any:
    """Return the list that a cell of CSV holds as JSON; other cells as they are."""
    if not flat or not isinstance(cell, str) or not cell.startswith("["):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell

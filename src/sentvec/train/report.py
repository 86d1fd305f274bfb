"""A dataset in; what it is, in words that a user can check before training begins, out."""

from __future__ import annotations

from sentvec.train.batches import Dataset, Example, Kind

_MEANINGS: dict[Kind, str] = {
    "pairs": "pairs of a query and what answers it",
    "tuples": "queries with what answers them and what does not",
    "scored": "pairs with a score",
    "labelled_pairs": "pairs with a label",
    "classes": "texts with a class",
    "lists": "queries with graded documents",
    "texts": "single texts",
    "taught_scores": "queries with documents that a teacher scored",
    "taught_vectors": "texts with a teacher's vector",
}
_EXAMPLES = 2
_WIDTH = 70  # characters of a text that are shown
_SAMPLE = 10_000  # examples that lengths are taken from
_CLASSES = 8


def describe(dataset: Dataset) -> str:
    """Say what a dataset is: kind, columns, sizes, two examples, and what was found on the way.

    Returns:
        Some lines of text.
    """
    lines = [f"{dataset.name}: {len(dataset):,} {dataset.kind} ({_MEANINGS[dataset.kind]})"]
    if dataset.columns:
        lines.append("  columns: " + ", ".join(f"{role} = {column}" for role, column in dataset.columns))
    if dataset.labels != tuple(map(str, range(len(dataset.labels)))):
        named = ", ".join(f"{number} = {name}" for number, name in enumerate(dataset.labels[:_CLASSES]))
        more = f" and {len(dataset.labels) - _CLASSES} more" if len(dataset.labels) > _CLASSES else ""
        lines.append(f"  classes: {named}{more}")
    lines.append(f"  mean length: {_lengths(dataset)}")
    for number, example in enumerate(dataset.examples[:_EXAMPLES], start=1):
        lines.append(f"  example {number}: {_shown(dataset, example)}")
    return "\n".join([*lines, *(f"  {note}" for note in dataset.notes)])


def _lengths(dataset: Dataset) -> str:
    """Return the mean length of each place, texts from the third on (negatives, documents) together."""
    step = -(-len(dataset) // _SAMPLE)
    sample = dataset.examples[::step]
    places: dict[str, list[int]] = {}
    for example in sample:
        for place, text in enumerate(example.texts):
            places.setdefault(_place(dataset.kind, place), []).append(len(text))
    means = ", ".join(f"{name} {sum(found) / len(found):.0f}" for name, found in places.items())
    return f"{means} characters" + ("" if step == 1 else f" (of {len(sample):,} examples)")


def _place(kind: Kind, place: int) -> str:
    """Return what a text is by its place in an example.

    >>> _place("tuples", 4), _place("scored", 1), _place("lists", 3), _place("texts", 0)
    ('negative', 'second', 'document', 'text')
    """
    if kind in ("texts", "classes", "taught_vectors"):
        return "text"
    if kind in ("scored", "labelled_pairs"):
        return ("first", "second")[place]
    if place == 0:
        return "query"
    if kind in ("lists", "taught_scores"):
        return "document"
    return "positive" if place == 1 else "negative"


def _shown(dataset: Dataset, example: Example) -> str:
    parts = [f"{_place(dataset.kind, place)} {_short(text)}" for place, text in enumerate(example.texts[:3])]
    if len(example.texts) > 3:
        parts.append(f"and {len(example.texts) - 3} more")
    value = example.value
    if isinstance(value, tuple):
        shown = ", ".join(f"{one:.3g}" for one in value[:3])
        parts.append(f"-> {shown}{'' if len(value) <= 3 else f' … ({len(value)} numbers)'}")
    elif value is not None:
        name = dataset.labels[int(value)] if dataset.labels else None
        parts.append(f"-> {value:.3g}" if name is None or name == str(value) else f"-> {value} ({name})")
    return " | ".join(parts)


def _short(text: str) -> str:
    """Return a text as one line of at most `_WIDTH` characters.

    >>> _short("one\\n two")
    '"one two"'
    """
    line = " ".join(text[: 4 * _WIDTH].split())
    cut = len(line) > _WIDTH or len(text) > 4 * _WIDTH
    return f'"{line[: _WIDTH - 1]}…"' if cut else f'"{line}"'

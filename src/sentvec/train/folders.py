"""A folder in BEIR's layout in; pairs of queries and their documents, or graded lists of documents, out."""

from __future__ import annotations

from pathlib import Path

from sentvec.errors import InvalidInput
from sentvec.evaluate.beir import CORPUS, QUERIES, read_retrieval
from sentvec.train.batches import Dataset, Example, Kind
from sentvec.train.sources import SHOWN

_COLUMNS = (("query", f"text of {QUERIES}"), ("positive", f"title and text of {CORPUS}"))


def is_folder(path: Path) -> bool:
    """Say whether a path is a folder in BEIR's layout, or a file of judgements in one."""
    return _root(path) is not None


def read_folder(path: Path, *, kind: Kind | None = None, skip_bad: bool = False) -> Dataset:
    """Read who answers whom.

    Args:
        path: the folder, of whose judgements those for training are taken, or the only ones; or a file of judgements.
        kind: pairs (a query with each document of a grade above 0), lists (a query with all its judged documents and
            their grades), or None: lists if grades differ, else pairs.
        skip_bad: leave out documents and queries without a text, and count them.

    Raises:
        InvalidInput: it is not said which judgements to take, a file is broken (as `read_retrieval` has it), or texts
            are empty.
    """
    if kind not in (None, "pairs", "lists"):
        raise InvalidInput(f"{path}: a folder of judgements gives pairs or lists, and no {kind}.")
    folder = _root(path)
    assert folder is not None
    qrels = path if path.is_file() else _judgements(folder)
    name = folder.resolve().name if path.is_dir() else f"{folder.resolve().name}/{path.stem}"
    found = read_retrieval(folder, qrels, name)
    needed = {document for grades in found.judged.values() for document in grades}
    texts: dict[str, str] = {}
    ids = iter(found.ids)
    for block in found.blocks():
        texts |= {one: text for text, one in zip(block, ids, strict=False) if one in needed}
    empty = [f"document {one!r} of {CORPUS}" for one, text in texts.items() if not text.strip()]
    empty += [f"query {one!r} of {QUERIES}" for one, text in found.queries.items() if not text.strip()]
    shown = "; ".join(empty[:SHOWN]) + (f"; and {len(empty) - SHOWN:,} more" if len(empty) > SHOWN else "")
    if empty and not skip_bad:
        raise InvalidInput(
            f"{folder}: {len(empty):,} judged texts are empty: {shown}. Mend them, or leave them out with "
            "skip_bad=True (--skip-bad)."
        )
    graded = len({grade for grades in found.judged.values() for grade in grades.values()}) > 1
    kind = kind or ("lists" if graded else "pairs")
    examples = []
    for one, query in found.queries.items():
        grades = {document: grade for document, grade in found.judged[one].items() if texts[document].strip()}
        if not query.strip():
            continue
        if kind == "pairs":
            examples += [Example((query, texts[document])) for document, grade in grades.items() if grade > 0]
        elif grades:
            documents = (texts[document] for document in grades)
            examples.append(Example((query, *documents), tuple(map(float, grades.values()))))
    if not examples:
        raise InvalidInput(f"{qrels} names no query and document with texts; there is nothing to learn from.")
    notes = [f"{note[:1].upper()}{note[1:]}." for note in found.notes]
    if empty:
        notes.append(f"{len(empty):,} left out, which are empty: {shown}.")
    if graded:
        other = "lists" if kind == "pairs" else "pairs"
        notes.append(f'Grades differ, so that they could be {other} as well: pass kind="{other}".')
    columns = _COLUMNS if kind == "pairs" else (_COLUMNS[0], ("documents", _COLUMNS[1][1]), ("scores", qrels.name))
    return Dataset(name, kind, examples, columns=columns, notes=tuple(notes))


def _root(path: Path) -> Path | None:
    places = [path] if path.is_dir() else [path.parent, path.parent.parent] if path.suffix == ".tsv" else []
    return next((place for place in places if (place / CORPUS).is_file() and (place / QUERIES).is_file()), None)


def _judgements(folder: Path) -> Path:
    files = [*sorted(folder.glob("qrels/*.tsv")), *(file for file in [folder / "qrels.tsv"] if file.is_file())]
    if not files:
        raise InvalidInput(f"{folder} has no qrels.tsv and no qrels/*.tsv, which would say what answers what.")
    chosen = next((file for file in files if file.stem == "train"), None)
    if chosen is None and len(files) > 1:
        listed = ", ".join(str(file.relative_to(folder)) for file in files)
        raise InvalidInput(f"{folder} has {listed}, and none for training; give the path of the one to learn from.")
    return chosen or files[0]

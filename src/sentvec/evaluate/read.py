"""Files of one set in; the set, or in words why it is none, out. What is wrong in a row is an error that names it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.evaluate.bitext import Bitext
from sentvec.evaluate.classify import Classification, Clustering, Labelled
from sentvec.evaluate.pairs import LabelledPairs
from sentvec.evaluate.shapes import HEAD, Columns, columns_of
from sentvec.evaluate.sts import Sts
from sentvec.evaluate.tables import Table, as_number, lines_of, objects_of, read_table, shortly
from sentvec.progress import counted

_TOPICS = 3
"""Classes, at least, that clusters are looked for in: what parts two, as praise from blame, is seldom a topic."""

Read = Sts | LabelledPairs | Classification | Clustering | Bitext


def read_file(path: Path, train: Path | None, name: str, both: str, highest: float) -> list[Read | str]:
    """Read a table.

    Args:
        path: the file to evaluate on.
        train: the file of the same set to learn from, if there is one.
        name: of the set, if this file is all of it.
        both: of the set, if it is this file and `train`.
        highest: the highest score that pairs can have.

    Returns:
        The sets, or the reason why there is none; of texts with topics one to classify and one to cluster.

    Raises:
        InvalidInput: a row is broken, or a score is out of range; the message names file and line.
    """
    try:
        columns = columns_of(read_table(path, HEAD))
    except InvalidInput as error:
        if path.suffix.lower() == ".txt":  # which may be anything, as a speech in an old encoding
            return [str(error)]
        raise
    if isinstance(columns, str):
        return [columns]
    table = read_table(path)
    if columns.shape == "labelled":
        return _labelled(table, columns, train, both)
    return [_pairs(table, columns, name, highest)]


def read_sts_task(folder: Path, files: Sequence[str], name: str, highest: float) -> Sts | str:
    """Read a task of SemEval's: `STS.input.X.txt` (two texts a line) with `STS.gs.X.txt` (a score a line) for each X.

    Lines without a score are no part of the task, as in its own files. Returns the set, or why there is none.

    Raises:
        InvalidInput: a file of scores is absent, numbers of lines differ, or a line is broken.
    """
    left, right, scores, subsets = [], [], [], []
    for number, file in enumerate(files):
        texts, gold = folder / file, folder / file.replace("STS.input.", "STS.gs.")
        if not gold.is_file():
            raise InvalidInput(f"{gold} is absent, but {texts.name} needs its scores.")
        said, rows = list(lines_of(gold)), list(lines_of(texts))
        if len(said) != len(rows):
            lines = f"{texts} has {counted(len(rows), 'line')}, but {gold.name} has {len(said)}"
            raise InvalidInput(f"{lines}; they must agree.")
        for (line, row), (_, score) in zip(rows, said, strict=True):
            if not score.strip():
                continue
            value = as_number(score.strip())
            if value is None or not 0 <= value <= highest:
                raise InvalidInput(f"{gold}, line {line}: score {shortly(score)}; {_range(highest)}")
            cells = row.split("\t")
            if len(cells) < 2:
                raise InvalidInput(f"{texts}, line {line}: no two texts parted by a tab.")
            left.append(cells[0])
            right.append(cells[1])
            scores.append(value)
            subsets.append(number)
    paths = tuple(folder / file for file in files)
    called = ", ".join(file.removeprefix("STS.input.").removesuffix(".txt") for file in files)
    if why := _nothing_said(scores):
        return why
    notes = (f"subsets: {called}",)
    return Sts(name, tuple(left), tuple(right), np.array(scores), np.array(subsets), highest, notes, paths)


def read_aligned(first: Path, second: Path, name: str) -> Bitext | str:
    """Read two files of which each line is the other's translation; nothing where they have not as many lines."""
    left, right = ([text for _, text in lines_of(path)] for path in (first, second))
    if len(left) != len(right) or len(left) < 2:
        lines = f"{first.name} has {counted(len(left), 'line')} and {second.name} {len(right)}"
        return f"{lines}: no translations of each other"
    return Bitext(name, tuple(left), tuple(right), (f"{first.suffix[1:]} and {second.suffix[1:]}",), (first, second))


def read_polarity(files: Sequence[Path], name: str) -> Classification | str:
    """Read one text a line from a file for each class, as Pang and Lee's sentences are kept; or say why it is none."""
    rows = [(text, path.suffix[1:]) for path in files for _, text in lines_of(path) if text.strip()]
    whole = Labelled(tuple(text for text, _ in rows), tuple(label for _, label in rows), tuple(files))
    return _halved(whole, name, ())


def read_clusters(path: Path, name: str) -> Clustering:
    """Read JSON lines with "sentences" and "labels", lists of the same length; each line is clustered by itself.

    Raises:
        InvalidInput: a line holds no such lists, or only one label; the message names it.
    """
    parts = []
    for line, row in objects_of(path):
        texts, labels = row.get("sentences"), row.get("labels")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise InvalidInput(f"{path}, line {line}: 'sentences' is {shortly(texts)}; accepted: a list of texts.")
        if not isinstance(labels, list) or len(labels) != len(texts):
            raise InvalidInput(f"{path}, line {line}: 'labels' is no list of {len(texts)}, one for each sentence.")
        if len(set(map(str, labels))) < 2:
            raise InvalidInput(f"{path}, line {line}: all sentences have the same label; clusters need two or more.")
        parts.append(Labelled(tuple(texts), tuple(map(str, labels)), (path,)))
    return Clustering(name, tuple(parts))


def _pairs(table: Table, columns: Columns, name: str, highest: float) -> Read | str:
    first, second = columns.texts
    left = tuple(table.text(row, first) for row in table.rows)
    right = tuple(table.text(row, second) for row in table.rows)
    if columns.shape == "bitext":
        return Bitext(name, left, right, files=(table.path,)) if len(left) > 1 else "one pair of sentences"
    assert columns.value is not None
    top = 1.0 if columns.shape == "pairs" else highest
    hint = "" if columns.shape == "pairs" else "; if scores go further, say so with --max-score"
    scores = np.array([table.number(row, columns.value, 0, top, hint) for row in table.rows])
    if columns.shape == "sts" and (why := _nothing_said(scores.tolist())):
        return why
    if columns.shape == "pairs":
        for row, score in zip(table.rows, scores, strict=True):
            if score not in (0, 1):
                raise table.wrong(row, columns.value, f"is {score:g}, which is neither 0 nor 1")
        if len(set(scores.tolist())) < 2:
            return f"all labels are {scores[0]:g}"
        return LabelledPairs(name, left, right, scores.astype(np.int64), files=(table.path,))
    subset = columns.subset
    called = [table.label(row, subset) if subset is not None else "" for row in table.rows]
    names = list(dict.fromkeys(called))
    numbers = np.array([names.index(one) for one in called])
    notes = (f"subsets: {', '.join(names)}",) if len(names) > 1 else ()
    return Sts(name, left, right, scores, numbers, highest, notes, (table.path,))


def _nothing_said(scores: Sequence[float]) -> str:
    """Return why no correlation with these scores says anything; nothing where one does."""
    if len(scores) < 3:
        return f"a rank correlation of {counted(len(scores), 'pair')} says nothing"
    return f"all scores are {scores[0]:g}" if len(set(scores)) < 2 else ""


def _labelled(table: Table, columns: Columns, train: Path | None, name: str) -> list[Read | str]:
    test = _texts(table, columns)
    if train is None or train == table.path:
        found = _halved(test, name, (table.path.name,))
    else:
        other = read_table(train)
        where = columns_of(read_table(train, HEAD))
        if isinstance(where, str) or where.shape != "labelled":
            why = where if isinstance(where, str) else f"it holds {where.shape}"
            raise InvalidInput(f"{train} is not like {table.path.name}, with texts and labels: {why}.")
        note = (f"trained on {train.name}, measured on {table.path.name}",)
        found = _classes(name, _texts(other, where), test, note)
    if isinstance(found, str):
        return [found]
    sets: list[Read | str] = [found]
    if len(set(test.labels)) >= _TOPICS:
        sets.append(Clustering(name, (test,), (table.path.name,)))
    return sets


def _texts(table: Table, columns: Columns) -> Labelled:
    assert columns.value is not None
    texts = tuple(table.text(row, columns.texts[0]) for row in table.rows)
    return Labelled(texts, tuple(table.label(row, columns.value) for row in table.rows), (table.path,))


def _classes(name: str, train: Labelled, test: Labelled, notes: tuple[str, ...]) -> Classification | str:
    """Return the set, or why there is none: one class, or one text of each, of which none is left to be judged by."""
    labels = sorted(set(train.labels))
    if len(labels) < 2:
        return f"only one label, {labels[0]!r}" if labels else "no texts"
    return Classification(name, train, test, notes) if test.texts else "one text of each label"


def _halved(whole: Labelled, name: str, files: tuple[str, ...]) -> Classification | str:
    """Part texts in two, class by class, always in the same way: the first half by chance is learned from."""
    turn = np.random.default_rng(0).permutation(len(whole.texts)).tolist()
    counts = Counter(whole.labels)
    seen: Counter[str] = Counter()
    halves: tuple[list[int], list[int]] = ([], [])
    for place in turn:
        label = whole.labels[place]
        halves[2 * seen[label] >= counts[label]].append(place)
        seen[label] += 1
    parts = [
        Labelled(tuple(whole.texts[i] for i in sorted(half)), tuple(whole.labels[i] for i in sorted(half)), whole.files)
        for half in halves
    ]
    note = " ".join(("one half is learned from, the other measured on", *(f"({file})" for file in files)))
    return _classes(name, parts[0], parts[1], (note,))


def _range(highest: float) -> str:
    return f"accepted: numbers from 0 to {highest:g}; if scores go further, say so with --max-score."

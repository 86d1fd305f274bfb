"""A folder in; the sets below it, recognised by their files and read whole, and what was passed over, out."""

from __future__ import annotations

import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sentvec.errors import InvalidInput
from sentvec.evaluate.beir import CORPUS, QUERIES, Retrieval, read_retrieval
from sentvec.evaluate.bitext import Bitext
from sentvec.evaluate.classify import Classification, Clustering
from sentvec.evaluate.pairs import LabelledPairs
from sentvec.evaluate.read import read_aligned, read_clusters, read_file, read_polarity, read_sts_task
from sentvec.evaluate.rerank import Rerank, read_rerank
from sentvec.evaluate.sts import Sts
from sentvec.evaluate.tables import SUFFIXES, objects_of
from sentvec.progress import track

Set = Sts | LabelledPairs | Classification | Clustering | Bitext | Rerank | Retrieval

KINDS = {
    "sts": Sts,
    "retrieval": Retrieval,
    "rerank": Rerank,
    "pairs": LabelledPairs,
    "classification": Classification,
    "clustering": Clustering,
    "bitext": Bitext,
}
SPLITS = {"test": ("test",), "dev": ("dev", "val", "valid", "validation", "trial"), "train": ("train",)}
_WORDS = {word: split for split, words in SPLITS.items() for word in words}
_ABOUT = ("readme", "license", "licence", "origin")  # files about a set
_LANGUAGE = re.compile(r"\.[a-z]{2,3}(_[A-Za-z]{2,8})?")


@dataclass(frozen=True)
class Found:
    """What is below a folder.

    Attributes:
        sets: the sets, in the order of their names.
        passed: files that look like data and are none that can be evaluated, with the reason.
    """

    sets: tuple[Set, ...]
    passed: tuple[tuple[Path, str], ...]


def find_sets(folder: Path, *, split: str = "auto", highest: float = 5.0, progress: bool | None = None) -> Found:
    """Walk a folder and read all sets, so that what is wrong in them is said before anything is encoded.

    Args:
        folder: a folder, or one file.
        split: of files that differ by train, dev (or val, trial) and test in their names: "auto" takes test, else dev,
            else train; test, dev or train takes that one alone; "all" takes each as a set of its own.
        highest: the highest score that pairs can have.
        progress: as for `Embedder.encode`.

    Raises:
        InvalidInput: there is no such folder or split, no set is found, or a set is broken; the message names file,
            line and value.
    """
    if split not in ("auto", "all", *SPLITS):
        raise InvalidInput(f"split {split!r} is not known. Known: auto, all, {', '.join(SPLITS)}.")
    if not folder.exists():
        raise InvalidInput(f"{folder} does not exist; give a folder with sets to evaluate on.")
    if not (folder.is_dir() or folder.is_file()):
        raise InvalidInput(f"{folder} is neither a folder nor a file that can be read twice; save it as a file first.")
    if not 0 < highest < math.inf:
        raise InvalidInput(f"the highest score is {highest}; accepted: numbers above 0.")
    walk = _Walk(folder, split, highest)
    found: list[Set] = []
    with track("Reading sets", None, progress) as advance:
        for one in walk.sets():
            found.append(one)
            advance(1)
    found = sorted(_told_apart(found), key=lambda one: one.name)
    if not found:
        seen = "; ".join(f"{path.name}: {why}" for path, why in walk.passed[:5]) or "no data files"
        raise InvalidInput(
            f"{folder} holds no set that can be evaluated ({seen}). Sets are recognised by their files: corpus.jsonl, "
            "queries.jsonl and qrels; tables (.csv, .tsv, .txt, .jsonl) of pairs with scores, or of texts with labels; "
            'JSON lines with "query", "positive" and "negative".'
        )
    return Found(tuple(found), tuple(walk.passed))


class _Walk:
    """One walk over a folder."""

    def __init__(self, root: Path, split: str, highest: float) -> None:
        self.root = root
        self.split = split
        self.highest = highest
        self.passed: list[tuple[Path, str]] = []

    def sets(self) -> Iterator[Set]:
        if self.root.is_file():
            yield from self._table([self.root], self.root.stem)
            return
        for place, folders, names in os.walk(self.root, onerror=self._unreadable):
            here = Path(place)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            # which are not walked, so that no loop can arise
            links = [here / name for name in folders if (here / name).is_symlink()]
            self.passed += [(path, "a link to a folder, which is not followed; evaluate that folder") for path in links]
            if CORPUS in names and QUERIES in names:
                folders[:] = []
                yield from self._retrieval(here)
            else:
                yield from self._folder(here, sorted(name for name in names if not name.startswith(".")))

    def _retrieval(self, folder: Path) -> Iterator[Set]:
        files = [*sorted(folder.glob("qrels/*.tsv")), *(p for p in [folder / "qrels.tsv"] if p.is_file())]
        if not files:
            self.passed.append((folder, "no qrels.tsv and no qrels/*.tsv"))
        for path in self._chosen(files):
            whole = self._name(folder)
            yield read_retrieval(folder, path, whole if len(files) == 1 else f"{whole}/{path.stem}")

    def _folder(self, folder: Path, names: list[str]) -> Iterator[Set]:
        tasks = [name for name in names if name.startswith("STS.input.")]
        if tasks:
            yield from self._or_pass(folder, read_sts_task(folder, tasks, self._name(folder), self.highest))
        groups: dict[str, list[Path]] = defaultdict(list)
        languages: dict[str, list[Path]] = defaultdict(list)
        for name in names:
            path = folder / name
            if name.startswith(("STS.input.", "STS.gs.")):
                continue
            known = path.suffix.lower() in SUFFIXES or _LANGUAGE.fullmatch(path.suffix)
            if known and not path.is_file():
                self.passed.append((path, "no file: a link that leads nowhere, or a pipe"))
            elif path.suffix.lower() in SUFFIXES and path.stem.lower() not in _ABOUT:
                groups[f"{_without_split(path.stem)}{path.suffix}"].append(path)
            elif _LANGUAGE.fullmatch(path.suffix):
                languages[path.stem].append(path)
        for files in groups.values():
            yield from self._table(files, self._name(folder))
        for files in languages.values():
            if {path.suffix for path in files} == {".pos", ".neg"}:
                yield from self._or_pass(files[0], read_polarity(files, self._name(folder)))
            elif len(files) == 2:
                found = read_aligned(files[0], files[1], self._name(files[0].with_suffix("")))
                yield from self._or_pass(files[0], found)

    def _table(self, files: list[Path], above: str) -> Iterator[Set]:
        train = next((path for path in files if _split_of(path.stem) == "train"), None)
        for path in self._chosen(files):
            name = self._name(path.with_suffix("")) if path != self.root else path.stem
            fields = _fields(path)
            if fields >= {"query", "positive", "negative"} or fields >= {"query", "pos", "neg"}:
                yield read_rerank(path, name)
            elif fields >= {"sentences", "labels"}:
                yield read_clusters(path, name)
            else:
                # a set of texts with labels is all its files together, so it is called after what they share
                shared = _without_split(path.stem)
                both = name if self.split == "all" else f"{above}/{shared}".rstrip("/") if shared else above
                found = read_file(path, train, name, both, self.highest)
                if train is not None and any(isinstance(one, Classification) for one in found):
                    self.passed = [(file, why) for file, why in self.passed if file != train]
                yield from self._or_pass(path, *found)

    def _unreadable(self, error: OSError) -> None:
        self.passed.append((Path(str(error.filename)), f"cannot be read ({error.strerror or error})"))

    def _or_pass(self, path: Path, *found: Set | str) -> Iterator[Set]:
        for one in found:
            if isinstance(one, str):
                self.passed.append((path, one))
            else:
                yield one

    def _chosen(self, files: list[Path]) -> list[Path]:
        by_split: dict[str | None, list[Path]] = defaultdict(list)
        for path in files:
            by_split[_split_of(path.stem)].append(path)
        if self.split == "all":
            return files
        wanted = [*SPLITS] if self.split == "auto" else [self.split]
        best = next((by_split[name] for name in wanted if name in by_split), [])
        kept = [*by_split.get(None, []), *best]
        self.passed += [(path, "another split is evaluated; see --split") for path in files if path not in kept]
        return kept

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path != self.root else self.root.resolve().name


def _told_apart(found: list[Set]) -> list[Set]:
    """Add the file's name to sets of one kind that would have the same name."""
    counts = Counter((type(one), one.name) for one in found)
    return [
        replace(one, name=f"{one.name} ({_file_of(one).name})") if counts[type(one), one.name] > 1 else one
        for one in found
    ]


def _file_of(one: Set) -> Path:
    if isinstance(one, Retrieval):
        return one.corpus
    part = one.test if isinstance(one, Classification) else one.parts[0] if isinstance(one, Clustering) else one
    return part.files[0]


def _fields(path: Path) -> set[str]:
    """Return the fields of the first JSON object of a file; none of other files."""
    if path.suffix.lower() != ".jsonl":
        return set()
    return next(({name.lower() for name in row} for _, row in objects_of(path)), set())


def _split_of(stem: str) -> str | None:
    return next((_WORDS[word] for word in re.split(r"[-_.\s]+", stem.lower()) if word in _WORDS), None)


def _without_split(stem: str) -> str:
    """Return a name without the word that tells the split.

    >>> _without_split("stsb-en-test"), _without_split("SICK_train"), _without_split("dev")
    ('stsb-en', 'SICK', '')
    """
    parts = re.split(r"([-_.\s]+)", stem)
    kept = [part for part in parts[::2] if part.lower() not in _WORDS]
    return (parts[1] if len(parts) > 1 else "").join(kept)

"""Texts in, vectors out: the object that most users meet."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from sentvec.checkpoint.load import Checkpoint
from sentvec.checkpoint.recipe import Normalize, Recipe
from sentvec.checkpoint.save import save_checkpoint
from sentvec.errors import InvalidInput
from sentvec.models.architecture import Encoder
from sentvec.ops.similarity import similarity
from sentvec.runtime.checks import check, comparable, iterable, numbered, possible_dim
from sentvec.runtime.device import device_of, precision_of
from sentvec.runtime.engine import Array, Engine, Job
from sentvec.runtime.fast import set_up
from sentvec.runtime.fingerprint import fingerprint
from sentvec.runtime.fitting import Pair, fit_calibration, fit_postprocessing, probability
from sentvec.runtime.forward import Finish
from sentvec.runtime.jobs import rows_of, state_job, vector_job
from sentvec.runtime.origin import find, unrounded
from sentvec.runtime.precision import faster
from sentvec.runtime.prompts import DOCUMENT, QUERY, passage_room, prompt_of, with_stored
from sentvec.runtime.spread import spread
from sentvec.runtime.stream import SHARD_ROWS, EncodeReport, encode_rows
from sentvec.runtime.workers import Spread, pool_of
from sentvec.text.tokenizer import Text, Tokenizer, checked


class Embedder:
    """Turns texts into vectors with one checkpoint. Safe to use from several threads at once.

    Make one with `from_pretrained`. Made from a `Checkpoint`, it takes that over: the encoder is moved to the device
    and to the number format in place.

    Attributes:
        name: the repository's name, or the absolute path of the folder that it was made from.
        folder: where its files were found.
        encoder: the encoder module.
        device: where the encoder runs.
        precision: the encoder's number format.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        name: str,
        folder: Path | None = None,
        device: str = "auto",
        precision: str = "float32",
    ) -> None:
        dtype = precision_of(precision)
        check(checkpoint)
        self.name = name
        self.folder = folder
        self.device = device_of(device)
        self.precision = precision
        self.encoder: Encoder = checkpoint.encoder
        assert isinstance(self.encoder, nn.Module)
        if dtype != torch.float32:
            self.fingerprint = fingerprint(checkpoint)  # now, while the weights are what the checkpoint holds
        self.encoder.to(device=self.device, dtype=dtype)
        set_up(self.encoder, self.device, precision)
        for step in checkpoint.recipe.steps:
            if not isinstance(step, Normalize):
                step.to(self.device)
        self._checkpoint = checkpoint
        self._engine = Engine(checkpoint.tokenizer, checkpoint.recipe, self.device)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        precision: str = "float32",
        device: str = "auto",
        revision: str | None = None,
        local_files_only: bool = False,
        pooling: str | Sequence[str] | None = None,
        max_seq_length: int | None = None,
    ) -> Embedder:
        """Load a checkpoint.

        Args:
            name: a folder, or a repository of the Hugging Face Hub such as ``"BAAI/bge-small-en-v1.5"``.
            precision: float32, bfloat16, float16 or int8: what the encoder computes in. Vectors are float32. "auto"
                is the fastest that the processor or GPU has instructions for and whose vectors stay within cosine
                0.999, else float32; the log says which, and why.
            device: auto, cpu, cuda, cuda:1, mps …
            revision: branch, tag or commit on the Hub.
            local_files_only: never touch the network.
            pooling: use this pooling (or several, joined end to end) instead of the checkpoint's.
            max_seq_length: most tokens of a text, special tokens included, instead of the checkpoint's.

        Raises:
            ModelNotFound: there is no such model.
            ModelError: the model's files are broken, unsafe or not supported.
            UnknownPooling, InvalidInput: an argument's value is not known.
        """
        if precision != "auto":
            precision_of(precision)  # a slip of the pen should not cost a download
        origin = find(
            name,
            revision=revision,
            local_files_only=local_files_only,
            pooling=pooling,
            max_seq_length=max_seq_length,
        )

        def make(number_format: str) -> Embedder:
            return cls(origin.load(), name=origin.name, folder=origin.folder, device=device, precision=number_format)

        return make(precision) if precision != "auto" else faster(make("float32"), make)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokeniser."""
        return self._checkpoint.tokenizer

    @property
    def recipe(self) -> Recipe:
        """Pooling, projections, prompts and lengths."""
        return self._checkpoint.recipe

    @property
    def model_type(self) -> str:
        """The architecture's name."""
        return self._checkpoint.model_type

    @property
    def dim(self) -> int:
        """Features of a vector."""
        return min(self.recipe.dim or self._full_dim, self._full_dim)

    @property
    def max_seq_length(self) -> int:
        """Most tokens of a text, special tokens included; `encode` cuts off the rest and says so."""
        return self.recipe.max_seq_length

    @property
    def similarity_name(self) -> str:
        """Name of the similarity that the checkpoint was trained for: cosine, dot, euclidean or manhattan."""
        return self.recipe.similarity

    @property
    def passage_tokens(self) -> int:
        """Most tokens of a document that `encode_document` reads to its end: special tokens and the prompt go off."""
        return passage_room(self.recipe, self.tokenizer)

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 over all that decides what a vector is: weights, tokeniser, pooling, lengths, prompts."""
        return fingerprint(self._checkpoint)

    def encode(
        self,
        texts: str | Iterable[Text],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        dim: int | None = None,
        normalize: bool | None = None,
        progress: bool | None = None,
        workers: Spread = None,
    ) -> Array:
        """Encode texts into vectors, in the order in which they come.

        Texts longer than `max_seq_length` tokens lose their end; how many did is logged once, as a warning.

        Args:
            texts: one str, or any iterable of str (a generator too), or of pairs of str for a checkpoint
                trained on pairs. An empty string is a legal text.
            prompt: put this text in front of every text; ``""`` turns off the default prompt.
            prompt_name: put the checkpoint's stored prompt of this name in front.
            dim: keep this many features, and scale to length one again where the vectors had it.
            normalize: whether vectors have length one; None leaves it to the checkpoint.
            progress: True shows progress, False does not, None shows it on a terminal after two seconds.
            workers: encode in so many processes, or in one for each of these devices, or in these `Workers`; see
                there. For many texts: a process takes seconds to start.

        Returns:
            float32, (n, dim) for an iterable, (dim,) for one str.

        Raises:
            InvalidInput: something is not a text, or an argument's value is not possible.
            NonFiniteOutput: a vector holds NaN or infinity.
        """
        options: dict[str, Any] = {"prompt": prompt, "prompt_name": prompt_name, "dim": dim, "normalize": normalize}
        stream = self.encode_stream(texts, **options, progress=progress, workers=workers)
        found = [rows_of(self._kept(dim) or self._full_dim, 0), *stream]
        return cast(Array, found[1][0]) if isinstance(texts, str) else np.concatenate(found)

    def encode_to(
        self,
        folder: str | os.PathLike[str],
        texts: Iterable[Text],
        *,
        ids: Iterable[int | str] | None = None,
        file_format: str = "parquet",
        shard_rows: int = SHARD_ROWS,
        resume: bool = False,
        **options: Any,
    ) -> EncodeReport:
        """Encode any number of texts into a folder of files, in bounded memory; a killed run can go on.

        A part is on the disk, whole, before the manifest names it. With `resume`, a run reads the rows of finished
        parts again, makes sure that they are the same, and goes on behind them: no row is lost and none is doubled.
        `sentvec.runtime.shards.read_vectors` reads the folder.

        Args:
            folder: made if it is not there.
            texts: as for `encode`.
            ids: one for each text, all str or all int; the row's number where not given.
            file_format: parquet (columns ``id`` and ``vector``) or npy.
            shard_rows: rows of a part, and so what a kill can cost.
            resume: go on with the parts that the folder holds.
            options: prompt, prompt_name, dim, normalize, progress and workers, as for `encode`.

        Raises:
            OutputError: the folder cannot be written, or was begun with another input or other settings.
            InvalidInput, NonFiniteOutput: as for `encode`; finished parts stay.
        """
        if isinstance(texts, str):
            raise InvalidInput("texts is one str; give a list or other iterable of str.")
        rows = enumerate(iterable(texts)) if ids is None else numbered(ids, iterable(texts))
        unit = options.get("normalize")
        key = {
            "fingerprint": self.fingerprint,
            "precision": self.precision,
            "prompt": prompt_of(self.recipe, options.get("prompt"), options.get("prompt_name")),
            "dim": self._kept(options.get("dim")) or self._full_dim,
            "normalize": self.recipe.normalizes if unit is None else unit,
        }
        return encode_rows(
            Path(folder),
            rows,
            lambda stream: self.encode_stream(stream, **options),
            key=key,
            file_format=file_format,
            shard_rows=shard_rows,
            resume=resume,
        )

    def encode_stream(
        self,
        texts: Iterable[Text],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        dim: int | None = None,
        normalize: bool | None = None,
        progress: bool | None = None,
        workers: Spread = None,
    ) -> Generator[Array, None, None]:
        """Encode a stream of texts as it is read: `encode` for inputs that do not fit in memory.

        Yields:
            float32 (rows, dim): the vectors of the next window of texts, in order.

        Raises:
            InvalidInput, NonFiniteOutput: as for `encode`.
        """
        options: dict[str, Any] = {"prompt": prompt, "prompt_name": prompt_name, "dim": dim, "normalize": normalize}
        job = self._job(**options)  # refuses what is not possible, now
        if workers is None or (workers is not True and workers == 1):
            return self._engine.run(iterable(texts), job, progress=progress)
        return spread(iterable(texts), pool_of(self, workers), options, limit=self.max_seq_length, progress=progress)

    def encode_query(self, texts: str | Iterable[Text], **options: Any) -> Array:
        """Encode questions with the checkpoint's "query" prompt, where it has one; options as for `encode`."""
        return self.encode(texts, **with_stored(self.recipe, QUERY, options))

    def encode_document(self, texts: str | Iterable[Text], **options: Any) -> Array:
        """Encode documents with the checkpoint's "document", "passage" or "corpus" prompt, where it has one.

        Options as for `encode`.
        """
        return self.encode(texts, **with_stored(self.recipe, DOCUMENT, options))

    def encode_tokens(
        self,
        texts: str | Iterable[Text],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        progress: bool | None = None,
    ) -> list[Array]:
        """Return the last layer's state of every token, special tokens included, before any pooling.

        Returns:
            One float32 array (tokens_i, hidden) for each text, in order; one in a list for one str.

        Raises:
            InvalidInput, NonFiniteOutput: as for `encode`.
        """
        job = state_job(self.encoder, prefix=prompt_of(self.recipe, prompt, prompt_name))
        windows = self._engine.run(iterable(texts), job, progress=progress)
        return [states for window in windows for states in window]

    def similarity(self, a: ArrayLike, b: ArrayLike) -> Array:
        """Compare vectors with the similarity that the checkpoint names (cosine where it names none).

        Args:
            a: (n, dim), or (dim,) for one vector.
            b: (m, dim), or (dim,).

        Returns:
            (n, m) float32; larger is nearer.

        Raises:
            InvalidInput: the vectors' widths differ.
        """
        left, right = comparable(a, b)
        return cast(Array, similarity(self.recipe.similarity)(left, right).numpy())

    def probability(self, a: ArrayLike, b: ArrayLike) -> Array:
        """Return, for a model made by `fit_calibration`, how probably texts are related; see `similarity`."""
        return probability(self.recipe, self.similarity(a, b))

    def fit_postprocessing(
        self, kind: str, texts: Iterable[Text], *, dim: int | None = None, **options: Any
    ) -> Embedder:
        """Return an embedder whose vectors go through a map fitted on texts: see `sentvec.runtime.fitting`."""
        return self._with(fit_postprocessing(self, kind, texts, dim=dim, **options))

    def fit_calibration(self, pairs: Iterable[Pair], labels: Sequence[float], **options: Any) -> Embedder:
        """Return an embedder that knows the `probability` of its similarities: see `sentvec.runtime.fitting`."""
        return self._with(replace(self.recipe, calibration=fit_calibration(self, pairs, labels, **options)))

    def count_tokens(self, texts: str | Iterable[Text]) -> list[int]:
        """Return how many tokens each text has before anything is cut off, special tokens included."""
        return [len(ids) + ids.lost for ids in self._engine.tokenize(checked(list(iterable(texts))))]

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return the (start, end) characters of each token of a text, without special tokens."""
        return self.tokenizer.spans(text)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that sentence-transformers 2.3 to 6.x, transformers and sentvec can load.

        Weights are written in float32; those of an encoder that runs in another number format are read again from
        the folder that it came from, so that nothing is rounded.

        Raises:
            InvalidInput: there is a file of that name.
            ModelError: the folder that the model came from is needed, and is not what it was.
        """
        target = Path(folder)
        if target.exists() and not target.is_dir():
            raise InvalidInput(f"{target} is a file; give a folder to save to.")
        checkpoint = self._checkpoint
        if precision_of(self.precision) != torch.float32 and self.folder is not None:
            checkpoint = unrounded(checkpoint, self.folder, self.fingerprint)
        save_checkpoint(target, checkpoint)

    @property
    def _full_dim(self) -> int:
        return self.recipe.width(self.encoder.config.hidden)

    def _job(
        self,
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        dim: int | None = None,
        normalize: bool | None = None,
    ) -> Job[Array]:
        prefix = prompt_of(self.recipe, prompt, prompt_name)
        finish = Finish(prompt_tokens=self._engine.uncounted(prefix), dim=self._kept(dim), unit=normalize)
        return vector_job(self.encoder, self.recipe, finish, width=finish.dim or self._full_dim, prefix=prefix)

    def _kept(self, dim: int | None) -> int | None:
        """Return how many features to keep, or None for all."""
        if dim is None:
            return self.dim if self.recipe.dim is not None else None
        return possible_dim(dim, self._full_dim)

    def _with(self, recipe: Recipe) -> Embedder:
        """Return an embedder with another recipe, which shares all else; no folder holds it yet."""
        other = copy(self)
        other.__dict__.pop("fingerprint", None)
        other.folder = None
        other._checkpoint = replace(self._checkpoint, recipe=recipe)
        other._engine = replace(self._engine, recipe=recipe)
        return other

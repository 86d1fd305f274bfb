"""An `Embedder` in; a model that the benchmark library mteb takes, out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from sentvec.errors import InvalidInput
from sentvec.extras import require
from sentvec.ops.similarity import paired
from sentvec.runtime.embedder import Embedder
from sentvec.runtime.engine import Array
from sentvec.runtime.workers import Spread

OWNER = "sentvec"
"""Stands before a model's name where it has no owner: mteb wants both."""


class MtebEncoder:
    """Satisfies mteb's `EncoderProtocol`, so that `mteb.evaluate(MtebEncoder(model), tasks)` runs.

    Args:
        model: the model.
        name: what results are kept under, "owner/model"; where not given, the repository's name, or the last two
            parts of the folder's path. The revision is the model's fingerprint, so results of a model that has
            changed since are never taken for its own.
        workers: as for `Embedder.encode`.

    Raises:
        MissingExtra: mteb is not installed.
        InvalidInput: the name has no owner.
    """

    def __init__(self, model: Embedder, *, name: str | None = None, workers: Spread = None) -> None:
        if name is not None and "/" not in name:
            raise InvalidInput(f'name is {name!r}; mteb accepts names such as "owner/model".')
        self.model = model
        self._workers = workers
        self._prompt_name = require("mteb.models.abs_encoder", extra="mteb").get_prompt_name
        self._meta = _meta(model, name or _name(model.name))

    @property
    def mteb_model_meta(self) -> Any:
        """What mteb keeps with results: name, revision, parameters, dimensions, similarity."""
        return self._meta

    def encode(
        self,
        inputs: Iterable[Mapping[str, Sequence[str]]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **options: Any,
    ) -> Array:
        """Encode the texts of a task.

        The prompt is the stored one of the task's name, else of its type, each for queries or documents first; else
        the one that `encode_query` or `encode_document` puts in front. Batches are planned by the model, so mteb's
        batch size has no say.

        Args:
            inputs: batches, of which only "text" is read.
            task_metadata: of the task.
            hf_split: not used.
            hf_subset: not used.
            prompt_type: query, document or None.
            options: of these, `show_progress_bar` counts.

        Returns:
            (texts, dim) float32.

        Raises:
            InvalidInput: a number format is asked for, which belongs to the model; or as for `Embedder.encode`.
            NonFiniteOutput: as for `Embedder.encode`.
        """
        del hf_split, hf_subset
        if options.get("precision", "float32") != "float32":
            raise InvalidInput(
                f"precision {options['precision']!r} is asked of vectors, which are float32. Give the encoder's number "
                "format where the model is loaded: Embedder.from_pretrained(name, precision=...)."
            )
        roles: dict[Any, Callable[..., Array]] = {
            "query": self.model.encode_query,
            "document": self.model.encode_document,
        }
        return roles.get(prompt_type and prompt_type.value, self.model.encode)(
            [text for batch in inputs for text in batch["text"]],
            prompt_name=self._prompt_name(dict(self.model.recipe.prompts), task_metadata, prompt_type),
            progress=None if options.get("show_progress_bar", True) else False,
            workers=self._workers,
        )

    def similarity(self, a: ArrayLike, b: ArrayLike) -> Tensor:
        """Compare all with all by the model's similarity: (n, dim) and (m, dim) to (n, m)."""
        return torch.from_numpy(self.model.similarity(a, b))

    def similarity_pairwise(self, a: ArrayLike, b: ArrayLike) -> Tensor:
        """Compare row with row by the model's similarity: (n, dim) twice, or (dim,), to (n,)."""
        left, right = (np.atleast_2d(np.asarray(vectors, np.float32)) for vectors in (a, b))
        return torch.from_numpy(paired(self.model.similarity_name, left, right))


def _name(name: str) -> str:
    """Return owner and name.

    >>> _name("BAAI/bge-small-en"), _name("/home/me/models/mine"), _name("bert-base-uncased")
    ('BAAI/bge-small-en', 'models/mine', 'sentvec/bert-base-uncased')
    """
    path = PurePath(name)
    parts = [part for part in path.parts if part != path.anchor]
    return "/".join((OWNER, *parts)[-2:])


def _meta(model: Embedder, name: str) -> Any:
    metas = require("mteb.models.model_meta", extra="mteb")
    return metas.ModelMeta(
        loader=None,
        name=name,
        revision=model.fingerprint,
        release_date=None,
        languages=None,
        n_parameters=sum(weight.numel() for weight in cast(nn.Module, model.encoder).parameters()),
        memory_usage_mb=None,
        max_tokens=model.max_seq_length,
        embed_dim=model.dim,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=metas.ScoringFunction(model.similarity_name),
        use_instructions=bool(model.recipe.prompts),
        training_datasets=None,
        # results of another number format are other results
        experiment_kwargs=None if model.precision == "float32" else {"precision": model.precision},
    )

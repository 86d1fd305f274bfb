"""Texts in, logits of a task out: a model with a task head, on a device, behind the engine that embeds too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sentvec.batch import PackedBatch, TokenIds
from sentvec.checkpoint.headed import Headed, load_headed, save_headed
from sentvec.checkpoint.hub import resolve
from sentvec.checkpoint.save import special_tokens
from sentvec.errors import InvalidInput, ModelError
from sentvec.models.architecture import Encoder
from sentvec.models.task_head import TaskHead
from sentvec.progress import track
from sentvec.runtime.checks import check
from sentvec.runtime.device import device_of, precision_of
from sentvec.runtime.engine import WINDOW, Array, Engine, Window
from sentvec.runtime.fast import set_up
from sentvec.runtime.jobs import rows_of, text_job, token_job
from sentvec.runtime.prompts import prompt_of
from sentvec.runtime.report import Truncation
from sentvec.text.tokenizer import Pieces, Text


class HeadedModel:
    """An encoder and the heads of one task, ready to run.

    Args:
        headed: the model; it is taken over, and moved to the device and number format in place.
        name: the repository's name, or the folder that it was made from.
        folder: where its files were found.
        precision: float32, bfloat16, float16 or int8: what the encoder runs in. Heads run in float32.
        device: auto, cpu, cuda …
        whole: refuse a text that is too long, instead of cutting it off and saying so in the log.

    Attributes:
        task: what it was loaded for.
        labels: names of the labels, in the order of the logits; none for heads that have no labels.
        problem_type: as config.json has it, or None.
        encoder: the encoder module.
        heads: the heads by name.
        engine: what texts go through.
    """

    def __init__(
        self,
        headed: Headed,
        *,
        name: str,
        folder: Path | None = None,
        precision: str = "float32",
        device: str = "auto",
        whole: bool = False,
    ) -> None:
        dtype = precision_of(precision)
        checkpoint = headed.checkpoint
        check(checkpoint)
        self.name = name
        self.folder = folder
        self.precision = precision
        self.device = device_of(device)
        self.task = headed.task
        self.labels = headed.labels
        self.problem_type = headed.problem_type
        self.encoder: Encoder = checkpoint.encoder
        assert isinstance(self.encoder, nn.Module)
        self.encoder.to(device=self.device, dtype=dtype)
        set_up(self.encoder, self.device, precision)
        self.heads = {key: head.to(self.device) for key, head in headed.heads.items()}
        self.engine = Engine(checkpoint.tokenizer, checkpoint.recipe, self.device, whole=whole)
        self.headed = headed

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        task: str | None = None,
        *,
        precision: str = "float32",
        device: str = "auto",
        revision: str | None = None,
        local_files_only: bool = False,
        max_seq_length: int | None = None,
        whole: bool = False,
    ) -> HeadedModel:
        """Load a checkpoint; `task` as for `load_headed`, all else as for `Embedder.from_pretrained`.

        Raises:
            HeadNotFound: the checkpoint has no head for the task.
            ModelError, InvalidInput: as for `Embedder.from_pretrained`.
        """
        headed, folder = read_headed(
            name,
            task,
            precision=precision,
            revision=revision,
            local_files_only=local_files_only,
            max_seq_length=max_seq_length,
        )
        return cls(headed, name=os.fspath(name), folder=folder, precision=precision, device=device, whole=whole)

    @property
    def head(self) -> TaskHead:
        """The task's one head."""
        (head,) = self.heads.values()
        return head

    @property
    def max_seq_length(self) -> int:
        """Most tokens of a text or pair, special tokens included."""
        return self.engine.recipe.max_seq_length

    def text_logits(
        self,
        texts: Iterable[Text],
        *,
        then: Callable[[Tensor], Tensor] | None = None,
        left: bool = False,
        progress: bool | None = None,
        key: str | None = None,
    ) -> Array:
        """Run a head that gives one row for each text.

        Args:
            texts: texts or pairs.
            then: what follows the logits (seqs, outputs); must keep their shape.
            left: whether texts that are too long lose their beginnings, and not their ends.
            progress: see `Embedder.encode`.
            key: which head; the only one where not given.

        Returns:
            (n, outputs) float32, in the order of the texts.

        Raises:
            InvalidInput: something is not a text, or is too long where the model refuses that.
            NonFiniteOutput: logits hold NaN or infinity.
        """
        head = self.head if key is None else self.heads[key]
        if head.readout == "tokens":
            raise InvalidInput(f"the head for {self.task} gives logits for tokens, not for texts.")

        def forward(batch: PackedBatch) -> Tensor:
            logits = head(self.encoder(batch), batch, self.encoder)
            return logits if then is None else then(logits)

        outputs = head.out_features
        job = text_job(forward, outputs, prefix=prompt_of(self.engine.recipe))
        engine = replace(self.engine, left=left) if left else self.engine
        return np.concatenate([rows_of(outputs, 0), *engine.run(texts, job, progress=progress)])

    def token_values(
        self,
        rows: Sequence[TokenIds],
        width: int,
        forward: Callable[[Tensor, PackedBatch], Tensor],
        *,
        chosen: int | None = None,
        progress: bool | None = None,
    ) -> list[Array]:
        """Run what gives a row of numbers for tokens, for texts that are token ids already: windows, say.

        Args:
            rows: what the model reads, no longer than `max_seq_length`.
            width: how many numbers a token gets.
            forward: hidden states (tokens, hidden) and their batch -> numbers (tokens, width).
            chosen: only tokens of this id get some, and `forward` gives no others.
            progress: see `Embedder.encode`.

        Returns:
            For each text an array (tokens, width), float32.

        Raises:
            NonFiniteOutput: numbers hold NaN or infinity.
        """

        def counts(batch: PackedBatch) -> Sequence[int]:
            if chosen is None:
                return batch.lengths
            there = (batch.ids == chosen).cpu().numpy()
            return [int(part.sum()) for part in np.split(there, np.cumsum(batch.lengths)[:-1])]

        job = token_job(lambda batch: forward(self.encoder(batch), batch), width, counts=counts)
        report = Truncation(self.max_seq_length)
        found: list[Array] = []
        with track("Encoding", len(rows), progress) as advance:
            for first in range(0, len(rows), WINDOW):
                some = list(rows[first : first + WINDOW])
                window = Window(first, some, [[i] for i in range(len(some))])
                done = self.engine.encode(window, job, report, advance)
                found += done
        return found

    def cut(self, texts: Sequence[str]) -> list[Pieces]:
        """Cut texts into tokens with their places, in the letter case that the checkpoint wants."""
        if self.engine.recipe.lower_case:  # letter by letter, where that keeps their number: places must stay
            texts = ["".join(c.lower() if len(c.lower()) == 1 else c for c in text) for text in texts]
        return self.engine.tokenizer.pieces(texts)

    def special_id(self, role: str) -> int | None:
        """Return the id of a special token by its role, such as ``"mask_token"``; None where there is none."""
        checkpoint = self.headed.checkpoint
        token = special_tokens(checkpoint).get(role)
        return None if token is None else checkpoint.tokenizer.vocab()[token]

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that transformers reads, in float32.

        Weights of an encoder that runs in another number format are read again from the folder that it came from.

        Raises:
            InvalidInput: there is a file of that name.
            ModelError: the folder that the model came from is needed, and is not what it was.
        """
        target = Path(folder)
        if target.exists() and not target.is_dir():
            raise InvalidInput(f"{target} is a file; give a folder to save to.")
        headed = self.headed
        if precision_of(self.precision) != torch.float32 and self.folder is not None:
            whole = self._unrounded(self.folder)
            headed = replace(headed, checkpoint=replace(headed.checkpoint, encoder=whole))
        save_headed(target, headed)

    def _unrounded(self, folder: Path) -> Encoder:
        """Read the encoder again, as it was before it was rounded; heads never are."""
        again = load_headed(folder, self.task).checkpoint.encoder
        assert isinstance(again, nn.Module)
        assert isinstance(self.encoder, nn.Module)
        held = self.encoder.state_dict()
        if any(not torch.equal(x.to(held[name].dtype), held[name].cpu()) for name, x in again.state_dict().items()):
            raise ModelError(
                f"{folder} does not hold the weights that this model was loaded with; load it again to save."
            )
        return again


def read_headed(
    name: str | os.PathLike[str],
    task: str | None,
    *,
    precision: str = "float32",
    revision: str | None = None,
    local_files_only: bool = False,
    max_seq_length: int | None = None,
) -> tuple[Headed, Path]:
    """Find a model by name and read it; arguments and errors as for `HeadedModel.from_pretrained`.

    Returns:
        The model, and the folder that it is from.
    """
    precision_of(precision)  # a slip of the pen should not cost a download
    folder = resolve(name, revision=revision, local_files_only=local_files_only)
    headed = load_headed(folder, task)
    if max_seq_length is not None:
        checkpoint = headed.checkpoint
        recipe = replace(checkpoint.recipe, max_seq_length=max_seq_length)
        headed = replace(headed, checkpoint=replace(checkpoint, recipe=recipe))
    return headed, folder

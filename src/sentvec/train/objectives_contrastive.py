"""Contrastive objectives that own a temperature, guide, memory or twin: vectors and a batch in, one number out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sentvec.errors import InvalidInput
from sentvec.ops.losses.common import positive
from sentvec.ops.losses.contrastive import guide_mask, info_nce, sigmoid
from sentvec.ops.losses.unsupervised import contrastive_tension
from sentvec.train.batches import Batch
from sentvec.train.objectives_masks import known_positives
from sentvec.train.objectives_plain import Vectors, as_contrast

Guide = Callable[[Sequence[str]], Any]
"""Texts -> (texts, dim) vectors, as an array or a tensor: `Embedder.encode` is one."""


class Temperature(nn.Module):
    """A temperature, fixed or learned: nothing in, what similarities are divided by out.

    A learned one is kept as log(1 / temperature), and 1 / temperature stays from 1 to 100 (Radford et al. 2021,
    CLIP, arXiv 2103.00020, section 2.5, for the upper limit).
    """

    def __init__(self, temperature: float, learned: bool) -> None:
        super().__init__()
        positive("temperature", temperature)
        self.fixed = temperature
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature))) if learned else None

    def forward(self) -> float | Tensor:
        """Return the temperature of this step."""
        if self.log_scale is None:
            return self.fixed
        with torch.no_grad():  # clamped in place: a clamp on the way would stop the gradient at the limit for good
            self.log_scale.clamp_(0, math.log(100))
        return (-self.log_scale).exp()


class InfoNCE(nn.Module):
    """`sentvec.ops.losses.contrastive.info_nce` of a batch, known positives left out."""

    def __init__(
        self,
        *,
        temperature: float = 0.05,
        learn_temperature: bool = False,
        label_smoothing: float = 0.0,
        symmetric: bool = False,
        similarity: str = "cosine",
    ) -> None:
        super().__init__()
        self.temperature = Temperature(temperature, learn_temperature)
        self.label_smoothing = label_smoothing
        self.symmetric = symmetric
        self.similarity = similarity

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, ()."""
        (queries, documents), named = as_contrast(vectors, batch)
        return self.of(queries, documents, named["mask"])

    def of(self, queries: Tensor, documents: Tensor, mask: Tensor) -> Tensor:
        """Return the loss of what the batch, or more than the batch, is laid out as."""
        return info_nce(
            queries,
            documents,
            mask=mask,
            temperature=self.temperature(),
            label_smoothing=self.label_smoothing,
            symmetric=self.symmetric,
            similarity=self.similarity,
        )


class Sigmoid(nn.Module):
    """`sentvec.ops.losses.contrastive.sigmoid` of a batch, temperature and bias learned unless they are held."""

    def __init__(self, *, temperature: float = 0.1, bias: float = -10.0, learn: bool = True) -> None:
        super().__init__()
        self.temperature = Temperature(temperature, learn)
        self.bias = nn.Parameter(torch.tensor(bias), requires_grad=learn)

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, ()."""
        (queries, documents), named = as_contrast(vectors, batch)
        return sigmoid(queries, documents, mask=named["mask"], temperature=self.temperature(), bias=self.bias)


class Guided(nn.Module):
    """InfoNCE without the documents that a guide finds nearer than the positive; the guide sees the batch's texts."""

    def __init__(
        self,
        *,
        guide: Guide,
        margin: float = 0.0,
        relative: bool = False,
        temperature: float = 0.01,
        symmetric: bool = False,
    ) -> None:
        super().__init__()
        self.guide = guide
        self.margin = margin
        self.relative = relative
        self.contrast = InfoNCE(temperature=temperature, symmetric=symmetric)

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, ()."""
        (queries, documents), named = as_contrast(vectors, batch)
        asked, *rest = batch.columns
        read = [torch.as_tensor(self.guide(texts)) for texts in (asked, [text for column in rest for text in column])]
        judged = guide_mask(*read, margin=self.margin, relative=self.relative).to(queries.device)
        return self.contrast.of(queries, documents, named["mask"] | judged)


class Remembering(nn.Module):
    """InfoNCE against the documents of past batches as well (Wang et al. 2020, XBM, arXiv 1912.06798).

    The memory is a queue without gradients, and a part of the state: a run that is resumed has it as it was. What is
    a known positive of a query is left out by its text, and so is what the batch itself holds anew. Out of training
    mode nothing is added, as for a second look at the same batch.

    Args:
        dim: features of a vector.
        size: most documents that are remembered.
        options: those of `InfoNCE`.
    """

    vectors: Tensor
    keys: Tensor
    written: Tensor

    def __init__(
        self,
        *,
        dim: int,
        size: int = 4096,
        temperature: float = 0.05,
        learn_temperature: bool = False,
        similarity: str = "cosine",
    ) -> None:
        super().__init__()
        positive("dim", dim)
        positive("size", size)
        self.contrast = InfoNCE(temperature=temperature, learn_temperature=learn_temperature, similarity=similarity)
        self.register_buffer("vectors", torch.zeros(size, dim))
        self.register_buffer("keys", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss, (), and remember the documents of the batch."""
        (queries, documents), _ = as_contrast(vectors, batch)
        if documents.shape[1] != self.vectors.shape[1]:
            raise InvalidInput(
                f"vectors have {documents.shape[1]} features, the memory was built for {self.vectors.shape[1]}; "
                f"pass dim={documents.shape[1]}."
            )
        asked, right, *rest = ([key(text) for text in column] for column in batch.columns)
        own = [*right, *(one for column in rest for one in column)]
        kept = min(int(self.written), len(self.keys))
        past = self.keys[:kept].tolist()
        mask = known_positives(asked, right, own + past)
        fresh = set(own)
        mask[:, len(own) :] |= torch.tensor([one in fresh for one in past], dtype=torch.bool)
        # this copies, so that the queue may be written to before the gradient is taken
        everything = torch.cat([documents, self.vectors[:kept]])
        loss = self.contrast.of(queries, everything, mask.to(queries.device))
        if self.training:
            self._remember(documents.detach(), own)
        return loss

    def _remember(self, documents: Tensor, keys: list[int]) -> None:
        size = len(self.keys)
        documents, keys = documents[-size:], keys[-size:]
        places = (int(self.written) + torch.arange(len(keys), device=self.keys.device)) % size
        self.vectors[places] = documents.to(self.vectors)
        self.keys[places] = torch.tensor(keys, device=self.keys.device)
        self.written += len(keys)


class Tension(nn.Module):
    """`sentvec.ops.losses.unsupervised.contrastive_tension` of each text with itself and with others of the batch.

    Args:
        negatives: how many others for each text, drawn anew at each step; the paper has 7.
    """

    def __init__(self, *, negatives: int = 7) -> None:
        super().__init__()
        positive("negatives", negatives)
        self.negatives = negatives

    def forward(self, vectors: Vectors, batch: Batch) -> Tensor:
        """Return the loss of the batch by texts, ()."""
        first, second = vectors
        texts, count = batch.columns[0], len(first)
        if count < 2:
            raise InvalidInput(f"a batch of {count} texts has no two to disagree on; give larger batches.")
        others = torch.rand(count, count - 1).argsort(dim=1)[:, : self.negatives] + 1  # 1 to count - 1 places further
        places = (torch.cat([torch.zeros_like(others[:, :1]), others], dim=1) + torch.arange(count)[:, None]) % count
        owners = torch.arange(count).repeat_interleave(places.shape[1])
        found = places.flatten()
        same = torch.tensor([texts[i] == texts[j] for i, j in zip(owners.tolist(), found.tolist(), strict=True)])
        loss = contrastive_tension(first[owners], second[found], same.to(first.device))
        return loss / count


def key(text: str) -> int:
    """Return 64 bits that stand for a text, the same in every run.

    >>> key("a") == key("a"), key("a") == key("b")
    (True, False)
    """
    found = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(found, "little", signed=True)

"""What tests of losses share: the loss of sentence-transformers on given vectors, and gradients of two functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Given(nn.Module):
    """Stands where sentence-transformers wants a model, and hands over the vectors that it is asked to embed."""

    def __init__(self, key: str = "sentence_embedding", tokenizer: Any = None) -> None:
        super().__init__()
        self.key = key
        self.tokenizer = tokenizer
        self.max_seq_length = 8

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        return {"sentence_embedding": features[self.key]}

    def get_embedding_dimension(self) -> int:
        return 6


def st_loss(name: str, columns: tuple[Tensor, ...], labels: Tensor | None = None, **options: Any) -> Tensor:
    """Return sentence-transformers' loss called `name` of `columns`."""
    from sentence_transformers.sentence_transformer import losses

    return getattr(losses, name)(Given(), **options)([{"sentence_embedding": column} for column in columns], labels)


def gist_loss(ours: tuple[Tensor, ...], guides: tuple[Tensor, ...], **options: Any) -> Tensor:
    """Return sentence-transformers' GISTEmbedLoss; it wants a tokeniser, if only to see that both models share it."""
    from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")))
    loss = GISTEmbedLoss(Given("ours", tokenizer), Given("guide", tokenizer), **options)
    return loss([{"ours": one, "guide": guide} for one, guide in zip(ours, guides, strict=True)], None)


def list_loss(name: str, scores: Tensor, grades: list[Tensor], **options: Any) -> Tensor:
    """Return sentence-transformers' loss of a cross-encoder that gives `scores` to the documents of all lists."""
    from sentence_transformers.cross_encoder import losses

    class Scorer(nn.Module):
        num_labels, device = 1, "cpu"

        def preprocess(self, pairs: list[tuple[str, str]], **_: Any) -> dict[str, Tensor]:
            return {"which": torch.tensor([int(document) for _, document in pairs])}

        def forward(self, tokens: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"scores": scores[tokens["which"]]}

    numbers = iter(range(len(scores)))
    documents = [[str(next(numbers)) for _ in row] for row in grades]
    return getattr(losses, name)(Scorer(), **options)([["query"] * len(grades), documents], grades)


def gradients(loss: Callable[..., Tensor], *vectors: Tensor) -> tuple[Tensor, ...]:
    """Return the gradient of a loss for each of the vectors it takes."""
    leaves = [part.detach().clone().requires_grad_() for part in vectors]
    return torch.autograd.grad(loss(*leaves), leaves)


def same(ours: Callable[..., Tensor], naive: Callable[..., Tensor], *vectors: Tensor) -> None:
    """Hold a loss to another in value, in gradient, and to finite differences."""
    torch.testing.assert_close(ours(*vectors), naive(*vectors))
    torch.testing.assert_close(gradients(ours, *vectors), gradients(naive, *vectors))
    doubles = [part.double().requires_grad_() for part in vectors]
    assert torch.autograd.gradcheck(ours, doubles)

"""sentvec: text to vectors with BERT-family encoders, and the search around it.

The names below load on first use, so that ``import sentvec`` does no work and imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentvec.errors import SentvecError
    from sentvec.runtime.embedder import Embedder
    from sentvec.runtime.reranker import Reranker
    from sentvec.search.collection import Collection
    from sentvec.tasks.pipeline import pipeline

__version__ = "0.1.0"
__all__ = ["Collection", "Embedder", "Reranker", "SentvecError", "__version__", "pipeline"]

_HOMES = {
    "Collection": "sentvec.search.collection",
    "Embedder": "sentvec.runtime.embedder",
    "Reranker": "sentvec.runtime.reranker",
    "SentvecError": "sentvec.errors",
    "pipeline": "sentvec.tasks.pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sentvec' has no attribute {name!r}; its public names are {__all__}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__

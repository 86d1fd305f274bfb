"""What a contender is told before it starts, and how it says that it does not offer something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Encode = Callable[[list[str]], NDArray[np.float32]]

LENGTH = 256
"""Most tokens of a text, special tokens included."""


class NotOffered(Exception):
    """The library has no such number format on this machine."""


@dataclass(frozen=True)
class Setting:
    """How a contender is set up.

    Attributes:
        model: a folder as `peers.prepare` writes it.
        precision: the number format.
        threads: processor threads to use.
        batch: texts of a batch, for those who need to be told.
        variant: one of the contender's variants.
    """

    model: Path
    precision: str
    threads: int
    batch: int = 32
    variant: str = ""

"""The parts of a set in; an error that names the set where they do not make one, out."""

from __future__ import annotations

from collections.abc import Sized

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput


def check_numbers(name: str, least: int = 1, **parts: Sized) -> None:
    """Refuse a set whose parts are not as many, or are too few.

    Args:
        name: the set's name.
        least: how many there have to be.
        parts: what belongs together, one of each.

    Raises:
        InvalidInput: the numbers differ, or are below `least`.
    """
    counts = {what: len(part) for what, part in parts.items()}
    if len(set(counts.values())) > 1 or min(counts.values()) < least:
        told = ", ".join(f"{count} {what}" for what, count in counts.items())
        same = "as many of each, " if len(counts) > 1 else ""
        raise InvalidInput(f"the set {name!r} has {told}; accepted: {same}{least} or more.")


def check_scores(name: str, scores: NDArray[np.generic]) -> None:
    """Refuse scores that are no numbers.

    Raises:
        InvalidInput: one is NaN or infinite.
    """
    finite = np.isfinite(np.asarray(scores, np.float64))
    if not finite.all():
        at = int(np.argmin(finite))
        raise InvalidInput(f"the set {name!r}: score {at} is {scores[at]}; accepted: finite numbers.")


def check_classes(name: str, labels: Sized, what: str) -> None:
    """Refuse labels of which all are the same.

    Args:
        name: the set's name.
        labels: the different ones.
        what: which they are, for the message.

    Raises:
        InvalidInput: there are fewer than two.
    """
    if len(labels) < 2:
        raise InvalidInput(f"the set {name!r} has {len(labels)} different {what}; accepted: two or more.")

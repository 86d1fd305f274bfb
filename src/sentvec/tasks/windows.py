"""The tokens of a long text in, windows over them that a model can read out."""

from __future__ import annotations

from sentvec.errors import InvalidInput


def windows(length: int, room: int, overlap: int) -> list[tuple[int, int]]:
    """Cover tokens with windows that overlap; the last one ends with the text.

    Args:
        length: tokens of the text.
        room: most tokens of a window.
        overlap: tokens that a window shares with the one before it.

    Returns:
        The (start, end) of each window; one for a text without tokens.

    Raises:
        InvalidInput: the overlap leaves nothing new in a window.

    >>> windows(10, room=4, overlap=1)
    [(0, 4), (3, 7), (6, 10)]
    """
    if not 0 <= overlap < room:
        raise InvalidInput(
            f"windows of {room} tokens cannot overlap by {overlap!r}; give a whole number from 0 to {room - 1}."
        )
    found = [(0, min(room, length))]
    while found[-1][1] < length:
        start = found[-1][0] + room - overlap
        found.append((start, min(start + room, length)))
    return found

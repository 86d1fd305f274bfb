"""A call into the `tokenizers` library in; its errors, panics of its Rust code included, as one class out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sentvec.errors import TokenizerError


@contextmanager
def guarded(complaint: str) -> Iterator[None]:
    """Turn whatever the library raises into `TokenizerError`, and leave Ctrl-C and the like alone.

    Args:
        complaint: what cannot be done; the library's reason is put behind it.
    """
    try:
        yield
    except TokenizerError:
        raise
    except BaseException as error:  # the library raises bare Exception, and its panics are not even that
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise TokenizerError(f"{complaint} ({error}).") from None

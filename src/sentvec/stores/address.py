"""The URL of a store in, its parts out, and the same without the password for whatever is shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from sentvec.errors import InvalidInput

PASSWORD = "SENTVEC_STORE_PASSWORD"  # noqa: S105, the name of a variable


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a URL.

    Attributes:
        scheme: postgresql, qdrant, ...
        host: "" where none is given.
        port: None where none is given.
        path: without the slash before it.
        user: "" where none is given.
        password: of the URL, or of the environment's SENTVEC_STORE_PASSWORD; None where there is none.
        options: what follows the question mark.
        shown: the URL without the password.
    """

    scheme: str
    host: str
    port: int | None
    path: str
    user: str
    password: str | None
    options: Mapping[str, str]
    shown: str


def address(url: str, options: tuple[str, ...]) -> Address:
    """Take a URL apart.

    Args:
        url: the URL.
        options: names that may follow the question mark.

    Raises:
        InvalidInput: a port that is none, or an option that is not known.

    >>> address("postgresql://me:secret@db:5433/texts?table=notes", ("table",)).shown
    'postgresql://me@db:5433/texts?table=notes'
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidInput(f"The address of the store cannot be read ({error}); see docs/stores.md.") from None
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(given) - set(options)):
        raise InvalidInput(f"{unknown[0]!r} is no option of {parts.scheme} stores; accepted: {', '.join(options)}.")
    user = f"{parts.username}@" if parts.username else ""
    where = parts.netloc.rpartition("@")[2]
    query = f"?{parts.query}" if parts.query else ""
    password = unquote(parts.password) if parts.password else os.environ.get(PASSWORD) or None
    return Address(
        parts.scheme,
        unquote(parts.hostname or ""),
        port,
        unquote(parts.path.removeprefix("/")),
        unquote(parts.username or ""),
        password,
        given,
        f"{parts.scheme}://{user}{where}{parts.path}{query}",
    )

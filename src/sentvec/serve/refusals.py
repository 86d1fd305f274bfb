"""Why a request is not answered as asked: a kind and a message in, the one exception that every surface words anew."""

from __future__ import annotations

import logging
from typing import Literal

from sentvec.errors import InvalidInput, NonFiniteOutput, SentvecError

_log = logging.getLogger("sentvec.serve")

Kind = Literal[
    "malformed",  # the body is no JSON, or a field is not what it should be
    "empty",  # a text or a list that may not be empty
    "too_long",  # a text has more tokens than the model reads
    "too_many",  # more texts or tokens than a request may have
    "too_large",  # the body has too many bytes
    "media",  # the body is no JSON by its headers, or compressed
    "late",  # the request did not arrive in time
    "unauthorised",
    "misdirected",  # it is for a server of another name
    "not_found",
    "method",
    "overloaded",
    "unsupported",  # nothing that is loaded can do this
    "failed",  # the encoder could not do it
    "unhealthy",
    "gone",  # the client left; nobody reads this
]

STATUS: dict[Kind, int] = {
    "malformed": 400,
    "empty": 400,
    "too_long": 400,
    "too_many": 400,
    "too_large": 413,
    "media": 415,
    "late": 408,
    "unauthorised": 401,
    "misdirected": 421,
    "not_found": 404,
    "method": 405,
    "overloaded": 429,
    "unsupported": 400,
    "failed": 500,
    "unhealthy": 503,
    "gone": 499,
}
"""Status codes where a surface does not say otherwise."""


class Refused(Exception):
    """A request is not answered as asked.

    Attributes:
        kind: why.
        message: names the value, what is accepted, and the next step.
        field: the field of the body that is at fault, or None.
        retry_after: seconds after which the client may try again, or None.
        allow: methods that the path knows, for kind "method".
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        field: str | None = None,
        retry_after: float | None = None,
        allow: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message
        self.field = field
        self.retry_after = retry_after
        self.allow = allow


class wanted:  # noqa: N801 - it reads as a word of a `with` line
    """A block in which what the client sent may turn out to be wrong: `InvalidInput` becomes a refusal."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InvalidInput):
            raise Refused("malformed", str(error)) from None
        if isinstance(error, SentvecError):
            raise refusal(error) from None


def refusal(error: Exception) -> Refused:
    """Return what a client is told of what went wrong; what nobody expected is in the log."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, InvalidInput):
        return Refused("malformed", str(error))
    if not isinstance(error, NonFiniteOutput):
        _log.error("the encoder failed: %s", type(error).__name__, exc_info=error)
    return Refused("failed", str(error) if isinstance(error, SentvecError) else "the encoder failed; see its log.")

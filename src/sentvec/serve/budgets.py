"""What one key may use in; whether there is enough of it left for a request, and when there will be, out.

Budgets a minute are buckets that fill evenly and hold one minute's worth, so that a client may use it at once. All of
this happens in the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from sentvec.serve.refusals import Refused


@dataclass(frozen=True)
class Allowance:
    """A key, and what may be done with it; 0 is as much as one likes.

    Attributes:
        name: what metrics call it.
        key: the secret.
        requests: a minute.
        tokens: a minute.
        concurrent_tokens: admitted and not yet answered.
    """

    name: str
    key: str
    requests: int = 0
    tokens: int = 0
    concurrent_tokens: int = 0


class _Bucket:
    def __init__(self, minute: int, now: Callable[[], float]) -> None:
        self._size, self._level = float(minute), float(minute)
        self._now, self._looked = now, now()

    def wait(self, amount: float) -> float:
        """Return the seconds until there is so much; more than a bucket holds needs a full one."""
        if not self._size:
            return 0.0
        now = self._now()
        self._level = min(self._size, self._level + (now - self._looked) * self._size / 60)
        self._looked = now
        return max(0.0, (min(amount, self._size) - self._level) * 60 / self._size)

    def take(self, amount: float) -> None:
        """Take it out, or put it back if below 0; what was more than all of it is waited for afterwards."""
        self._level -= amount


class Budget:
    """What is left of an allowance.

    Args:
        allowed: the allowance; none is one without limits.
        spent: told of the name and of tokens that were admitted.
        now: a clock in seconds.
    """

    def __init__(
        self,
        allowed: Allowance | None = None,
        spent: Callable[[str, int], None] = lambda name, tokens: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = allowed.name if allowed is not None else ""
        self._most = allowed.concurrent_tokens if allowed is not None else 0
        self._spent = spent
        self._requests = _Bucket(allowed.requests if allowed is not None else 0, now)
        self._tokens = _Bucket(allowed.tokens if allowed is not None else 0, now)
        self._held = 0

    def request(self) -> None:
        """Count a request.

        Raises:
            Refused: there were as many as there may be, or as many tokens.
        """
        self._refuse("requests", self._requests.wait(1))
        self._refuse("tokens", self._tokens.wait(1))
        self._requests.take(1)

    @contextmanager
    def spending(self, tokens: int) -> Iterator[None]:
        """Count tokens, which are under way while the block runs; they cost nothing if it refuses them.

        Raises:
            Refused: there are not as many left.
        """
        if self._most and self._held and self._held + tokens > self._most:
            raise Refused(
                "overloaded",
                f"{self._held:,} tokens of this key are under way, and it may have {self._most:,} at a time. Wait for "
                "answers before you send more.",
                retry_after=1.0,
            )
        self._refuse("tokens", self._tokens.wait(tokens))
        self._tokens.take(tokens)
        self._held += tokens
        try:
            yield
            self._spent(self.name, tokens)
        except Refused:
            self._tokens.take(-tokens)
            raise
        finally:
            self._held -= tokens

    def _refuse(self, what: str, seconds: float) -> None:
        if seconds > 0:
            raise Refused(
                "overloaded",
                f"this key has used the {what} that it may in a minute. Try again in {max(1, round(seconds))} s.",
                retry_after=seconds,
            )


UNLIMITED = Budget()
"""Of everybody whose key has no limits."""

budget: ContextVar[Budget] = ContextVar("budget", default=UNLIMITED)
"""Whose request is being answered, in the task that answers it and in what it calls."""

"""One objective's row in the table, and the options given by a user, in; options that fit, or an error, out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from torch import nn

from sentvec.errors import InvalidInput
from sentvec.train.batches import Kind
from sentvec.train.hints import fits, words


@dataclass(frozen=True)
class Row:
    """One objective.

    Attributes:
        build: keyword options -> the module that computes the loss. Its signature is the list of options.
        kinds: of batches that it learns from.
        line: what it does, in one line, for the docs.
        paper: where it is from.
        views: how often each column is encoded.
        preset: options whose default is another than `build`'s own.
        twin: whether the first view is that of an encoder of its own.
    """

    build: Callable[..., nn.Module]
    kinds: frozenset[Kind]
    line: str
    paper: str
    views: int = 1
    preset: Mapping[str, Any] = field(default_factory=dict)
    twin: bool = False

    @property
    def defaults(self) -> dict[str, Any]:
        """The options that may be left out, with their values."""
        given = {name: option.default for name, option in inspect.signature(self.build).parameters.items()}
        return {name: value for name, value in {**given, **self.preset}.items() if value is not inspect.Parameter.empty}

    @property
    def needs(self) -> tuple[str, ...]:
        """The options that have no default, such as `dim` and `classes`."""
        return tuple(name for name in inspect.signature(self.build).parameters if name not in self.defaults)

    def check(self, name: str, options: Mapping[str, Any]) -> None:
        """Hold options to what is known of them.

        Raises:
            InvalidInput: an option is not known, is of another type than it must be, or is needed and left out.
        """
        known = (*self.needs, *self.defaults)
        for option, value in options.items():
            if option not in known:
                listed = ", ".join(known) or "none"
                raise InvalidInput(f"objective {name!r} has no option {option!r}. Its options: {listed}.")
            hint = _hints(self.build)[option]
            if not fits(value, hint):
                raise InvalidInput(f"option {option!r} of objective {name!r} is {value!r}; it must be {words(hint)}.")
        missing = [option for option in self.needs if option not in options]
        if missing:
            shown = ", ".join(f"{option}=..." for option in missing)
            raise InvalidInput(f"objective {name!r} needs {' and '.join(missing)}; pass {shown}.")


def _hints(build: Callable[..., nn.Module]) -> dict[str, Any]:
    """Find the types of options: of a module's constructor, or of the loss that a builder passes them to."""
    hints = get_type_hints(vars(build)["__init__"] if isinstance(build, type) else type(build).__call__)
    loss = getattr(build, "loss", None)
    return hints if loss is None else {**get_type_hints(loss), **hints}

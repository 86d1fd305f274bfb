"""Optional packages, brought in at one place: a module's name in, the module or the pip command out."""

from __future__ import annotations

import importlib
from types import ModuleType

from sentvec.errors import MissingExtra


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        module: the module's import name, such as ``"faiss"``.
        extra: the extra of sentvec that installs it, such as ``"search"``.

    Raises:
        MissingExtra: the package is not installed; the message has the exact pip command.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # the package is there, but one of its own needs is not: a different fault
        raise MissingExtra(
            f"This needs the package {module!r}, which is not installed. "
            f'Install it with: pip install "sentvec[{extra}]" (in a checkout of sentvec: pip install ".[{extra}]")'
        ) from None

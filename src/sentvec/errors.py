"""Everything sentvec raises on purpose: wrong input in, one clear error out.

::

    SentvecError
    ├── MissingExtra              an optional package is not installed
    ├── InvalidInput              an argument or a text cannot be used
    ├── NonFiniteOutput           a vector holds NaN or infinity
    ├── WorkerDied                processes that encode died over the same rows, again and again
    ├── OutputError               vectors cannot be written, or gone on with
    ├── ModelError
    │   ├── ModelNotFound         no folder, cache entry, package or Hub repository of that name
    │   ├── ConfigError           a configuration file is absent, unreadable or asks for what is not supported
    │   │   ├── UnknownModelType
    │   │   └── UnknownPooling
    │   ├── HeadNotFound          the checkpoint has no head for the task that is asked of it
    │   ├── TokenizerError        tokeniser files are absent, broken or do not fit the model
    │   └── WeightsError          weights are absent, corrupt, unsafe or do not fit the configuration
    └── CollectionError
        ├── CollectionNotFound    no collection in that folder
        ├── CollectionCorrupt     the collection's files are damaged
        ├── CollectionBusy        another process is writing
        ├── ModelMismatch         the collection was built with another model
        └── StoreUnavailable      the server of a store does not answer

A message names the value, what is accepted, and the next step.
"""

from __future__ import annotations


class SentvecError(Exception):
    """Base of every error that sentvec raises on purpose."""


class MissingExtra(SentvecError):
    """An optional package is not installed; the message is the pip command that installs it."""


class InvalidInput(SentvecError):
    """An argument or a text cannot be used as it is."""


class NonFiniteOutput(SentvecError):
    """A vector holds NaN or infinity; the message names the text's position.

    Attributes:
        place: the text's position, from 0, where it is known.
    """

    place: int | None = None


class WorkerDied(SentvecError):
    """Processes that encode died over the same rows, again and again; the message names the rows."""


class OutputError(SentvecError):
    """A file or folder of vectors cannot be written, or holds something that a run cannot go on with."""


class ModelError(SentvecError):
    """A model cannot be found, read or run."""


class ModelNotFound(ModelError):
    """No folder, cache entry, installed package or Hub repository has this name."""


class ConfigError(ModelError):
    """A configuration file is absent, unreadable, or asks for something not supported."""


class UnknownModelType(ConfigError):
    """`model_type` in config.json names an architecture that sentvec does not have."""


class UnknownPooling(ConfigError):
    """A pooling name is not known."""


class HeadNotFound(ModelError):
    """The checkpoint has no head for the task that is asked of it; the message names the one it has.

    Attributes:
        there: names of the heads that it has.
        seen: what its files say of heads, in words.
    """

    there: tuple[str, ...] = ()
    seen: str = ""


class TokenizerError(ModelError):
    """Tokeniser files are absent, broken, or do not fit the model."""


class WeightsError(ModelError):
    """Weights are absent, corrupt, unsafe to read, or do not fit the configuration."""


class CollectionError(SentvecError):
    """A collection cannot be opened, read or written."""


class CollectionNotFound(CollectionError):
    """There is no collection in that folder."""


class CollectionCorrupt(CollectionError):
    """The collection's files are damaged."""


class CollectionBusy(CollectionError):
    """Another process is writing to the collection."""


class ModelMismatch(CollectionError):
    """The collection was built with another model than the one given."""


class StoreUnavailable(CollectionError):
    """The server that a store is kept on does not answer; the message has its URL."""

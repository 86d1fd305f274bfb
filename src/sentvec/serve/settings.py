"""Flags, environment and a TOML file in; one frozen value that says all about a server out."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from sentvec.errors import InvalidInput
from sentvec.serve.budgets import Allowance

PREFIX = "SENTVEC_"
MOST = 1e9
"""Most seconds, or bytes of a body: what clocks can wait for."""

SECRET = ("api_key",)
"""Settings whose values are never shown."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server runs. Every one is a variable SENTVEC_… of the environment and a key of the TOML file; most are
    flags, too.

    Attributes:
        model: a folder, or a repository on the Hugging Face Hub.
        host, port: where to listen; port 0 takes a free one.
        served_name: what /v1/models calls the model; its own name where not given.
        precision: float32, bfloat16, float16, int8 or auto.
        device: auto, cpu, cuda …
        revision: branch, tag or commit on the Hub.
        local_files_only: never touch the network.
        max_seq_length: most tokens of a text, instead of the checkpoint's.
        pooling: instead of the checkpoint's.
        reranker: a cross-encoder for /rerank.
        task: TASK=MODEL, several times: heads for the tasks' routes and /predict.
        collection: a collection's folder, for /search and /documents.
        processes: how many processes encode; 0 is one for each core.
        batch_tokens: most tokens of a batch.
        queue_tokens: most tokens admitted and not yet answered; what comes beyond is refused with 429.
        max_requests: most requests at a time.
        max_connections: most open connections; beyond it, the one that has been idle longest is closed.
        max_texts: most texts of a request.
        max_tokens: most tokens of a request.
        max_body: most bytes of a request's body.
        receive_s: seconds in which a request must have arrived, and after which an idle connection is closed.
        deadline_s: seconds after which a request that still waits for its turn is refused.
        stuck_s: seconds for one batch, after which the process that runs it is killed and replaced; for a row of more
            than batch_tokens, longer in proportion.
        drain_s: seconds that requests have to end after SIGTERM.
        truncate: whether texts that are too long are cut where the request does not say.
        api_key: what clients must send as "Authorization: Bearer KEY"; several with commas between them.
        clients: keys with names and budgets: tables [clients.NAME] of a file with key, requests and tokens (a minute)
            and concurrent_tokens; in the environment, the same as JSON.
        cors: origins that web pages may call from, with commas between them; "*" is any.
        hosts: names that clients may call the server by, besides localhost, with commas between them; "*" is any.
            Only looked at where the server listens on this machine alone and asks for no key.
        log_requests: write a line for every request.
        otel: send OpenTelemetry spans; the variables OTEL_… say where to.
        page: serve the page at /.
    """

    model: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    served_name: str = ""
    precision: str = "float32"
    device: str = "auto"
    revision: str = ""
    local_files_only: bool = False
    max_seq_length: int = 0
    pooling: str = ""
    reranker: str = ""
    task: tuple[str, ...] = ()
    collection: str = ""
    processes: int = 0
    batch_tokens: int = 2048
    queue_tokens: int = 524_288
    max_requests: int = 512
    max_connections: int = 1024
    max_texts: int = 2048
    max_tokens: int = 300_000
    max_body: int = 4_194_304
    receive_s: float = 30.0
    deadline_s: float = 60.0
    stuck_s: float = 120.0
    drain_s: float = 30.0
    truncate: bool = True
    api_key: str = ""
    clients: tuple[Allowance, ...] = ()
    cors: str = ""
    hosts: str = ""
    log_requests: bool = False
    otel: bool = False
    page: bool = True

    def __post_init__(self) -> None:
        for name in ("batch_tokens", "queue_tokens", "max_requests", "max_connections", "max_texts", "max_tokens"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}, which should be 1 or more.")
        for name in ("receive_s", "deadline_s", "stuck_s", "drain_s", "max_body"):
            if not 0 < getattr(self, name) <= MOST:
                raise InvalidInput(f"{name} is {getattr(self, name)}, which should be above 0, and at most {MOST:g}.")
        for name in ("processes", "max_seq_length"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"{name} is {getattr(self, name)}, which should be 0 or more.")
        if not 0 <= self.port <= 65535:
            raise InvalidInput(f"port is {self.port}, which should be from 0 to 65535.")
        self._check_access()
        for one in self.task:
            if "=" not in one:
                raise InvalidInput(f"task is {one!r}; give TASK=MODEL, such as ner=folder.")

    def _check_access(self) -> None:
        """Refuse what would let in more than it says, or nobody."""
        if not self.host.strip():
            raise InvalidInput("host is empty; give 127.0.0.1, or 0.0.0.0 to listen on all addresses of this machine.")
        if self.api_key and not _parts(self.api_key):
            raise InvalidInput("api_key holds no key, only commas and spaces; leave it away to serve without one.")
        if any(key != key.strip() or not key.isprintable() for key in self.keys):
            raise InvalidInput("a key begins or ends with a space or holds a control character: no client can send it.")
        if self.clients and len(set(self.keys)) < len(self.keys):
            raise InvalidInput("a key is given twice; give each client one of its own.")

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that clients may show."""
        return (*_parts(self.api_key), *(client.key for client in self.clients))

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins that web pages may call from."""
        return _parts(self.cors)

    @property
    def names(self) -> tuple[str, ...]:
        """Further names of the server."""
        return _parts(self.hosts.lower())

    def shown(self) -> dict[str, Any]:
        """Return all settings as /info tells them, without secrets."""
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        told["clients"] = [asdict(one) | {"key": "set"} for one in self.clients]
        return {name: ("set" if value else "") if name in SECRET else value for name, value in told.items()}


def settings(
    flags: Mapping[str, Any], environment: Mapping[str, str] | None = None, file: Path | None = None
) -> Settings:
    """Put settings together: a flag counts before the environment, that before the file, that before the default.

    Args:
        flags: those that were given; None and () are not.
        environment: of the process, where not given.
        file: a TOML file of settings.

    Raises:
        InvalidInput: a setting is not known, or its value is not possible.
    """
    kinds = get_type_hints(Settings)
    found: dict[str, Any] = {}
    for name, value in _read(file).items():
        if name not in kinds:
            raise InvalidInput(f"{file} sets {name!r}, which is not known. Known: {', '.join(kinds)}.")
        found[name] = _clients(value) if name == "clients" else _typed(name, value, kinds[name], f"{file}")
    variables = os.environ if environment is None else environment
    for variable in variables:  # options have shorter names: --deadline is deadline_s, --no-page is page
        short = variable.removeprefix(PREFIX).lower()
        meant = {f"{short}_s", short.removeprefix("no_")} & kinds.keys() - {short}
        if variable.startswith(PREFIX) and short not in kinds and meant:
            raise InvalidInput(f"{variable} is not known; use {PREFIX}{meant.pop().upper()}.")
    for name, kind in kinds.items():
        given = variables.get(PREFIX + name.upper())
        if given is not None:
            found[name] = _clients(_json(given)) if name == "clients" else _parsed(name, given, kind)
    found |= {name: value for name, value in flags.items() if value is not None and value != ()}
    return Settings(**found)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput(f'{PREFIX}CLIENTS is no JSON; give {{"NAME": {{"key": …}}}}.') from None


def _clients(given: Any) -> tuple[Allowance, ...]:
    """Read names of keys and what they may do; no message repeats a key."""
    kinds: dict[str, type] = get_type_hints(Allowance)
    del kinds["name"]
    if not isinstance(given, dict) or not all(isinstance(one, dict) for one in given.values()):
        raise InvalidInput("clients should be a table for each name, with its key: [clients.NAME].")
    for name, about in given.items():
        if not re.fullmatch(r"[\w.-]{1,64}", name, re.ASCII):
            raise InvalidInput(f"client {name!r} should be named with letters, digits, and . _ -")
        for what, value in about.items():
            if what not in kinds:
                raise InvalidInput(f"client {name} sets {what[:60]!r}, which is not known. Known: {', '.join(kinds)}.")
            if type(value) is not kinds[what] or (isinstance(value, int) and value < 0):
                raise InvalidInput(f"{what} of client {name} should be {'text' if what == 'key' else '0 or more'}.")
        if not about.get("key", "").strip():
            raise InvalidInput(f"client {name} has no key.")
    return tuple(Allowance(name, **about) for name, about in given.items())


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidInput(f"the settings in {file} cannot be read: {error}") from None


_WORDS: Mapping[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _typed(name: str, value: Any, kind: Any, where: str) -> Any:
    if get_args(kind):
        value = tuple([value] if isinstance(value, str) else value) if isinstance(value, str | list) else value
        fits = isinstance(value, tuple) and all(isinstance(one, str) for one in value)
    else:
        value = float(value) if kind is float and type(value) is int else value
        fits = type(value) is kind
    if not fits:
        wanted = "a list of texts" if get_args(kind) else _WORDS[kind]
        raise InvalidInput(f"{name} in {where} is {value!r}, which should be {wanted}.")
    return value


def _parsed(name: str, text: str, kind: Any) -> Any:
    try:
        if get_args(kind):
            return _parts(text)
        if kind is bool:
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError):
        raise InvalidInput(f"{PREFIX}{name.upper()} is {text!r}, which should be {_WORDS[kind]}.") from None

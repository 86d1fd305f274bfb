"""A store in PostgreSQL with pgvector: one table, one transaction a call; HNSW once `optimize` was called.

Vectors are `vector(dim)`, metadata `jsonb`, and words a `tsvector` that we fill ourselves, because PostgreSQL's own
parser takes a Chinese sentence for one word. Needs pgvector 0.8, whose index goes on looking until a filter is met.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import numpy as np

from sentvec.errors import CollectionError, InvalidInput
from sentvec.extras import require
from sentvec.search.checks import id_list
from sentvec.search.filters import Filter
from sentvec.search.types import Entry, Hit
from sentvec.stores import border
from sentvec.stores.address import Address
from sentvec.stores.pg_filters import Bound, condition
from sentvec.stores.protocol import Array, Batch, Caps, Spec
from sentvec.stores.wording import asked_terms, terms

CAPS = Caps(words="ts_rank", text_order=True, exact=True, durable="server", max_dim=16_000)
INDEXED_DIM = 2000  # pgvector's index takes no longer vectors; they are compared one by one
INDEXED_FROM = 10_000  # rows; below, comparing each takes milliseconds
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,47}")
_OLDEST = (0, 8)
_WORDS_BYTES, _WORDS = 900_000, 16_383  # of a tsvector: 1 MB, and the last position that it counts
_TIMEOUT_S = 60
_ASKED = 100  # questions of one statement
_OPERATORS = {"cosine": ("<=>", "1 - ", "vector_cosine_ops"), "inner_product": ("<#>", "-", "vector_ip_ops")}

_TABLE = """CREATE TABLE {table} (
    id text COLLATE "C" PRIMARY KEY, text text NOT NULL, source text, place jsonb NOT NULL, metadata jsonb NOT NULL,
    words tsvector NOT NULL, vector vector({dim}) NOT NULL)"""
_INDEXES = (
    "CREATE INDEX ON {table} USING gin (words)",
    "CREATE INDEX ON {table} USING gin (metadata jsonb_path_ops)",
    "CREATE INDEX ON {table} (md5(source))",
)
_UPSERT = """INSERT INTO {table} (id, text, source, place, metadata, words, vector)
    SELECT i, t, s, CAST(p AS jsonb), CAST(m AS jsonb), CAST(w AS tsvector), CAST(v AS vector)
    FROM unnest(CAST(:i AS text[]), CAST(:t AS text[]), CAST(:s AS text[]), CAST(:p AS text[]), CAST(:m AS text[]),
        CAST(:w AS text[]), CAST(:v AS text[])) AS given (i, t, s, p, m, w, v)
    ON CONFLICT (id) DO UPDATE SET text = excluded.text, source = excluded.source, place = excluded.place,
        metadata = excluded.metadata, words = excluded.words, vector = excluded.vector"""
_ENTRY = "id, text, CAST(place AS text), CAST(metadata AS text)"


class PgStore:
    """See `sentvec.stores.protocol.Store`; made by `open_store`."""

    caps = CAPS

    def __init__(self, address: Address, spec: Spec | None) -> None:
        """Open a table, or make it for a spec where it is not there."""
        self._address, self.url = address, address.shown
        self._turn = threading.RLock()
        self._pg = require("pg8000.native", extra="postgres")
        self._db: Any = None
        name = address.options.get("table", "sentvec")
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"table={name!r}; accepted: up to 48 letters, digits and _, the first no digit.")
        self._table = f'"{name}"'
        self.spec = self._opened(name, spec)

    def _opened(self, name: str, spec: Spec | None) -> Spec:
        with self._transaction():
            self._run("SELECT pg_advisory_xact_lock(hashtext('sentvec'))")  # two that make it at once
            if self._run("SELECT to_regclass(:name)", name=self._table)[0][0] is not None:
                told = self._run("SELECT obj_description(to_regclass(:name))", name=self._table)[0][0]
                return border.agreed(border.held_spec(told, self.url), spec, self.url)
            if spec is None:
                raise border.absent(self.url)
            border.fitting(spec, self.caps, self.url)
            self._run("CREATE EXTENSION IF NOT EXISTS vector")
            self._check_version()
            self._run(_TABLE.format(table=self._table, dim=spec.dim))
            for statement in _INDEXES:
                self._run(statement.format(table=self._table))
            told = border.spec_text(spec).replace("'", "''")
            self._run(f"COMMENT ON TABLE {self._table} IS '{told}'")  # takes no bound values
            return spec

    def _check_version(self) -> None:
        found = self._run("SELECT extversion FROM pg_extension WHERE extname = 'vector'")[0][0]
        if tuple(int(part) for part in found.split(".")[:2]) < _OLDEST:
            raise CollectionError(
                f"{self.url} has pgvector {found}; needed is 0.8 or newer, whose searches go on until a filter is met. "
                "Install it on the server, then run ALTER EXTENSION vector UPDATE."
            )

    # The connection ---------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Do all that is inside or none of it; a connection that has failed is made anew by the next call."""
        gone = (self._pg.InterfaceError, OSError)
        with self._turn, border.answering(self.url, gone, (self._pg.DatabaseError,)):
            try:
                if self._db is None:
                    self._db = self._connect()
                self._run("BEGIN")
                yield
                self._run("COMMIT")
            except (*gone, self._pg.DatabaseError) as error:
                self._drop()
                told = self._told(error)
                if told.get("C", "").startswith("57P"):  # the server is shutting down, or starting
                    raise border.unavailable(self.url, OSError(told.get("M", ""))) from error
                if told:
                    raise CollectionError(f"{self.url} refused: {told.get('M', told)}") from error
                raise
            except BaseException:
                self._drop()
                raise

    def _told(self, error: BaseException | None) -> dict[str, str]:
        """Return what the server itself said; where it hangs up as well, the client raises only that."""
        while error is not None:
            if isinstance(error, self._pg.DatabaseError) and error.args and isinstance(error.args[0], dict):
                return error.args[0]
            error = error.__cause__ or error.__context__
        return {}

    def _connect(self) -> Any:
        where = self._address
        socket = {"unix_sock": where.options["socket"]} if "socket" in where.options else {}
        db = self._pg.Connection(
            where.user or "postgres",
            host=where.host or "localhost",
            port=where.port or 5432,
            database=where.path or "postgres",
            password=where.password,
            ssl_context=ssl.create_default_context() if where.options.get("ssl") == "true" else None,
            timeout=_TIMEOUT_S,
            application_name="sentvec",
            **socket,
        )
        db.run("SET hnsw.ef_search = 100")
        db.run("SET hnsw.iterative_scan = strict_order")
        return db

    def _drop(self) -> None:
        if self._db is not None:
            with suppress(Exception):  # it may be gone already
                self._db.close()
            self._db = None

    def _run(self, sql: str, **values: Any) -> Any:
        return self._db.run(sql, **values)

    def close(self) -> None:
        """Let go of the server."""
        with self._turn:
            self._drop()

    # Writing ----------------------------------------------------------------------------------------

    def upsert(self, batch: Batch) -> int:
        """Store passages; see the protocol."""
        metadata = border.checked(batch, self.spec, self.caps)
        if not batch.entries:
            return 0
        columns = {
            "i": [entry.id for entry in batch.entries],
            "t": [entry.text for entry in batch.entries],
            "s": [entry.source for entry in batch.entries],
            "p": [json.dumps(border.place_of(entry)) for entry in batch.entries],
            "m": metadata,
            "w": [_words(entry.text) for entry in batch.entries],
            "v": [_vector(row) for row in batch.vectors],
        }
        with self._transaction():
            self._run(_UPSERT.format(table=self._table), **columns)
        return len(batch.entries)

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Delete by ids or by a filter; see the protocol."""
        names, found = border.asked_ids(ids, where)
        bound = Bound()
        test = f"id = ANY(CAST({bound.add(names)} AS text[]))" if found is None else condition(found, "metadata", bound)
        with self._transaction():
            self._run(f"DELETE FROM {self._table} WHERE {test}", **bound.values)  # noqa: S608, our own text
            return int(self._db.row_count)

    def optimize(self) -> None:
        """Build the HNSW index where there are many rows, and let PostgreSQL look at the table."""
        with self._transaction():
            rows = self._run(f"SELECT count(*) FROM {self._table}")[0][0]  # noqa: S608, ours
            if rows >= INDEXED_FROM and self.spec.dim <= INDEXED_DIM:
                kind = _OPERATORS[self.spec.metric][2]
                index = f'"{self._table.strip(chr(34))}_hnsw"'
                self._run(f"CREATE INDEX IF NOT EXISTS {index} ON {self._table} USING hnsw (vector {kind})")
            self._run(f"ANALYZE {self._table}")

    # Reading ----------------------------------------------------------------------------------------

    def get(self, ids: Sequence[str]) -> Batch:
        """Return what is stored under ids; see the protocol."""
        names = id_list(ids)
        with self._transaction():
            rows = self._run(
                # S608: the names are our own, values are bound
                f"SELECT {_ENTRY}, CAST(vector AS text) FROM {self._table} WHERE id = ANY(CAST(:i AS text[]))",  # noqa: S608
                i=names,
            )
        found = {row[0]: row for row in rows}
        return self._batch([found[id_] for id_ in dict.fromkeys(names) if id_ in found])

    def search(
        self, vector: Array, k: int = 10, *, where: Mapping[str, Any] | None = None, exact: bool = False
    ) -> list[Hit]:
        """Find the nearest; see the protocol."""
        return self.search_many(border.one_question(vector, self.spec), k, where=where, exact=exact)[0]

    def search_many(
        self, vectors: Array, k: int = 10, *, where: Mapping[str, Any] | None = None, exact: bool = False
    ) -> list[list[Hit]]:
        """Find the nearest to each of many; see the protocol."""
        found = border.asked_vectors(vectors, k, where, self.spec, self.caps, exact=exact)
        hits: list[list[Hit]] = []
        for part in border.in_parts(vectors, _ASKED):
            near = self._nearest(part, k, found, exact=exact)
            short = [n for n, one in enumerate(near) if len(one) < k]
            if short and found is not None and not exact:  # the index gave up before the filter was met
                for n, one in zip(short, self._nearest(part[short], k, found, exact=True), strict=True):
                    near[n] = one
            hits += near
        return hits

    def _nearest(self, vectors: Array, k: int, found: Filter | None, *, exact: bool) -> list[list[Hit]]:
        operator, sign, _ = _OPERATORS[self.spec.metric]
        bound = Bound()
        test = "true" if found is None else condition(found, "metadata", bound)
        near = (
            f"SELECT {_ENTRY}, vector {operator} asked.v FROM {self._table} "  # noqa: S608, our own text
            f"WHERE {test} ORDER BY vector {operator} asked.v LIMIT :k"
        )
        with self._transaction():
            if exact:
                self._run("SET LOCAL enable_indexscan = off")
            rows = self._run(
                f"SELECT near.id, text, place, metadata, {sign}(distance), n "  # noqa: S608, our own text
                "FROM unnest(CAST(:q AS vector[])) WITH ORDINALITY AS asked (v, n) "
                f"CROSS JOIN LATERAL ({near}) AS near (id, text, place, metadata, distance) ORDER BY n, distance",
                q=[_vector(vector) for vector in vectors],
                k=k,
                **bound.values,
            )
        hits: list[list[Hit]] = [[] for _ in vectors]
        for row in rows:
            hits[row[5] - 1].append(_hit(row))
        return hits

    def search_text(self, words: str, k: int = 10, *, where: Mapping[str, Any] | None = None) -> list[Hit]:
        """Find what has the words of a question, by PostgreSQL's ts_rank; see the protocol."""
        found = border.asked(k, where, self.caps)
        query = " | ".join(
            _quoted(word) + ":*" * (len(word) == 1 and not word.isascii())
            for word in asked_terms(border.asked_words(words, self.caps, self.url))
        )
        if not query:
            return []
        bound = Bound()
        test = "true" if found is None else condition(found, "metadata", bound)
        with self._transaction():
            rows = self._run(
                # S608: the names are our own, values are bound
                f"SELECT {_ENTRY}, ts_rank(words, CAST(:w AS tsquery), 1) AS score FROM {self._table} "  # noqa: S608
                f"WHERE words @@ CAST(:w AS tsquery) AND {test} ORDER BY score DESC, id LIMIT :k",
                w=query,
                k=k,
                **bound.values,
            )
        return [_hit(row) for row in rows]

    def ids_of_source(self, source: str) -> list[str]:
        """Return the ids of what came from a file."""
        with self._transaction():
            rows = self._run(
                # S608: the names are our own, values are bound
                f"SELECT id FROM {self._table} WHERE md5(source) = md5(CAST(:s AS text)) AND source = :s",  # noqa: S608
                s=source,
            )
        return [row[0] for row in rows]

    def scan(self, many: int = 256) -> Iterator[Batch]:
        """Give everything, by id."""
        last, many = "", border.counted(many, "many")
        while True:
            with self._transaction():
                rows = self._run(
                    f"SELECT {_ENTRY}, CAST(vector AS text) FROM {self._table} WHERE id > :last "  # noqa: S608, ours
                    "ORDER BY id LIMIT :many",
                    last=last,
                    many=many,
                )
            if not rows:
                return
            yield self._batch(rows)
            last = rows[-1][0]

    def count(self) -> int:
        """Return how many passages there are."""
        with self._transaction():
            return int(self._run(f"SELECT count(*) FROM {self._table}")[0][0])  # noqa: S608, ours

    def _batch(self, rows: Sequence[Sequence[Any]]) -> Batch:
        vectors = np.array([json.loads(row[4]) for row in rows], dtype=np.float32).reshape(-1, self.spec.dim)
        return Batch(tuple(map(_entry, rows)), vectors)

    def __enter__(self) -> PgStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _entry(row: Sequence[Any]) -> Entry:
    return border.entry_of(row[0], row[1], json.loads(row[2]), json.loads(row[3]))


def _hit(row: Sequence[Any]) -> Hit:
    return border.hit(_entry(row), float(row[4]))


def _vector(row: Array) -> str:
    return json.dumps(row.astype(np.float64).tolist())


def _quoted(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


def _words(text: str) -> str:
    """Return a text's words as PostgreSQL writes a tsvector, as many as one may hold."""
    places: dict[str, list[str]] = {}
    left = _WORDS_BYTES
    for place, word in enumerate(terms(text)[:_WORDS], 1):
        left -= len(word.encode()) + 16
        if left < 0:
            break
        places.setdefault(word, []).append(str(place))
    return " ".join(f"{_quoted(word)}:{','.join(at)}" for word, at in places.items())

"""Bodies against their descriptions; settings from three places; numbers as text."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentvec.errors import InvalidInput
from sentvec.serve import floats
from sentvec.serve.floats import numbers
from sentvec.serve.http import BIG, read_json
from sentvec.serve.metrics import Histogram
from sentvec.serve.places import Place
from sentvec.serve.refusals import Refused
from sentvec.serve.schema import check, one_of, optional, record, texts
from sentvec.serve.settings import Settings, settings

BODY = record(
    ("texts",),
    texts=texts(3),
    count=optional({"type": "integer", "minimum": 1, "maximum": 9}, 4),
    kind=optional({"type": "string", "enum": ["a", "b"]}),
    both=optional(one_of({"type": "string"}, {"type": "array", "items": {"type": "integer"}})),
)


def test_defaults_are_filled_in_and_other_fields_stay() -> None:
    found = check({"texts": ["x"], "count": None, "more": 1}, BODY)
    assert found == {"texts": ["x"], "count": 4, "kind": None, "both": None, "more": 1}


@pytest.mark.parametrize(
    ("body", "said", "kind"),
    [
        ([], "the body is a list of 0; accepted: an object", "malformed"),
        ({}, "texts is missing; accepted: a list of a string (3 at most)", "malformed"),
        ({"texts": []}, "`texts` cannot be empty", "empty"),
        ({"texts": ["a"] * 4}, "texts is a list of 4", "malformed"),
        ({"texts": ["a", 1]}, "texts[1] is 1; accepted: a string", "malformed"),
        ({"texts": ["a"], "count": 0}, "from 1 to 9", "malformed"),
        ({"texts": ["a"], "count": 1.0}, "count is 1.0", "malformed"),
        ({"texts": ["a"], "count": True}, "count is true", "malformed"),
        ({"texts": ["a"], "count": 10**400}, "a huge number", "malformed"),
        ({"texts": ["a"], "kind": "c"}, '"a", "b"', "malformed"),
        ({"texts": ["a"], "both": [1, "b"]}, 'both[1] is "b"; accepted: a whole number', "malformed"),
        ({"texts": ["a"], "both": {}}, "a string or a list of a whole number", "malformed"),
    ],
)
def test_what_is_odd_is_named(body: Any, said: str, kind: str) -> None:
    with pytest.raises(Refused) as refused:
        check(body, BODY)
    assert said in refused.value.message
    assert refused.value.kind == kind


def test_a_flag_counts_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text('model = "file"\nport = 1\nhost = "file"\nreceive_s = 3\ntask = ["ner=a"]\n')
    found = settings({"model": "flag", "port": None, "task": ()}, {"SENTVEC_PORT": "2", "SENTVEC_CORS": "x, y"}, file)
    assert (found.model, found.port, found.host, found.receive_s, found.task) == ("flag", 2, "file", 3.0, ("ner=a",))
    assert found.origins == ("x", "y")


@pytest.mark.parametrize(
    ("environment", "content", "said"),
    [
        ({"SENTVEC_PORT": "x"}, "", "SENTVEC_PORT is 'x'"),
        ({"SENTVEC_PORT": "x"}, "", "which should be a whole number"),
        ({"SENTVEC_TRUNCATE": "maybe"}, "", "SENTVEC_TRUNCATE"),
        ({}, "prot = 1", "'prot', which is not known"),
        ({}, "port = true", "port in"),
        ({}, "port =", "cannot be read"),
        ({"SENTVEC_PORT": "70000"}, "", "0 to 65535"),
        ({"SENTVEC_MAX_TEXTS": "0"}, "", "1 or more"),
        ({"SENTVEC_RECEIVE_S": "nan"}, "", "above 0"),
        ({"SENTVEC_TASK": "ner"}, "", "TASK=MODEL"),
    ],
)
def test_settings_that_cannot_be(environment: dict[str, str], content: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(content)
    with pytest.raises(InvalidInput) as refused:
        settings({}, environment, file)
    assert said in str(refused.value)


def test_a_key_is_never_shown() -> None:
    assert "secret" not in str(Settings(api_key="secret").shown())


@pytest.mark.parametrize("plain", [False, True])
def test_numbers_read_back_as_the_same_float32(plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    write = floats._plain if plain else numbers
    bits = np.random.default_rng(1).integers(0, 1 << 32, 100_000, dtype=np.uint32).view(np.float32)
    bits = bits[np.isfinite(bits)]
    read = np.array([float(part) for part in write(bits).split(b",")]).astype(np.float32)
    assert np.array_equal(read.view(np.uint32), bits.view(np.uint32))


def test_a_histogram_counts_what_is_at_or_below() -> None:
    spread = Histogram("h", "about", (1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9):
        spread.add(value)
    assert spread.lines() == [
        'h_bucket{le="1"} 2', 'h_bucket{le="2"} 3', 'h_bucket{le="+Inf"} 4', "h_sum 12", "h_count 4",
    ]  # fmt: skip


@pytest.mark.parametrize(("count", "aside"), [(10, False), (BIG, True)])
def test_large_bodies_are_checked_aside(count: int, aside: bool) -> None:
    seen = set()

    class Watched(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            seen.add(threading.current_thread())
            return super().get(key, default)

    async def work() -> Any:
        schema = Watched(type="array", items={"type": "array"})
        return await read_json(b"[%s]" % b",".join([b"[]"] * count), schema, Place("bodies", 1, 60), lambda: False)

    found = asyncio.run(work())
    assert (len(found), threading.main_thread() not in seen) == (count, aside)

"""The OpenAPI document, believed: what schemathesis makes of it must be answered as it says, and never with a 5xx."""

from __future__ import annotations

import json
import logging
import random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.serve.conftest import KEY
from tests.serve.running import Running

schemathesis = pytest.importorskip("schemathesis")
ONLINE = {"authorization": f"Bearer {KEY}"}
ROUNDS = 6  # of each operation


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_schemathesis_finds_nothing(strict: Running) -> None:
    logging.getLogger("hypothesis").setLevel(logging.ERROR)
    schema = schemathesis.openapi.from_dict(strict.get("/openapi.json", **ONLINE).json)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        if operation.path in ("/documents",):  # every run would change what the next one finds
            continue

        @settings(
            max_examples=ROUNDS,
            deadline=None,
            database=None,
            derandomize=True,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def one(case) -> None:
            answer = case.call(base_url=strict.url, headers=ONLINE)
            assert answer.status_code < 500, (case.path, case.body, answer.text)
            case.validate_response(
                answer,
                checks=(
                    schemathesis.checks.not_a_server_error,
                    schemathesis.checks.CHECKS.get_one("response_schema_conformance"),
                ),
            )

        one()
    assert strict.get("/health").status == 200


def test_keys_and_all_that_is_refused_are_in_it(strict: Running) -> None:
    told = strict.get("/openapi.json", **ONLINE).json
    scheme = told["components"]["securitySchemes"]["key"]
    assert (scheme["type"], scheme["scheme"], told["security"]) == ("http", "bearer", [{"key": []}])
    free = {
        path for path, methods in told["paths"].items() if any(one.get("security") == [] for one in methods.values())
    }
    assert free == {path for path in told["paths"] if strict.get(path).status == 200}
    assert {"401", "421", "429", "500", "503"} <= told["paths"]["/embed"]["post"]["responses"].keys()


@settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["/embed", "/v1/embeddings", "/encode", "/rerank", "/predict", "/tokenize", "/decode", "/search"]),
    st.dictionaries(
        st.sampled_from(["input", "inputs", "texts", "query", "ids", "model", "dimensions", "k", "is_tokenized"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=8,
        ),
        max_size=4,
    ),
)
def test_any_json_is_answered(strict: Running, path: str, body: dict) -> None:
    answer = strict.post(path, json.dumps(body).encode("utf-8", "surrogatepass"), **ONLINE)
    assert answer.status < 500, (path, body, answer.content)
    answer.json  # noqa: B018 - what is told is JSON


def test_any_bytes_are_answered(strict: Running) -> None:
    draw = random.Random(0)
    good = json.dumps({"inputs": ["the cat", "a dog"], "normalize": True, "dimensions": 3}).encode()
    for _ in range(150):
        broken = bytearray(good)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(broken))
            broken[at : at + draw.randint(0, 2)] = bytes(draw.choices(range(256), k=draw.randint(0, 2)))
        assert strict.post("/embed", bytes(broken), **ONLINE).status in (200, 400, 422)

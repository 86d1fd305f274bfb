"""Spans of requests, as a collector gets them over OTLP/HTTP; and that nothing of it is loaded by itself."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.serve.running import serving

from sentvec.errors import MissingExtra
from sentvec.serve.tracing import Spans

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Run what takes spans; its address, and the spans that came."""
    proto = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="needs extra otel")
    found: list[Any] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            for resource in proto.ExportTraceServiceRequest.FromString(body).resource_spans:
                facts = {one.key: one.value.string_value for one in resource.resource.attributes}
                found.extend((facts["service.name"], span) for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_spans(tiny: Path) -> None:
    with collector() as (url, found):
        where = {"SENTVEC_OTEL": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": url}
        with serving(tiny, "--processes", "1", env=where) as running:
            sent = f"00-{TRACE}-{PARENT}-01"
            assert running.post("/embed", {"inputs": ["the secretcat", "sat"]}, traceparent=sent).status == 200
            assert running.post("/embed", {"inputs": "the"}, traceparent=sent[:-1] + "0").status == 200  # not sampled
            assert running.post("/embed", {"inputs": ""}, traceparent="nonsense").status == 400
            assert running.get("/nothing").status == 404
            assert running.end() == 0  # what is left is sent
    assert {name for name, _ in found} == {"sentvec"}
    spans = {span.name: span for _, span in found if span.trace_id.hex() == TRACE}
    assert sorted(spans) == ["POST /embed", "encode", "queue", "tokenise"]
    whole = spans.pop("POST /embed")
    assert whole.parent_span_id.hex() == PARENT
    facts = {one.key: one.value for one in whole.attributes}
    assert (facts["http.route"].string_value, facts["http.response.status_code"].int_value) == ("/embed", 200)
    assert facts["sentvec.texts"].int_value == 2
    steps = [spans[name] for name in ("tokenise", "queue", "encode")]
    assert {step.parent_span_id for step in steps} == {whole.span_id}
    times = [moment for step in steps for moment in (step.start_time_unix_nano, step.end_time_unix_nano)]
    assert [whole.start_time_unix_nano, *times, whole.end_time_unix_nano] == sorted(
        [whole.start_time_unix_nano, *times, whole.end_time_unix_nano]
    )
    others = [span for _, span in found if span.trace_id.hex() != TRACE]
    assert sorted(span.name for span in others) == ["GET other", "POST /embed"]
    assert "secretcat" not in str(found)


def test_nothing_is_loaded_by_itself() -> None:
    code = "import sys, sentvec.serve.server; print([name for name in sys.modules if name.startswith('opentel')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(MissingExtra, match=r'pip install "sentvec\[otel\]"'):
        Spans()

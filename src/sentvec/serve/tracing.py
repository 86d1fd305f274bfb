"""Answered requests in, OpenTelemetry spans out: of the request, its tokenising, its wait in the queue, its encoding.

Where they go and which are kept say the variables OTEL_… that all of OpenTelemetry reads. A client's `traceparent` (W3C
Trace Context) is the parent. Spans hold no texts. Without the extra `otel` nothing of it is imported.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from sentvec import __version__
from sentvec.errors import MissingExtra
from sentvec.extras import require
from sentvec.serve.service import Asked

PARENT = ("traceparent", "tracestate")


class Spans:
    """What makes spans of requests that were answered, and sends them in a thread of its own.

    Raises:
        MissingExtra: the extra `otel` is not installed.
    """

    def __init__(self) -> None:
        try:
            sdk: Any = require("opentelemetry.sdk.trace", extra="otel")
            export: Any = require("opentelemetry.sdk.trace.export", extra="otel")
            otlp: Any = require("opentelemetry.exporter.otlp.proto.http.trace_exporter", extra="otel")
            resources: Any = require("opentelemetry.sdk.resources", extra="otel")
        except ModuleNotFoundError as error:  # other packages bring a part of it
            raise MissingExtra(
                f'This needs {error.name}, which is not installed. Install it with: pip install "sentvec[otel]"'
            ) from None
        self._api: Any = require("opentelemetry.trace", extra="otel")
        context: Any = require("opentelemetry.trace.propagation.tracecontext", extra="otel")
        self._parents = context.TraceContextTextMapPropagator()
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "sentvec"}
        self._provider = sdk.TracerProvider(resource=resources.Resource.create(named))
        self._provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("sentvec", __version__)

    def tell(self, headers: Mapping[bytes, bytes], method: str, route: str, status: int, asked: Asked) -> None:
        """Make the spans of a request that ends now."""
        ahead = time.time_ns() - time.monotonic_ns()  # from the monotonic clock to the day's

        def at(seconds: float) -> int:
            return int(seconds * 1e9) + ahead

        sent = {name: headers[name.encode()].decode("latin-1") for name in PARENT if name.encode() in headers}
        facts = {"http.request.method": method, "http.route": route, "http.response.status_code": status}
        if asked.texts:
            facts |= {"sentvec.texts": asked.texts, "sentvec.tokens": asked.tokens, "sentvec.model": asked.now.name}
        span = self._tracer.start_span(
            f"{method} {route}",
            context=self._parents.extract(sent),
            kind=self._api.SpanKind.SERVER,
            attributes=facts,
            start_time=at(asked.begun),
        )
        if status >= 500:
            span.set_status(self._api.StatusCode.ERROR)
        inside = self._api.set_span_in_context(span)
        for name, begun, ended in asked.steps:
            self._tracer.start_span(name, context=inside, start_time=at(begun)).end(at(ended))
        span.end()

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

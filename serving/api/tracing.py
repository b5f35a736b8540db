"""Traces of requests and their stages, for OpenTelemetry; none unless the settings name where they go.

A span says which route, which status and which stage, and nothing of who sells what: neither path, query nor headers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from pipelines.settings import Observability

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

EXPORT_SECONDS = 5
"""How long one delivery of spans may take; they wait beside the requests, which never wait for it."""

Headers = Iterable[tuple[bytes, bytes]]

CARRIED = (b"traceparent", b"tracestate")
"""Headers of W3C Trace Context. Baggage is not read: its sender decides what is in it."""


class Span(Protocol):
    """An open span. It is the current one of its task until it is closed."""

    def close(
        self, *, failed: bool, name: str | None = None, attributes: Mapping[str, str | int] | None = None
    ) -> None: ...


class Tracing(Protocol):
    """Opens spans. None instead of a span: this request is not traced."""

    def open_request(self, headers: Headers) -> Span | None:
        """A span for a request; it continues the trace that its headers name (``CARRIED``). They come as ASGI has
        them: pairs of bytes, names in lower case."""
        ...

    def open_stage(self, name: str) -> Span | None:
        """A span below the current one."""
        ...

    def close(self) -> None:
        """Deliver what waits, and stop."""
        ...


class _NoTracing:
    def open_request(self, headers: Headers) -> Span | None:
        return None

    def open_stage(self, name: str) -> Span | None:
        return None

    def close(self) -> None:
        return None


NO_TRACING: Tracing = _NoTracing()


def tracing_of(settings: Observability) -> Tracing:
    """Tracing as the settings ask for it. Nothing is loaded and no thread runs without an endpoint."""
    if not settings.otlp_endpoint:
        return NO_TRACING
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint, timeout=EXPORT_SECONDS)
    return SpanTracing(exporter, share=settings.trace_share)


class SpanTracing:
    """Spans for a ``share`` of the requests, delivered in batches by a thread of their own. A caller who traces its
    request decides for it instead: what it sampled is traced, what it did not is not."""

    def __init__(self, exporter: SpanExporter, *, share: float) -> None:
        from opentelemetry import context, trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._context, self._trace = context, trace
        self._carrier = TraceContextTextMapPropagator()
        resource = Resource.create({"service.name": "huika", "service.instance.id": str(os.getpid())})
        self._provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(share)), resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("huika")

    def open_request(self, headers: Headers) -> Span | None:
        carried = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name in CARRIED
        }
        parent = self._carrier.extract(carried, context=self._context.Context())
        span = self._tracer.start_span("request", context=parent, kind=self._trace.SpanKind.SERVER)
        return _OpenSpan(self, span)

    def open_stage(self, name: str) -> Span | None:
        if not self._trace.get_current_span().is_recording():
            return None
        return _OpenSpan(self, self._tracer.start_span(f"stage {name}"))

    def close(self) -> None:
        self._provider.shutdown()


class _OpenSpan:
    """A span made the current one of its task."""

    __slots__ = ("_span", "_token", "_tracing")

    def __init__(self, tracing: SpanTracing, span: object) -> None:
        self._tracing = tracing
        self._span = span
        self._token = tracing._context.attach(tracing._trace.set_span_in_context(span))

    def close(
        self, *, failed: bool, name: str | None = None, attributes: Mapping[str, str | int] | None = None
    ) -> None:
        self._tracing._context.detach(self._token)
        if name is not None:
            self._span.update_name(name)
        self._span.set_attributes(attributes or {})
        if failed:
            self._span.set_status(self._tracing._trace.StatusCode.ERROR)
        self._span.end()

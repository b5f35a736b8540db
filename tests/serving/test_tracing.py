"""Traces: a request and its stages, the caller's trace continued, nothing personal, nothing at all unless asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pipelines.settings import Observability
from serving.api.metrics import Metrics
from serving.api.observing import Observing
from serving.api.tracing import NO_TRACING, SpanTracing, tracing_of

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def app_of(tracing) -> Starlette:
    """An app with one route, which has a stage and can fail."""
    metrics = Metrics(category_of=str, tracing=tracing)

    async def sell(request):
        with metrics.stage("read"):
            if request.query_params.get("fail"):
                raise RuntimeError("secret-in-error")
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/sellers/{seller}", sell)])
    app.add_middleware(Observing)
    app.state.metrics = metrics
    return app


def spans_of(path: str, *, share: float = 1.0, headers: dict[str, str] | None = None) -> list[ReadableSpan]:
    """What a request leaves behind, the stages before the request."""
    exporter = InMemorySpanExporter()
    tracing = SpanTracing(exporter, share=share)
    client = TestClient(app_of(tracing), raise_server_exceptions=False)
    client.get(path, headers=headers)
    tracing.close()
    return list(exporter.get_finished_spans())


def test_a_request_has_a_span_and_its_stages_hang_below_it():
    """One trace: the request with its status, and the stage as its child."""
    stage, request = spans_of("/sellers/s-1")
    assert (stage.name, stage.parent.span_id) == ("stage read", request.context.span_id)
    assert request.kind == SpanKind.SERVER
    assert request.parent is None
    assert request.attributes["http.request.method"] == "GET"
    assert request.attributes["http.response.status_code"] == 200


def test_the_callers_trace_is_continued():
    """W3C traceparent: the same trace, below the caller's span, and the caller decides whether it is sampled."""
    sampled = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    _, request = spans_of("/sellers/s-1", share=0.0, headers=sampled)
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == PARENT
    assert spans_of("/sellers/s-1", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"}) == []
    assert spans_of("/sellers/s-1", share=0.0) == []


def test_a_broken_traceparent_begins_a_trace_of_its_own():
    """What is no trace context is passed over."""
    _, request = spans_of("/sellers/s-1", headers={"traceparent": "00-nonsense"})
    assert request.parent is None


def test_nothing_of_the_request_itself_is_in_a_span():
    """Neither path, query, headers, address nor the text of an error leaves with a trace."""
    headers = {"X-Seller": "marker-header", "baggage": "seller=marker-baggage", "Authorization": "marker-key"}
    spans = spans_of("/sellers/marker-seller?fail=marker-query", headers=headers)
    said = " ".join(span.to_json() for span in spans)
    assert "marker" not in said
    assert "secret-in-error" not in said
    assert "testclient" not in said
    assert [span.status.status_code for span in spans] == [StatusCode.ERROR, StatusCode.ERROR]


def test_without_an_endpoint_nothing_is_traced():
    """The default: no exporter, no thread, and a request opens no span."""
    before = threading.active_count()
    tracing = tracing_of(Observability())
    assert tracing is NO_TRACING
    assert tracing.open_request([(b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())]) is None
    assert tracing.open_stage("read") is None
    assert threading.active_count() == before


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A place that takes spans: its address, and what came."""
    came: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", came
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans_reach_the_endpoint_of_the_settings(collector):
    """What the settings name gets the spans by OTLP over HTTP, at the latest when the service ends."""
    endpoint, came = collector
    tracing = tracing_of(Observability(otlp_endpoint=endpoint, trace_share=1.0))
    TestClient(app_of(tracing)).get("/sellers/s-1")
    tracing.close()
    assert b"stage read" in b"".join(came)
    assert b"huika" in b"".join(came)

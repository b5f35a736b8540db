"""What the service counts and measures: bounded, without ids, added up over processes, and explained."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from features.events import Observed
from serving.api.freshness import Freshness
from serving.api.metrics import Metrics
from serving.api.observing import Observing

DOCS = Path(__file__).parents[2] / "docs"
QUOTE = {
    "card_type": "jd_ecard",
    "decision": "pay",
    "no_offer": False,
    "degraded": [],
    "rate": 0.93,
    "fraud_probability": 0.02,
}


@pytest.fixture(autouse=True)
def _in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test counts from nothing, also where a library has set up files for several processes."""
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(category_of=lambda card_type: "ecommerce", clock=lambda: 1_000.0)


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels, sorted by the labels' names."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_quote_is_counted_by_decision_category_and_degraded(metrics):
    """Quotes count by what was decided; one that offers nothing counts as that unless it was refused."""
    metrics.quoted(QUOTE)
    metrics.quoted(QUOTE | {"no_offer": True})
    metrics.quoted(QUOTE | {"no_offer": True, "decision": "refuse", "degraded": ["fraud_model_missing"]})
    found = samples(metrics)
    assert found["huika_quotes_total", "ecommerce", "pay", "no"] == 1
    assert found["huika_quotes_total", "ecommerce", "no_offer", "no"] == 1
    assert found["huika_quotes_total", "ecommerce", "refuse", "yes"] == 1
    assert found["huika_degraded_total", "fraud_model_missing"] == 1
    assert found["huika_rate_count", "ecommerce"] == 3
    assert found["huika_rate_bucket", "ecommerce", "0.93"] == 3
    assert found["huika_rate_bucket", "ecommerce", "0.92"] == 0


def test_a_score_without_a_probability_is_counted_without_one(metrics):
    """Where no model gave a probability, the score counts and the distribution does not."""
    metrics.scored({"decision": "review", "degraded": ["fraud_model_missing"], "fraud_probability": None})
    metrics.scored({"decision": "pay", "degraded": [], "fraud_probability": 0.004})
    found = samples(metrics)
    assert found["huika_scores_total", "review", "yes"] == 1
    assert found["huika_fraud_probability_count", "score"] == 1


def test_stages_batches_events_and_problems(metrics):
    """Each has its own series; a stage is measured also when it fails."""
    with metrics.stage("read"):
        pass
    with pytest.raises(ValueError, match="failed"), metrics.stage("models"):
        raise ValueError("failed")
    metrics.batch(16)
    metrics.event("accepted", "recorded")
    metrics.problem("unknown_card_type")
    found = samples(metrics)
    assert found["huika_stage_seconds_count", "read"] == found["huika_stage_seconds_count", "models"] == 1
    assert found["huika_batch_size_sum",] == 16
    assert found["huika_events_total", "accepted", "recorded"] == 1
    assert found["huika_problems_total", "unknown_card_type"] == 1


def test_freshness_is_kept_as_a_moment(metrics):
    """An age is told as the moment it began, so that it grows while nothing is heard."""
    metrics.freshness(30.0, waiting=4)
    found = samples(metrics)
    assert found["huika_live_newest_timestamp_seconds",] == 970.0
    assert found["huika_live_waiting_records",] == 4


def test_only_the_version_that_answers_is_one(metrics):
    """After other models took over, the former version's series is 0."""
    metrics.models(discount="1", fraud=None)
    metrics.models(discount="2", fraud="1")
    found = samples(metrics)
    assert found["huika_model", "discount", "1"] == 0
    assert found["huika_model", "discount", "2"] == 1
    assert found["huika_model", "fraud", "none"] == 0


def test_requests_are_labelled_by_template_and_nothing_of_a_request_is_kept(client):
    """Neither a quote's id, a seller, a trade nor an unknown path becomes a label."""
    body = {
        "trade_id": "marker-trade",
        "card": {"card_type": "jd_ecard", "face_value": {"amount_fen": 50_000}},
        "seller": {"seller_id": "marker-seller"},
    }
    quote_id = client.post("/v1/quotes", json=body).json()["quote_id"]
    client.get(f"/v1/quotes/{quote_id}")
    client.get("/v1/quotes/marker-quote")
    client.get("/v1/marker-path")
    client.request("MARKER-METHOD", "/v1/prices")
    text = client.get("/metrics").text
    assert 'huika_http_seconds_count{method="GET",route="/v1/quotes/{quote_id}",status="200"} 1.0' in text
    assert 'huika_problems_total{code="quote_not_found"} 1.0' in text
    assert 'route="other",status="404"' in text
    assert quote_id not in text
    assert "marker" not in text.lower()


def test_freshness_is_of_the_newest_record_that_the_state_has_taken(client, desk, clock, metrics):
    """After an event its age counts from when it became known; what is in the log and not in the state waits."""
    body = {
        "kind": "market_observed",
        "event_id": "e-1",
        "card_type": "jd_ecard",
        "source": "somebody",
        "side": "competitor_bid",
        "rate": 0.9,
    }
    assert client.post("/v1/events", json=body).status_code == 200
    clock.forward(seconds=40)
    freshness = Freshness(live_log=desk.log, metrics=metrics, clock=clock)
    freshness.look()
    found = samples(metrics)
    assert found["huika_live_newest_timestamp_seconds",] == 1_000.0 - 40.0
    assert found["huika_live_waiting_records",] == 0
    with desk.data.transaction() as connection:
        event = Observed("jd_ecard", "somebody", "competitor_bid", 0.91, clock.now)
        desk.log.append(connection, event, once="waits")
    freshness.look()
    assert samples(metrics)["huika_live_waiting_records",] == 1


def test_an_unexpected_error_is_counted_as_a_500(metrics):
    """A handler that raises is counted with the status of the answer that is made of it."""

    async def fail(request):
        raise RuntimeError("nobody expected this")

    app = Starlette(routes=[Route("/fail/{what}", fail)])
    app.add_middleware(Observing)
    app.state.metrics = metrics
    assert TestClient(app, raise_server_exceptions=False).get("/fail/now").status_code == 500
    found = samples(metrics)
    assert found["huika_problems_total", "internal_error"] == 1
    assert sum(value for key, value in found.items() if key[0] == "huika_http_seconds_count") == 1


def test_processes_add_up(tmp_path):
    """What two processes counted is one sum, also after both have ended, and libraries' metrics stay out."""
    counting = (
        "import prometheus_client\n"
        "from serving.api.metrics import Metrics\n"
        "metrics = Metrics(category_of=str)\n"
        "prometheus_client.Counter('feast_things', 'of a library').inc()\n"
        "metrics.event('accepted', 'recorded')\n"
        "metrics.models(discount='1', fraud='2')\n"
        "metrics.request(method='GET', route='/v1/prices', status=200, seconds=0.01)\n"
        "print(metrics.text().decode())\n"
    )
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(2):
        text = subprocess.run(
            [sys.executable, "-c", counting], env=environment, capture_output=True, text=True, check=True
        ).stdout
    assert 'huika_events_total{kind="accepted",status="recorded"} 2.0' in text
    assert 'huika_http_seconds_count{method="GET",route="/v1/prices",status="200"} 2.0' in text
    assert 'huika_model{model="discount",version="1"} 1.0' in text
    assert "feast" not in text


def test_every_metric_of_the_dashboard_and_the_alerts_exists_and_is_explained(metrics):
    """A name in the dashboard or in an alert is one the service has, and every one it has stands in the document."""
    had = set(re.findall(r"^# TYPE (\S+) ", metrics.text().decode(), flags=re.M))
    had = {name for name in had if not name.endswith("_created")}
    explained = (DOCS / "observability.md").read_text(encoding="utf-8")
    assert {name for name in had if f"`{name}`" not in explained} == set()
    for name, expressions in {"dashboard": dashboard_queries(), "alerts": alert_queries()}.items():
        assert expressions
        asked = set(re.findall(r"huika_\w+", " ".join(expressions)))
        known = {metric + end for metric in had for end in ("", "_bucket", "_count", "_sum")}
        assert asked - known == set(), name


def test_the_dashboard_stands_on_a_grid_and_every_panel_asks_the_chosen_source():
    """Panels have ids of their own, do not overlap, and ask the data source that the reader chooses."""
    board = json.loads((DOCS / "grafana" / "huika.json").read_text(encoding="utf-8"))
    assert {"title", "uid", "panels", "templating", "schemaVersion", "time"} <= set(board)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
            assert panel["targets"], panel["title"]


def dashboard_queries() -> list[str]:
    board = json.loads((DOCS / "grafana" / "huika.json").read_text(encoding="utf-8"))
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]


def alert_queries() -> list[str]:
    groups = yaml.safe_load((DOCS / "grafana" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    for rule in rules:
        assert {"alert", "expr", "for", "labels", "annotations"} <= set(rule)
    return [rule["expr"] for rule in rules]

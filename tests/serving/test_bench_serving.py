"""The load generator, the bare peer and what `huika bench quote` and `huika bench equality` make of their figures."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.definitions import FEATURES
from pipelines.champions import load_pair
from pipelines.stored_features import features_of
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace
from serving.api.schemas import Submission
from serving.cli import main
from serving.commands.bench_asking import (
    FRESH,
    ServerStuck,
    ask,
    body_of,
    freshened,
    histogram,
    quantile,
    request_bytes,
    write_lines,
)
from serving.commands.bench_bare import BOOSTERS, load_boosters, price_and_score
from serving.commands.bench_bare import ask as ask_boosters
from serving.commands.bench_equality import COMPARED, compared, input_row
from serving.commands.bench_models import HANDBOOK
from serving.commands.bench_rows import Questions, newest_trades, submission_of
from serving.commands.bench_serving import levels_of, mean_stages, stage_seconds
from serving.commands.bench_workspace import copied
from serving.refusals import Refusal


class _Echo(BaseHTTPRequestHandler):
    """Answers with the body that it got; hangs up at every fourth request where the path says so."""

    protocol_version = "HTTP/1.1"
    asked = 0
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with _Echo.lock:
            _Echo.asked += 1
            hangs_up = self.path == "/hangs-up" and _Echo.asked % 4 == 0
        if hangs_up:
            self.close_connection = True
            return
        self.send_response(404 if self.path == "/absent" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[int]:
    _Echo.asked = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def _ask(port: int, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    bodies = write_lines(tmp_path / "bodies", [{"n": number, "long": "x" * 5_000} for number in range(7)])
    arguments: dict[str, Any] = {
        "port": port,
        "path": "/echo",
        "bodies": bodies,
        "headers": {"Authorization": "Bearer x"},
        "connections": 3,
        "requests": 20,
        "seconds": 30.0,
    }
    return ask(**(arguments | changes))


def test_every_question_is_asked_once_and_answered_with_its_own_body(echo, tmp_path):
    """As many as were wanted, over all connections, each counted and kept under its place."""
    found = _ask(echo, tmp_path, keep=str(tmp_path / "kept"))
    assert (found["requests"], found["statuses"], _Echo.asked) == (20, {"200": 20}, 20)
    kept = [line.split(b"\t", 2) for line in (tmp_path / "kept").read_bytes().splitlines()]
    assert sorted(int(place) for place, _, _ in kept) == list(range(20))
    assert all(json.loads(body)["n"] == int(place) % 7 for place, _, body in kept)
    assert sum(found["histogram_ms"].values()) == 20
    assert 0 < found["ms"]["p50"] <= found["ms"]["p99"] <= found["ms"]["max"]


def test_a_fresh_word_is_another_one_in_each_request_of_each_run():
    """It takes as many bytes as it stands for, so the length of a request stays true."""
    asked = [request_bytes("/v1/quotes", {}, f'{{"n":"{FRESH}-0"}}'.encode()), b"none"]
    runs = [list(islice(freshened(asked), 6)) for _ in range(2)]
    assert {len(request) for request in runs[0][::2]} == {len(asked[0])}
    assert len({*runs[0][::2], *runs[1][::2]}) == 6
    assert runs[0][1] == b"none"


def test_time_ends_a_load_that_is_not_through(echo, tmp_path):
    """With no time left only what is under way is finished."""
    assert _ask(echo, tmp_path, requests=10**9, seconds=0.0)["requests"] == 3


def test_other_statuses_and_lost_connections_are_counted(echo, tmp_path):
    """A lost connection counts as 0 and is opened anew; the load goes on."""
    assert _ask(echo, tmp_path, path="/absent")["statuses"] == {"404": 20}
    found = _ask(echo, tmp_path, path="/hangs-up")
    assert found["requests"] == 20
    assert found["statuses"]["0"] == 5


def test_a_server_that_always_hangs_up_ends_the_load(echo, tmp_path, monkeypatch):
    """It is an error and no figure."""
    monkeypatch.setattr("serving.commands.bench_asking.MOST_LOST", 2)
    with pytest.raises(ServerStuck):
        _ask(echo, tmp_path, path="/hangs-up", requests=1_000)


def test_an_answer_is_read_when_it_is_whole():
    """Whatever pieces it comes in; one without a length is not read."""
    whole = b"HTTP/1.1 201 Created\r\ncontent-LENGTH: 3\r\n\r\nabc"
    assert [body_of(bytearray(whole[:end])) for end in (10, 40, len(whole) - 1)] == [None] * 3
    assert body_of(bytearray(whole)) == (201, b"abc")
    with pytest.raises(ServerStuck):
        body_of(bytearray(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))


def test_a_request_carries_its_length_and_the_headers():
    """As any HTTP/1.1 client would send it."""
    request = request_bytes("/v1/quotes", {"Authorization": "Bearer k"}, b"{}")
    head, _, body = request.partition(b"\r\n\r\n")
    assert body == b"{}"
    assert head.startswith(b"POST /v1/quotes HTTP/1.1\r\n")
    assert {b"Content-Length: 2", b"Authorization: Bearer k"} <= set(head.split(b"\r\n"))


def test_quantiles_and_histogram_of_known_latencies():
    """Of 1 to 100 ms, and of nothing."""
    latencies = [number / 1_000 for number in range(1, 101)]
    assert quantile(latencies, 0.5) == pytest.approx(0.051)
    assert quantile(latencies, 0.99) == pytest.approx(0.100)
    assert quantile([], 0.5) == 0.0
    assert histogram([0.0004, 0.0031, 0.0032]) == {"1": 1, "4": 2}


def test_stages_of_a_run_are_told_from_two_looks_at_the_metrics():
    """Means of what came between, of stages that were passed; other metrics do not disturb."""
    text = (
        '# HELP huika_stage_seconds Time\nhuika_stage_seconds_bucket{{le="0.1",stage="read"}} 9\n'
        'huika_stage_seconds_sum{{stage="read"}} {read}\nhuika_stage_seconds_count{{stage="read"}} {count}\n'
        'huika_stage_seconds_sum{{stage="live"}} 1\nhuika_stage_seconds_count{{stage="live"}} 5\n'
    )
    before, after = (stage_seconds(text.format(read=a, count=b)) for a, b in ((0.5, 100), (0.7, 200)))
    assert mean_stages(before, after) == {"read": pytest.approx(2.0)}
    assert mean_stages({}, stage_seconds("")) == {}


@pytest.mark.parametrize("text", ["", "0", "1,x", "-1", "1000"])
def test_concurrencies_are_numbers_in_reach(text):
    """Anything else is refused."""
    assert levels_of("1, 8,32") == (1, 8, 32)
    with pytest.raises(Refusal):
        levels_of(text)


def test_a_workspace_whose_data_are_elsewhere_is_not_copied(tmp_path, monkeypatch):
    """A benchmark's quotes must not reach the data that others work with."""
    Workspace.open(tmp_path / "home")
    assert (copied(tmp_path / "home", tmp_path / "copy") / "huika.toml").exists()
    monkeypatch.setenv("HUIKA_STORAGE__ONLINE_URL", "redis://127.0.0.1:1/0")
    with pytest.raises(Refusal, match="elsewhere"):
        copied(tmp_path / "home", tmp_path / "other")
    with pytest.raises(Refusal, match="no workspace"):
        copied(tmp_path / "absent", tmp_path / "other")


def test_the_bare_peer_answers_from_the_same_rows_with_the_same_numbers(workspace: Workspace):
    """Its probabilities are the fraud model's own, and every booster is asked with inputs of its own shape."""
    registry = model_registry(workspace)
    pair = load_pair(registry)
    assert pair.discount is not None
    assert pair.fraud is not None
    trades = newest_trades(workspace, 5)
    columns = features_of(workspace, trades, names=FEATURES.names())
    asked = Questions(trades, columns, pair.discount, pair.fraud.matrix(columns))
    over_the_wire = json.loads(json.dumps(asked.features(range(5))))
    told = price_and_score(over_the_wire, discount=pair.discount, fraud=pair.fraud)
    assert told["fraud_probability"] == pair.fraud.probability(columns).tolist()
    assert len(told["rate"]) == 5
    folders = {name: registry.folder(registry.version(name, "champion")) for name in ("discount", "fraud")}
    boosters = load_boosters(folders)
    trees = ask_boosters(boosters, json.loads(json.dumps(asked.boosters([0, 3]))))
    assert set(trees) == set(boosters) <= set(BOOSTERS)
    assert {len(values) for values in trees.values()} == {2}
    raw = pair.fraud.booster.predict(pair.fraud.matrix(columns)[[0, 3]])
    assert trees["fraud"] == np.asarray(raw).tolist()
    frame = asked.frame([1], pair.fraud.trained_signals)["dataframe_split"]
    assert len(frame["columns"]) == len(frame["data"][0]) == len(pair.fraud.trained_signals)


def test_stored_trades_are_submissions_and_come_back_as_the_same_rows(workspace: Workspace):
    """What the service is asked and what the file says of it is one and the same card and seller."""
    for trade in newest_trades(workspace, 200).to_pylist():
        body = submission_of(trade)
        Submission.model_validate(body)
        quote = {"trade_id": "t", "submitted_at": "2026-03-01T00:00:00.000001+00:00"}
        row = input_row(body, quote)
        for name in ("seller_id", "device_id", "ip", "card_type", "card_form", "card_fingerprint", "region"):
            assert row[name] == trade[name]
        assert round((row["balance_cny"] or row["face_value_cny"]) * 100) == trade["face_value_fen"]


QUOTE = {
    "trade_id": "t-1",
    "rate": 0.93,
    "payout": {"amount_fen": 46_500},
    "decision": "pay",
    "fraud_probability": 0.01,
    "acceptance_probability": 0.6,
    "resale_rate": {"p10": 0.9, "p50": 0.95, "p90": 0.97},
    "offer_density": None,
    "offer_centre": 0.93,
    "no_offer": False,
    "let_through": None,
    "reasons": [{"code": "NEW_SELLER"}, {"code": "SPECIAL_PRICE"}],
    "degraded": [],
}
ROW = {
    "rate": 0.93,
    "payout_cny": 465.0,
    "decision": "pay",
    "fraud_probability": 0.01,
    "acceptance_probability": 0.6,
    "resale_rate_p10": 0.9,
    "resale_rate_p50": 0.95,
    "resale_rate_p90": 0.97,
    "offer_density": None,
    "offer_centre": 0.93,
    "no_offer": False,
    "let_through": None,
    "reasons": "NEW_SELLER|SPECIAL_PRICE",
}


def test_equal_quotes_are_equal_and_one_last_bit_is_a_difference():
    """Every compared column counts, and a quote without an answer is no equal one."""
    told = [{"quote": QUOTE, "submission": {}}]
    assert set(ROW) == set(COMPARED)
    assert compared(told, {"t-1": ROW})["equal"] == 1
    for column, value in ROW.items():
        other = (
            np.nextafter(value or 0.0, 2)
            if isinstance(value, float | None)
            else {"pay": "hold", ROW["reasons"]: "NEW_SELLER"}.get(value, True)
        )
        found = compared(told, {"t-1": ROW | {column: other}})
        assert (found["equal"], found["different"]) == (0, {column: 1})
        assert column in found["examples"][0]
    assert compared(deepcopy(told), {})["missing"] == 1


@pytest.mark.parametrize(
    ("words", "said"), [([], "no file was given"), (["--data", "away.parquet"], "away.parquet is not there")]
)
def test_the_handbook_bench_says_where_its_data_can_be_had(words, said, capsys, monkeypatch):
    """It looks nowhere by itself; without the file it names the option, the variable and the handbook's own page."""
    monkeypatch.delenv("HUIKA_HANDBOOK", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["bench", "handbook", *words])
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert all(part in " ".join(told.split()) for part in (said, "--data", "HUIKA_HANDBOOK", HANDBOOK))

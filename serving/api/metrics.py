"""What the service counts and measures, for Prometheus; every metric stands in ``docs/observability.md``.

Labels take few values, and none that names a trade, a seller or a card: a metric lives as long as the service does.
Shares (of refusals, of degraded answers) are quotients of counters and belong into queries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Literal, TypeVar

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

from serving.api.tracing import NO_TRACING, Tracing

Kind = TypeVar("Kind", Counter, Gauge, Histogram)
Stage = Literal["read", "models", "store", "live"]

PREFIX = "huika_"

MEDIA_TYPE = CONTENT_TYPE_LATEST

_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STAGE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_RATES = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.84, 0.87, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 1)
_PROBABILITIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

SHARES = ("refused_share", "by_hand_share", "returning_share", "bait_and_cut", "complaint_share")
MEDIANS = ("response_seconds_p50", "paid_seconds_p50")
NO_OFFER = "no_offer"
"""In place of the decision of a quote that offers nothing: nothing is decided there."""


class Metrics:
    """The metrics of one process.

    ``category_of`` gives the category of a card type. ``clock`` is Unix time in seconds. Where the environment names a
    folder in PROMETHEUS_MULTIPROC_DIR, as Bento does for its workers, a process makes one of these alone, and
    :meth:`text` adds up what all processes counted.
    """

    def __init__(
        self,
        *,
        category_of: Callable[[str], str],
        tracing: Tracing = NO_TRACING,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.tracing = tracing
        self._category_of = category_of
        self._clock = clock
        self._registry = CollectorRegistry()
        self._is_shared = values.ValueClass._multiprocess  # as the library decided when it was loaded
        self._seconds_parts()
        self._answer_parts()
        self._state_parts()

    def _seconds_parts(self) -> None:
        self._requests = self._histogram(
            "huika_http_seconds",
            "Time from a request to the end of its answer",
            _REQUEST_SECONDS,
            "method",
            "route",
            "status",
        )
        stages = self._histogram(
            "huika_stage_seconds", "Time of one stage of an answer", _STAGE_SECONDS, "stage"
        )
        names: tuple[Stage, ...] = ("read", "models", "store", "live")
        self._stages = {name: stages.of(name) for name in names}
        self._batch = self._histogram("huika_batch_size", "Submissions answered together", _SIZES)

    def _answer_parts(self) -> None:
        self._quotes = self._counter("huika_quotes", "Quotes given", "decision", "category", "degraded")
        self._scores = self._counter("huika_scores", "Fraud scores given", "decision", "degraded")
        self._degraded = self._counter("huika_degraded", "Answers that lacked something, by what", "code")
        self._rates = self._histogram("huika_rate", "Rates quoted, of face value", _RATES, "category")
        self._probabilities = self._histogram(
            "huika_fraud_probability", "Fraud probabilities told, by kind of answer", _PROBABILITIES, "kind"
        )
        self._events = self._counter("huika_events", "Events told", "kind", "status")
        self._problems = self._counter("huika_problems", "Requests and batch items refused, by code", "code")

    def _state_parts(self) -> None:
        self._newest = self._gauge(
            "huika_live_newest_timestamp_seconds", "Unix time of the newest record the live state has taken"
        )
        self._waiting = self._gauge(
            "huika_live_waiting_records", "Records of the log that the live state has not taken"
        )
        self._models = self._gauge("huika_model", "1 for the version that answers", "model", "version")
        self._answering: dict[str, str] = {}
        self._rules_refused = self._gauge(
            "huika_rules_refused", "1 while the files of rules cannot be used and those before them count"
        )
        self._trades = self._gauge("huika_trades", "Trades of the recycling flow in a state", "state")
        self._troubles = self._gauge(
            "huika_trades_in_trouble", "Trades whose work failed the last time, by what", "trouble"
        )
        self._troubled: set[str] = set()
        self._trade_parts()

    def _trade_parts(self) -> None:
        told = {
            "trades_recent": "Trades submitted in the last 30 days",
            "trade_complaint_cost_fen": "Mean cost of a decided complaint, in fen, of those trades",
            "trade_open_complaints": "Complaints about those trades that are not decided",
        }
        self._trades_of, self._complaint_cost, self._complaints = (
            self._gauge(f"huika_{name}", text, "profile") for name, text in told.items()
        )
        self._trade_shares = self._gauge("huika_trade_share", "Share of those trades", "profile", "of")
        self._trade_seconds = self._gauge(
            "huika_trade_median_seconds", "Median time of those trades", "profile", "until"
        )
        self._trade_money = self._gauge(
            "huika_trade_money_fen", "Money of all trades by the ledger, in fen", "profile", "what"
        )
        self._called = self._counter(
            "huika_provider_calls", "Calls of providers, by result", "partner", "result"
        )

    def stage(self, name: Stage) -> _Stage:
        """Measures the seconds of ``with metrics.stage("read"):``, and is a span where the request is traced."""
        return _Stage(name, self._stages[name], self.tracing)

    def request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. ``route``: its template, never its path."""
        self._requests.of(method, route, str(status)).observe(seconds)

    def quoted(self, body: Mapping[str, Any]) -> None:
        """A quote was given; ``body`` of :class:`serving.api.schemas.Quote`."""
        category = self._category_of(body["card_type"])
        refused = body["decision"] == "refuse"
        decision = NO_OFFER if body["no_offer"] and not refused else body["decision"]
        self._quotes.of(decision, category, _yes(body["degraded"])).inc()
        self._rates.of(category).observe(body["rate"])
        self._answered("quote", body)

    def scored(self, body: Mapping[str, Any]) -> None:
        """A fraud score was given; ``body`` of :class:`serving.api.schemas.FraudScore`."""
        self._scores.of(body["decision"], _yes(body["degraded"])).inc()
        self._answered("score", body)

    def _answered(self, kind: str, body: Mapping[str, Any]) -> None:
        for code in body["degraded"]:
            self._degraded.of(code).inc()
        if body["fraud_probability"] is not None:
            self._probabilities.of(kind).observe(body["fraud_probability"])

    def event(self, kind: str, status: str) -> None:
        """An event was told; ``status`` as in its receipt."""
        self._events.of(kind, status).inc()

    def problem(self, code: str) -> None:
        """Something was refused. Those that end a request are counted where they are sent
        (:mod:`serving.api.observing`); the items of a batch are for whoever answers them."""
        self._problems.of(code).inc()

    def freshness(self, seconds: float, *, waiting: int = 0) -> None:
        """The newest record the live state has taken is ``seconds`` old; so many records wait in the log. Kept as a
        moment, so that the age grows while nothing comes."""
        self._newest.of().set(self._clock() - seconds)
        self._waiting.of().set(waiting)

    def trades(self, *, states: Mapping[str, int], troubles: Mapping[str, int] | None = None) -> None:
        """So many trades stand in each of these states, and so many open ones have each trouble (stable codes; None:
        as before)."""
        for state, count in states.items():
            self._trades.of(state).set(count)
        if troubles is None:
            return
        for trouble in self._troubled - set(troubles):
            self._troubles.of(trouble).set(0)
        for trouble, count in troubles.items():
            self._troubles.of(trouble).set(count)
        self._troubled |= set(troubles)

    def trade_numbers(self, profile: str, numbers: Mapping[str, Any]) -> None:
        """The numbers of a profile's newest trades, as :class:`pipelines.recycling.numbers.TradeNumbers`; shares and
        medians are NaN where nothing is there to divide by."""
        self._trades_of.of(profile).set(numbers["trades"])
        for name in SHARES:
            self._trade_shares.of(profile, name.removesuffix("_share")).set(numbers[name])
        for name in MEDIANS:
            self._trade_seconds.of(profile, name.removesuffix("_seconds_p50")).set(numbers[name])
        self._complaint_cost.of(profile).set(numbers["complaint_cost_fen"])
        self._complaints.of(profile).set(numbers["open_complaints"])

    def trade_money(self, profile: str, money: Mapping[str, int]) -> None:
        """The money of all trades of a profile, as :class:`pipelines.recycling.trade_money.TradeMoney`."""
        for name, fen in money.items():
            self._trade_money.of(profile, name.removesuffix("_fen")).set(fen)

    def provider_called(self, partner: str, result: str) -> None:
        """A provider called about a payout or transfer; a result of the call, or the code of its refusal."""
        self._called.of(partner, result).inc()

    def batch(self, size: int) -> None:
        """So many submissions were answered together."""
        self._batch.of().observe(size)

    def models(self, *, discount: str | None, fraud: str | None) -> None:
        """These versions answer from now on; None where there is none."""
        for model, version in (("discount", discount or "none"), ("fraud", fraud or "none")):
            before = self._answering.get(model, version)
            if before != version:
                self._models.of(model, before).set(0)
            self._models.of(model, version).set(1)
            self._answering[model] = version

    def rules_refused(self, refused: bool) -> None:
        """Whether the files of rules and limits, as they are now, cannot be used."""
        self._rules_refused.of().set(refused)

    def text(self) -> bytes:
        """Everything in Prometheus' text format, of all processes of the service."""
        return generate_latest(_Everybodys() if self._is_shared else self._registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> _Series[Histogram]:
        return _Series(Histogram(name, text, labels, buckets=buckets, registry=self._registry))

    def _counter(self, name: str, text: str, *labels: str) -> _Series[Counter]:
        return _Series(Counter(name, text, labels, registry=self._registry))

    def _gauge(self, name: str, text: str, *labels: str) -> _Series[Gauge]:
        # Of several processes the one that looked last is right, also after another has ended.
        gauge = Gauge(name, text, labels, registry=self._registry, multiprocess_mode="mostrecent")
        return _Series(gauge)


class _Series(Generic[Kind]):
    """The series of one metric, kept once used: the library's own search costs more than counting."""

    def __init__(self, metric: Kind) -> None:
        self._metric = metric
        self._held: dict[tuple[str, ...], Kind] = {} if metric._labelnames else {(): metric}

    def of(self, *labels: str) -> Kind:
        """The series with these values of the labels, in the metric's order."""
        found = self._held.get(labels)
        if found is None:
            found = self._held[labels] = self._metric.labels(*labels)
        return found


class _Everybodys(CollectorRegistry):
    """What all processes counted, without what libraries count into the same folder."""

    def collect(self) -> Iterator[Metric]:
        found = MultiProcessCollector(None).collect()
        return (metric for metric in found if metric.name.startswith(PREFIX))


class _Stage:
    """One run of a stage."""

    __slots__ = ("_began", "_name", "_seconds", "_span", "_tracing")

    def __init__(self, name: str, seconds: Histogram, tracing: Tracing) -> None:
        self._name = name
        self._seconds = seconds
        self._tracing = tracing

    def __enter__(self) -> None:
        self._span = self._tracing.open_stage(self._name)
        self._began = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._seconds.observe(time.perf_counter() - self._began)
        if self._span is not None:
            self._span.close(failed=kind is not None)


def _yes(codes: object) -> str:
    return "yes" if codes else "no"

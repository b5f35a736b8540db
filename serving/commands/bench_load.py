"""A bounded load of quotes and events on a running service, by a client that keeps every acknowledgement it got."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import uuid4

import httpx

TIMEOUT_SECONDS = 15.0
EVENT_SHARE = 0.4
SCORE_SHARE = 0.1
AGAIN_SECONDS = 0.5
"""How long a client waits before it asks again under the same idempotency key."""
LAST_TRIES = 20

NO_ANSWER = 0
"""Stands for a status where the connection was refused, cut or timed out."""


@dataclass(frozen=True)
class Answered:
    """One request. began, ended: seconds of this process's monotonic clock. code: a problem's code, or the kind of
    failure. degraded: what a quote says it did without."""

    what: str
    began: float
    ended: float
    status: int
    code: str = ""
    degraded: tuple[str, ...] = ()


@dataclass
class Acknowledged:
    """What the service promised to keep: quotes by id, kinds of events by id, quote ids by idempotency key; and every
    trade that was asked about."""

    quotes: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    trades: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Address:
    """Where the service is, and how it is asked: the one place that knows the header."""

    url: str
    key: str = field(repr=False)

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False)


class Load:
    """Asks ``per_second`` times a second in all, from several clients, between :meth:`start` and :meth:`stop`."""

    def __init__(self, address: Address, *, per_second: float, clients: int = 4, seed: int = 7) -> None:
        self._address = address
        self._pause = clients / per_second
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(seed + number),), daemon=True)
            for number in range(clients)
        ]
        self.answered: list[Answered] = []
        self.acknowledged = Acknowledged()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No new requests; those that were not answered yet are asked a few times more, then given up."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def within(self, began: float, ended: float) -> list[Answered]:
        """Requests that began in a period, in order."""
        return sorted(
            (item for item in list(self.answered) if began <= item.began < ended), key=lambda item: item.ended
        )

    def _run(self, rng: random.Random) -> None:
        client = self._address.client()
        while not self._stop.is_set():
            started = time.monotonic()
            if rng.random() < SCORE_SHARE:
                self._ask(client, "score", "/v1/fraud-scores", submission(rng))
            else:
                self._quote(client, rng)
            self._stop.wait(max(0.0, self._pause * rng.uniform(0.5, 1.5) - (time.monotonic() - started)))
        client.close()

    def _quote(self, client: httpx.Client, rng: random.Random) -> None:
        """A quote, asked under one key until it is answered; now and then what became of it."""
        body, key = submission(rng), uuid4().hex
        self.acknowledged.trades.append(body["trade_id"])
        quote = self._insist(client, "quote", "/v1/quotes", body, key)
        if quote is None:
            return
        self.acknowledged.quotes[quote["quote_id"]] = quote
        self.acknowledged.keys[key] = quote["quote_id"]
        if rng.random() >= EVENT_SHARE:
            return
        for event in events_about(quote, rng):
            receipt = self._insist(client, "event", "/v1/events", event, None)
            if receipt is not None and receipt["status"] in ("recorded", "known"):
                self.acknowledged.events[event["event_id"]] = event["kind"]

    def _insist(
        self, client: httpx.Client, what: str, path: str, body: dict[str, Any], key: str | None
    ) -> dict[str, Any] | None:
        """The answer, after as many tries as a client needs that must not lose its request; None for a refusal."""
        left = LAST_TRIES
        while left:
            left -= self._stop.is_set()
            response = self._ask(client, what, path, body, key)
            if response is not None and response.status_code < 500:
                return response.json() if response.status_code == 200 else None
            wait = 1.0 if response is None else float(response.headers.get("Retry-After", AGAIN_SECONDS))
            time.sleep(min(wait, 2.0))
        return None

    def _ask(
        self, client: httpx.Client, what: str, path: str, body: dict[str, Any], key: str | None = None
    ) -> httpx.Response | None:
        began = time.monotonic()
        try:
            response = client.post(path, json=body, headers={"Idempotency-Key": key} if key else {})
        except httpx.TransportError as error:
            self.answered.append(
                Answered(what, began, time.monotonic(), NO_ANSWER, code=type(error).__name__)
            )
            return None
        ended = time.monotonic()
        told = response.json() if "json" in response.headers.get("Content-Type", "") else {}
        code, degraded = told.get("code", ""), tuple(told.get("degraded", ()))
        self.answered.append(Answered(what, began, ended, response.status_code, code, degraded))
        return response


def submission(rng: random.Random) -> dict[str, Any]:
    """One card of a few hundred sellers'."""
    seller = rng.randrange(300)
    face = rng.choice((10_000, 20_000, 50_000))
    return {
        "trade_id": f"fault-{uuid4().hex}",
        "card": {"card_type": "jd_ecard", "card_form": "virtual", "face_value": {"amount_fen": face}},
        "seller": {
            "seller_id": f"seller-{seller}",
            "device_id": f"device-{seller % 200}",
            "payout_account": f"account-{seller}",
            "ip": f"198.51.100.{seller % 250}",
        },
    }


def events_about(quote: dict[str, Any], rng: random.Random) -> Iterator[dict[str, Any]]:
    """What became of a quoted trade, and a rate of the market."""
    about = {"trade_id": quote["trade_id"], "happened_at": quote["submitted_at"]}
    kind = "accepted" if rng.random() < 0.7 else "declined"
    if quote["decision"] != "refuse" and not quote["no_offer"]:
        yield about | {"kind": kind, "event_id": uuid4().hex}
        if kind == "accepted" and rng.random() < 0.3:
            yield about | {"kind": "fraud_cleared", "event_id": uuid4().hex}
    yield {
        "kind": "market_observed",
        "event_id": uuid4().hex,
        "happened_at": datetime.now(UTC).isoformat(),
        "card_type": "jd_ecard",
        "source": f"buyer {rng.randrange(3)}",
        "side": "buyer_bid",
        "rate": round(rng.uniform(0.90, 0.96), 4),
    }


def longest_gap(answered: Sequence[Answered], began: float, ended: float) -> float:
    """The longest time in a period without an answer that helps (2xx)."""
    good = [item.ended for item in answered if item.status // 100 == 2]
    moments = [began, *sorted(at for at in good if began <= at <= ended), ended]
    return max(later - earlier for earlier, later in pairwise(moments))


def healthy_at(answered: Sequence[Answered], since: float, *, streak: int = 5) -> float | None:
    """When quotes were whole again: the first of ``streak`` quotes in a row, asked after ``since``, that were answered
    in full; None for not yet."""
    first, length = 0.0, 0
    for item in answered:
        if item.what != "quote" or item.began < since:
            continue
        if item.status == 200 and not item.degraded:
            first, length = (item.ended, 1) if not length else (first, length + 1)
            if length == streak:
                return first
        else:
            length = 0
    return None

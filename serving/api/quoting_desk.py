"""The desk's first half: takes submissions, answers, records, and lets the live state know. In that order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from features.events import Submitted
from features.rows import SPINE_COLUMNS
from models.fraud.rules import RuleBook
from models.quoting import ModelPair
from pipelines.application_data import ApplicationData, quotes, replies
from pipelines.feature_log import FeatureLog
from pipelines.live_log import LiveLog
from pipelines.live_trades import KnownTrade, TradeFinder
from pipelines.quote_time import within
from pipelines.recycling.trade_tables import submissions
from pipelines.signing import Signer
from serving.api import schemas
from serving.api.access.roles import OURSELVES, Client
from serving.api.engine import Engine, Read, Trade, as_told, trade_json
from serving.api.metrics import Metrics
from serving.api.problems import Problem

CIRCUMSTANCES = frozenset({"submitted_at", "region", "channel", "extras", "asked_rate", "payee_is_seller"})
"""What may differ when a trade is asked about again: neither the card nor its seller."""
NEXT_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Receipt:
    """An idempotency key of one route, and the digest of the body it came with."""

    key: str
    route: str
    request_sha256: str


@dataclass(frozen=True)
class Asking:
    """A submission to be quoted, with the receipt that its answer is kept under. client: whose the quote is.
    since: when its time began, by ``time.monotonic``."""

    submission: schemas.Submission
    receipt: Receipt | None = None
    client: Client = OURSELVES
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class _Taken:
    """A submission that is going to be answered: its place among those asked, its trade, whether that is a new one."""

    place: int
    trade: Trade
    is_new: bool
    receipt: Receipt | None
    client_id: str


_UNANSWERED = RuntimeError("this submission was not answered")
_INSERT_QUOTES = sa.insert(quotes)
_INSERT_REPLIES = sa.insert(replies)


@dataclass(frozen=True)
class QuotingDesk:
    """Everything a request needs. What is recorded goes into the live log in the same transaction, and from there
    into the live state: at once, or by whoever comes next. quote_seconds: the time for a whole quote."""

    engine: Engine
    data: ApplicationData
    trades: TradeFinder
    log: LiveLog
    features: FeatureLog
    signer: Signer
    metrics: Metrics
    quote_seconds: float

    @property
    def clock(self) -> Callable[[], datetime]:
        return self.engine.clock

    def with_models(self, models: ModelPair) -> Self:
        """The same desk with other models. Requests that this one has taken are finished by it."""
        engine = replace(self.engine, models=models)
        features = FeatureLog(data=self.data, registry=engine.registry, names=engine.columns)
        return replace(self, engine=engine, features=features)

    def with_rules(self, rules: RuleBook) -> Self:
        """The same desk under other rules and limits."""
        engine = replace(self.engine, terms=replace(self.engine.terms, rules=rules))
        return replace(self, engine=engine)

    def quote(
        self, submission: schemas.Submission, *, now: datetime, receipt: Receipt | None = None
    ) -> dict[str, Any]:
        """A new quote, stored (with its receipt) before it is given. Raises Problem, or IntegrityError where the
        receipt's key was answered meanwhile."""
        answer = self.quote_all([Asking(submission, receipt)], now=now)[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def quote_all(self, asked: Sequence[Asking], *, now: datetime) -> list[dict[str, Any] | Exception]:
        """Quotes of several submissions, in their order, each as of a microsecond after the one before, which it sees.
        Each succeeds or fails alone: where :meth:`quote` would raise, the exception stands in its place. All of them
        keep to the time of the one that has waited longest."""
        answers: list[dict[str, Any] | Exception] = [_UNANSWERED] * len(asked)
        waiting = list(range(len(asked)))
        with within(self.quote_seconds, since=min((item.since for item in asked), default=0.0)):
            while waiting:
                part, waiting = _without_repeats(asked, waiting)
                moments = [now + place * NEXT_MOMENT for place in part]
                found = self._quote_part([asked[place] for place in part], moments)
                for place, answer in zip(part, found, strict=True):
                    answers[place] = answer
        return answers

    def _quote_part(
        self, asked: Sequence[Asking], moments: Sequence[datetime]
    ) -> list[dict[str, Any] | Exception]:
        """As :meth:`quote_all`, for submissions of different trades."""
        answers: list[dict[str, Any] | Exception] = [_UNANSWERED] * len(asked)
        with self.log.writing():
            taken = self._take(asked, moments, answers)
            try:
                for item, body in zip(taken, self._answer_and_record(taken, now=moments[0]), strict=True):
                    answers[item.place] = body
            except IntegrityError as error:
                if len(taken) == 1:
                    answers[taken[0].place] = error
                    return answers
                # One of them contradicts what is stored; the others are answered without it.
                for item in taken:
                    answers[item.place] = self._quote_alone(item)
        return answers

    def _take(
        self,
        asked: Sequence[Asking],
        moments: Sequence[datetime],
        answers: list[dict[str, Any] | Exception],
    ) -> list[_Taken]:
        """The submissions that can be answered, as trades; why not stands in ``answers`` for the others."""
        given = [item.submission.trade_id for item in asked if item.submission.trade_id is not None]
        known = self.trades.find_all(given)
        taken: list[_Taken] = []
        for place, (item, moment) in enumerate(zip(asked, moments, strict=True)):
            try:
                trade = self.engine.trade_of(item.submission, now=moment)
                _check_same_trade(trade, known.get(trade["trade_id"]), item.client)
            except Problem as problem:
                answers[place] = problem
            else:
                is_new = trade["trade_id"] not in known
                taken.append(_Taken(place, trade, is_new, item.receipt, item.client.id))
        return taken

    def _quote_alone(self, item: _Taken) -> dict[str, Any] | Exception:
        try:
            return self._answer_and_record([item], now=item.trade["submitted_at"])[0]
        except IntegrityError as error:
            return error

    def _answer_and_record(self, taken: Sequence[_Taken], *, now: datetime) -> list[dict[str, Any]]:
        """Bodies of quotes, stored; the live state knows of them if it can be reached."""
        if not taken:
            return []
        trades = [item.trade for item in taken]
        with self.metrics.stage("read"):
            read = self.engine.read(trades, new=[item.is_new for item in taken])
        try:
            with self.metrics.stage("models"):
                bodies = [self.signed(body) for body in self.engine.quotes(trades, read)]
            with self.metrics.stage("store"):
                numbers = self._record_quotes(taken, bodies, read, now=now)
        except BaseException:
            if read.round is not None:
                read.round.drop()
            raise
        with self.metrics.stage("live"):
            self.log.tell_round(read.round, numbers, now=now)
        return self._counted([as_told(body) for body in bodies])

    def _counted(self, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.metrics.batch(len(told))
        for body in told:
            self.metrics.quoted(body)
        return told

    def signed(self, body: dict[str, Any]) -> dict[str, Any]:
        """The quote with its signature over all that is told of it."""
        return body | {"signature": self.signer.sign(as_told(body))}

    def _record_quotes(
        self, taken: Sequence[_Taken], bodies: Sequence[dict[str, Any]], read: Read, *, now: datetime
    ) -> list[int]:
        """Store quotes with their receipts and features in one transaction; the numbers of their trades' records."""
        pairs = list(zip(taken, bodies, strict=True))
        told = [
            (Submitted(item.trade), f"submitted:{item.trade['trade_id']}") for item in taken if item.is_new
        ]
        replies_given = [
            reply_row(item.receipt, as_told(body), now) for item, body in pairs if item.receipt is not None
        ]
        if not read.degraded:
            self.features.prepare()
        with self.data.transaction() as connection:
            connection.execute(_INSERT_QUOTES, [_quote_row(item, body) for item, body in pairs])
            if replies_given:
                connection.execute(_INSERT_REPLIES, replies_given)
            if not read.degraded:
                found = zip(pairs, read.answers, strict=True)
                self.features.write(
                    connection, ((body["quote_id"], item.trade, answer) for (item, body), answer in found)
                )
            return self.log.append_all(connection, told)

    def score(self, submission: schemas.Submission, *, now: datetime) -> dict[str, Any]:
        """A fraud score. Raises Problem."""
        body = self.engine.scores([self.engine.trade_of(submission, now=now)])[0]
        self.metrics.scored(body)
        return body

    def stored_quote(self, quote_id: str, *, client: Client) -> dict[str, Any]:
        """The quote as it was given, to who asked for it, or who submitted the card that the recycling flow asked for.
        Raises Problem ``quote_not_found``."""
        found = self.data.quote(quote_id)
        is_there = found is not None and client.may_touch(found["client_id"])
        if found is None or not (is_there or self._is_of_card_of(client, quote_id)):
            raise Problem(404, "quote_not_found", "there is no quote with this id")
        return as_told(found["answer"])

    def _is_of_card_of(self, client: Client, quote_id: str) -> bool:
        own = sa.and_(submissions.c.quote_id == quote_id, submissions.c.client_id == client.id)
        return bool(self.data.rows(sa.select(submissions.c.submission_id).where(own)))

    def remembered(self, receipt: Receipt, body: dict[str, Any], *, now: datetime) -> dict[str, Any]:
        """The answer, kept under its idempotency key. Raises IntegrityError where another one was kept meanwhile."""
        with self.data.transaction() as connection:
            connection.execute(_INSERT_REPLIES, [reply_row(receipt, body, now)])
        return body


def _without_repeats(asked: Sequence[Asking], places: Sequence[int]) -> tuple[list[int], list[int]]:
    """The places of the first questions about each trade, and those of the others, which must wait for them."""
    seen: set[str] = set()
    first: list[int] = []
    later: list[int] = []
    for place in places:
        trade_id = asked[place].submission.trade_id
        (later if trade_id in seen else first).append(place)
        if trade_id is not None:
            seen.add(trade_id)
    return first, later


def _check_same_trade(trade: Trade, known: KnownTrade | None, client: Client) -> None:
    """A trade is one card of one seller of one client: quoting it again is fine, quoting another under its id is not,
    nor is another client's."""
    if known is None:
        return
    names = [name for name in SPINE_COLUMNS if name not in CIRCUMSTANCES]
    is_own = known.owner is None or client.may_touch(known.owner)
    if not is_own or any(known.row[name] != trade[name] for name in names):
        detail = "this trade_id belongs to another card or another client"
        raise Problem(409, "trade_id_reused", detail, field="trade_id")


def _quote_row(item: _Taken, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "quote_id": body["quote_id"],
        "trade_id": item.trade["trade_id"],
        "submitted_at": item.trade["submitted_at"],
        "valid_until": datetime.fromisoformat(body["valid_until"]),
        "first": item.is_new,
        "client_id": item.client_id,
        "trade": trade_json(item.trade),
        "answer": body,
    }


def reply_row(receipt: Receipt, body: dict[str, Any], now: datetime, *, status: int = 200) -> dict[str, Any]:
    """What is kept under an idempotency key."""
    return {
        "idempotency_key": receipt.key,
        "route": receipt.route,
        "request_sha256": receipt.request_sha256,
        "status": status,
        "body": body,
        "created_at": now,
    }

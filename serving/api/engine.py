"""What the service does with a request: read features, answer, record, and only then count the submission."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from features.catalogue import CardType, Catalogue, UnknownCardType
from features.extras import ExtrasError, extras_text
from features.live_round import Round
from features.online import Answer, LiveFeatures
from features.registry import Registry
from features.rows import SPINE_COLUMNS, to_microseconds
from features.state_book import StatesMissing
from features.store import OnlineStoreUnavailable
from features.tables import ISSUED_FACE
from models.discount.special import special_cards, valid_until
from models.matrix import getter
from models.quoting import (
    NO_DISCOUNT_MODEL,
    Answers,
    Asked,
    ModelPair,
    Scores,
    Terms,
    quote,
    reference_rates,
    score,
)
from pipelines.board_history import BoardHistory
from pipelines.reference_prices import Close, closes_of, reference_face_fen, reference_form
from pipelines.screening.list_data import ListReader
from serving.api.bodies import channels_body, human_review, known, money, reasons_body, waterfall_body
from serving.api.degraded import NO_FEATURES
from serving.api.explanations import analyst_facts
from serving.api.ids import new_id
from serving.api.problems import Problem
from serving.api.schemas import Card, Submission

log = logging.getLogger("huika")

CLOCK_SKEW = timedelta(minutes=5)

ANALYST = "analyst"
"""Key of a stored quote under which stand the fraud model's own decision and its costs, for analysts only."""

ANALYST_NOTES = "analyst_notes"
"""Key of a stored quote under which stands what only analysts may read."""

SHADOW_RULES = "shadow_rules"
"""Key of a stored quote under which stand the names of the rules that would have hit, for analysts too."""

FOR_ANALYSTS = frozenset({ANALYST, ANALYST_NOTES, SHADOW_RULES})

Trade = dict[str, Any]


@dataclass(frozen=True)
class Read:
    """The features of some trades; ``degraded``: why they are not what they should be. round: what they were read
    from, with the new ones among them told; None where the states could not be read."""

    answers: list[Answer]
    degraded: tuple[str, ...] = ()
    round: Round | None = None


class _Layout(NamedTuple):
    """Names of the features that are numbers, and of those that are categories; and what gives a row's numbers."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    values: Callable[[Mapping[str, Any]], tuple[Any, ...]]


@dataclass(frozen=True)
class Engine:
    """The parts behind the answers. ``clock`` gives the current time; ``lists`` keeps those of ``terms`` fresh."""

    live: LiveFeatures
    registry: Registry
    models: ModelPair
    terms: Terms
    lists: ListReader
    catalogue: Catalogue
    history: BoardHistory
    clock: Callable[[], datetime]

    def trade_of(self, submission: Submission, *, now: datetime) -> Trade:
        """The submission as a trade row. Raises Problem for an unknown card type or an impossible card."""
        card, seller = submission.card, submission.seller
        card_type = self._card_type(card.card_type)
        check_face_value(card_type, card.face_value.amount_fen)
        check_balance(card)
        check_region(card_type, seller.region)
        sold = card.balance or card.face_value
        partial = sold.amount_fen < card.face_value.amount_fen
        submitted_at = _moment(submission.submitted_at, now=now)
        return {
            "trade_id": submission.trade_id or new_id("t", at=submitted_at),
            "submitted_at": submitted_at,
            "seller_id": seller.seller_id,
            "device_id": seller.device_id,
            "ip": seller.ip,
            "payout_account": seller.payout_account,
            "region": seller.region,
            "channel": seller.channel,
            "card_type": card.card_type,
            "card_form": card.card_form,
            "face_value_fen": sold.amount_fen,
            ISSUED_FACE: card.face_value.amount_fen if partial else None,
            "expires_on": card.expires_on,
            "card_prefix": card.card_prefix,
            "card_fingerprint": card.card_fingerprint,
            "lot_id": submission.lot_id,
            "extras": _extras(submission),
            "asked_rate": submission.asked_rate,
            "payee_is_seller": seller.payee_is_seller,
        }

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The features read for an answer: all of today's, and former ones that the models were trained on."""
        return (*self.registry.names(), *self.models.pinned_columns)

    def read(self, trades: Sequence[Trade], *, new: Sequence[bool] | None = None) -> Read:
        """Features of trades, each as of its own moment; blank where the states cannot be read.

        A trade's ``submitted_at`` moves to the moment that was answered. new: which of them are submissions that those
        behind them must see; None: none is.
        """
        names = self.columns
        try:
            found = self.live.round(trades)
            answers = []
            for trade, is_new in zip(trades, new or [False] * len(trades), strict=True):
                answers.append(answer := found.answer(trade, names=names))
                trade["submitted_at"] = answer.moment
                if is_new:
                    found.submit(trade)
            return Read(answers, round=found)
        except (OnlineStoreUnavailable, StatesMissing) as error:
            log.error("%s; answering without features", error)
            self.live.forget()
            return Read([self.live.blank(trade, names=names) for trade in trades], degraded=(NO_FEATURES,))

    def quotes(self, trades: Sequence[Trade], read: Read) -> list[dict[str, Any]]:
        """Bodies of :class:`serving.api.schemas.Quote` for trades and their features, with ``ANALYST``,
        ``ANALYST_NOTES`` and ``SHADOW_RULES``, which are stored and not told (:func:`as_told`)."""
        answers = quote(self._asked(trades, read), models=self._models(read), terms=self.terms)
        degraded = [*self.models.degraded, *read.degraded]
        return [
            self._quote_body(trade, answers, row, degraded)
            | self._market_body(trade, read.answers[row], answers, row)
            for row, trade in enumerate(trades)
        ]

    def closes(self, trades: Sequence[Trade], read: Read) -> dict[str, Close]:
        """What the reference cards of these trades' types are priced at, and their markets, by card type; nothing
        where no model prices."""
        asked = self._asked(trades, read)
        return closes_of(
            card_types=[trade["card_type"] for trade in trades],
            rates=reference_rates(asked, models=self._models(read), terms=self.terms),
            columns=asked.columns,
            submitted_ms=asked.submitted_at,
        )

    def _models(self, read: Read) -> ModelPair:
        return ModelPair(discount=None, fraud=None) if read.degraded else self.models

    def _asked(self, trades: Sequence[Trade], read: Read) -> Asked:
        self.lists.refresh(now=self.clock())
        moments = [to_microseconds(trade["submitted_at"]) // 1000 for trade in trades]
        value = np.array([trade["face_value_fen"] for trade in trades], dtype=np.int64)
        submitted = {
            name: np.array([trade.get(name) for trade in trades], dtype=object)
            for name in (*SPINE_COLUMNS, ISSUED_FACE)
        }
        return Asked(
            columns=self._table(read),
            face_value_fen=value,
            submitted_at=np.array(moments, dtype=np.int64),
            submitted=submitted,
            special=special_cards(
                catalogue=self.catalogue,
                card_type=submitted["card_type"],
                value_fen=value,
                issued_face_fen=submitted[ISSUED_FACE],
            ),
            before=self.history.before([trade["card_type"] for trade in trades], np.array(moments)),
        )

    def _table(self, read: Read) -> dict[str, np.ndarray]:
        """The answers' features as columns; where the states could not be read, only what the trades say themselves,
        so that no rule takes a seller for a new one."""
        layout = self._own_layout if read.degraded else self._layout
        rows = [answer.values for answer in read.answers]
        table = np.array([layout.values(row) for row in rows], dtype=np.float64)
        columns: dict[str, np.ndarray] = dict(zip(layout.numbers, np.ascontiguousarray(table.T), strict=True))
        for name in layout.categories:
            columns[name] = np.array([row[name] for row in rows], dtype=object)
        return columns

    @cached_property
    def _layout(self) -> _Layout:
        return self._split(self.columns)

    @cached_property
    def _own_layout(self) -> _Layout:
        """As :attr:`_layout`, of what a trade says itself."""
        return self._split([name for name in self.columns if self.registry[name].as_of == "trade"])

    def _split(self, names: Sequence[str]) -> _Layout:
        is_number = {name: self.registry[name].kind == "number" for name in names}
        numbers = tuple(name for name in names if is_number[name])
        return _Layout(numbers, tuple(name for name in names if not is_number[name]), getter(numbers))

    def scores(self, trades: Sequence[Trade]) -> list[dict[str, Any]]:
        """Bodies of :class:`serving.api.schemas.FraudScore`; the payout at risk is the face value."""
        read = self.read(trades)
        asked = self._asked(trades, read)
        scores = score(asked, models=self._models(read), terms=self.terms)
        degraded = [code for code in (*self.models.degraded, *read.degraded) if code != NO_DISCOUNT_MODEL]
        return [self._score_body(trade, scores, row, degraded) for row, trade in enumerate(trades)]

    def _quote_body(self, trade: Trade, answers: Answers, row: int, degraded: list[str]) -> dict[str, Any]:
        card_type = self._card_type(trade["card_type"])
        sold, issued = trade["face_value_fen"], trade.get(ISSUED_FACE)
        offers = answers.offers
        return {
            "quote_id": new_id("q", at=trade["submitted_at"]),
            "trade_id": trade["trade_id"],
            "card_type": trade["card_type"],
            "card_name_zh": card_type.name_zh,
            "card_name_en": card_type.name_en,
            "face_value": money(issued or sold),
            "balance": money(sold) if issued else None,
            "submitted_at": trade["submitted_at"].isoformat(),
            "valid_until": valid_until(
                submitted_at=trade["submitted_at"],
                minutes=int(answers.valid_minutes[row]),
                expires_on=trade["expires_on"],
            ).isoformat(),
            "rate": float(answers.rate[row]),
            "payout": money(int(answers.payout_fen[row])),
            "decision": str(answers.action[row]),
            "fraud_probability": known(answers.fraud_probability[row]),
            "acceptance_probability": known(answers.acceptance_probability[row]),
            "resale_rate": {
                "p10": known(answers.resale_p10[row]),
                "p50": known(answers.resale_p50[row]),
                "p90": known(answers.resale_p90[row]),
            },
            "reactivation_probability": None if offers is None else known(offers.reactivation[row]),
            "offer_density": known(answers.offer_density[row]),
            "no_offer": bool(answers.no_offer[row]),
            "let_through": known(answers.let_through[row]),
            "reasons": reasons_body(answers.reasons[row]),
            "human_review": human_review(answers.action[row]),
            ANALYST: analyst_facts(answers.decisions, row, profile=self.terms.profile),
            ANALYST_NOTES: reasons_body(answers.notes[row]),
            SHADOW_RULES: list(answers.shadow_rules[row]),
            "waterfall": waterfall_body(answers, row),
            "models": self._versions(),
            **self._rule_versions(),
            "degraded": degraded,
        }

    def _market_body(self, trade: Trade, answer: Answer, answers: Answers, row: int) -> dict[str, Any]:
        """What of a quote's body says where its price stands in the market and in time."""
        extremes, expired = answer.extremes, bool(answer.values["card_is_expired"])
        return {
            "offer_centre": known(answers.offer_centre[row]),
            "channels": None if extremes is None else channels_body(extremes, trade["submitted_at"]),
            "reference": self._reference(trade, expired=expired),
        }

    def _reference(self, trade: Trade, *, expired: bool) -> dict[str, Any] | None:
        """The lowest price of the board's card, where it is one to compare with."""
        card_type = self._card_type(trade["card_type"])
        if expired or trade.get(ISSUED_FACE) or trade["card_form"] != reference_form(card_type):
            return None
        shown = self.history.lowest(card_type.card_type, now=self.clock())
        return {
            "face_value": money(reference_face_fen(card_type)),
            "lowest_7d": None if shown is None else shown.lowest,
            "shown_since": None if shown is None else shown.since.isoformat(),
        }

    def _score_body(self, trade: Trade, scores: Scores, row: int, degraded: list[str]) -> dict[str, Any]:
        return {
            "trade_id": trade["trade_id"],
            "submitted_at": trade["submitted_at"].isoformat(),
            "fraud_probability": known(scores.probability[row]),
            "decision": str(scores.action[row]),
            "reasons": reasons_body(scores.reasons[row]),
            "human_review": human_review(scores.action[row]),
            "models": self._versions(),
            **self._rule_versions(),
            "degraded": degraded,
        }

    def _versions(self) -> dict[str, str | None]:
        return {"discount": self.models.discount_version, "fraud": self.models.fraud_version}

    def _rule_versions(self) -> dict[str, str]:
        rules = self.terms.rules
        return {"rules_version": rules.rules_version, "law_version": rules.law_version}

    def _card_type(self, name: str) -> CardType:
        try:
            return self.catalogue.get(name)
        except UnknownCardType as error:
            close = f"; close to it: {', '.join(error.suggestions)}" if error.suggestions else ""
            detail = f"this card type is not in the catalogue{close}"
            raise Problem(422, "unknown_card_type", detail, field="card.card_type") from None


def _extras(submission: Submission) -> str | None:
    """The extras in their one written form. Raises Problem."""
    try:
        return extras_text(submission.extras or {})
    except ExtrasError as error:
        raise Problem(422, "invalid_extras", str(error), field="extras") from None


def check_face_value(card_type: CardType, face_fen: int) -> None:
    """Refuse a face value above the largest that can exist. Raises Problem."""
    largest = card_type.max_face_fen
    if largest is not None and face_fen > largest:
        detail = f"a {card_type.name_en} cannot be worth more than {largest / 100:,.2f} CNY"
        raise Problem(422, "impossible_face_value", detail, field="card.face_value")


def check_balance(card: Card) -> None:
    """Refuse a balance above the face value. Raises Problem."""
    if card.balance is not None and card.balance.amount_fen > card.face_value.amount_fen:
        detail = "a card cannot hold more than its face value"
        raise Problem(422, "balance_above_face_value", detail, field="card.balance")


def check_region(card_type: CardType, region: str | None) -> None:
    """Refuse a region where the card type is not traded. Raises Problem."""
    if region is not None and region in card_type.regions_off:
        detail = f"{card_type.name_en} is not traded in this region"
        raise Problem(422, "not_traded_in_region", detail, field="seller.region")


def as_told(quote: Mapping[str, Any]) -> dict[str, Any]:
    """A stored quote as its client gets it."""
    return {name: value for name, value in quote.items() if name not in FOR_ANALYSTS}


def trade_json(trade: Mapping[str, Any]) -> dict[str, Any]:
    """A trade as plain JSON, for storage."""
    expires_on = trade["expires_on"]
    return dict(trade) | {
        "submitted_at": trade["submitted_at"].isoformat(),
        "expires_on": None if expires_on is None else expires_on.isoformat(),
    }


def _moment(asked: datetime | None, *, now: datetime) -> datetime:
    """The moment of a submission: now, or a given earlier one within the clocks' skew. Raises Problem.

    A card offered earlier is a question for `huika quote`: the live state does not keep every past moment. One that
    lies ahead by another clock is offered now.
    """
    if asked is None:
        return now
    if abs(asked - now) > CLOCK_SKEW:
        detail = "submitted_at must be now, give or take 5 minutes"
        raise Problem(422, "moment_out_of_range", detail, field="submitted_at")
    return min(asked, now)

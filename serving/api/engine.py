"""What the service does with a request: read features, answer, record, and only then count the submission."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import uuid4

import numpy as np

from features.catalogue import CardType, Catalogue, UnknownCardType
from features.online import Answer, LiveFeatures, StatesMissing
from features.registry import Registry, column_of
from features.rows import SPINE_COLUMNS, to_microseconds
from features.store import OnlineStoreUnavailable
from models.discount.explain import waterfall
from models.quoting import NO_DISCOUNT_MODEL, Answers, Asked, ModelPair, Scores, Terms, quote, score
from models.reasons import Reason
from serving.api.problems import Problem
from serving.api.schemas import Submission

log = logging.getLogger("huika")

CLOCK_SKEW = timedelta(minutes=5)

NO_FEATURES = "feature_store_unavailable"
"""The states could not be read: only what the request says is known, and no model may answer from that."""

Trade = dict[str, Any]


@dataclass(frozen=True)
class Read:
    """The features of some trades; ``degraded``: why they are not what they should be."""

    answers: list[Answer]
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Engine:
    """The parts behind the answers. ``clock`` gives the current time."""

    live: LiveFeatures
    registry: Registry
    models: ModelPair
    terms: Terms
    catalogue: Catalogue
    clock: Callable[[], datetime]

    def trade_of(self, submission: Submission, *, now: datetime) -> Trade:
        """The submission as a trade row. Raises Problem for an unknown card type or an impossible card."""
        card, seller = submission.card, submission.seller
        card_type = self._card_type(card.card_type)
        check_face_value(card_type, card.face_value.amount_fen)
        check_region(card_type, seller.region)
        return {
            "trade_id": submission.trade_id or f"t-{uuid4().hex}",
            "submitted_at": _moment(submission.submitted_at, now=now),
            "seller_id": seller.seller_id,
            "device_id": seller.device_id,
            "ip": seller.ip,
            "payout_account": seller.payout_account,
            "region": seller.region,
            "channel": seller.channel,
            "card_type": card.card_type,
            "card_form": card.card_form,
            "face_value_fen": card.face_value.amount_fen,
            "expires_on": card.expires_on,
            "card_prefix": card.card_prefix,
            "card_fingerprint": card.card_fingerprint,
            "lot_id": submission.lot_id,
        }

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The features read for an answer: all of today's, and former ones that the models were trained on."""
        return (*self.registry.names(), *self.models.pinned_columns)

    def read(self, trades: Sequence[Trade]) -> Read:
        """Features of trades, each as of its own moment; blank where the states cannot be read."""
        names = self.columns
        try:
            return Read([self.live.answer(trade, names=names) for trade in trades])
        except (OnlineStoreUnavailable, StatesMissing) as error:
            log.error("%s; answering without features", error)
            return Read([self.live.blank(trade, names=names) for trade in trades], degraded=(NO_FEATURES,))

    def quotes(self, trades: Sequence[Trade], read: Read) -> list[dict[str, Any]]:
        """Bodies of :class:`serving.api.schemas.Quote` for trades and their features."""
        answers = quote(self._asked(trades, read), models=self._models(read), terms=self.terms)
        degraded = [*self.models.degraded, *read.degraded]
        return [self._quote_body(trade, answers, row, degraded) for row, trade in enumerate(trades)]

    def _models(self, read: Read) -> ModelPair:
        return ModelPair(discount=None, fraud=None) if read.degraded else self.models

    def _asked(self, trades: Sequence[Trade], read: Read) -> Asked:
        moments = [to_microseconds(trade["submitted_at"]) // 1000 for trade in trades]
        return Asked(
            columns=self._table(read),
            face_value_fen=np.array([trade["face_value_fen"] for trade in trades], dtype=np.int64),
            submitted_at=np.array(moments, dtype=np.int64),
            submitted={
                name: np.array([trade[name] for trade in trades], dtype=object) for name in SPINE_COLUMNS
            },
        )

    def _table(self, read: Read) -> dict[str, np.ndarray]:
        """The answers' features as columns."""
        return {
            name: column_of(self.registry[name].kind, [answer.values[name] for answer in read.answers])
            for name in self.columns
        }

    def scores(self, trades: Sequence[Trade]) -> list[dict[str, Any]]:
        """Bodies of :class:`serving.api.schemas.FraudScore`; the payout at risk is the face value."""
        read = self.read(trades)
        asked = self._asked(trades, read)
        scores = score(asked, payout_fen=asked.face_value_fen, models=self._models(read), terms=self.terms)
        degraded = [code for code in (*self.models.degraded, *read.degraded) if code != NO_DISCOUNT_MODEL]
        return [self._score_body(trade, scores, row, degraded) for row, trade in enumerate(trades)]

    def _quote_body(self, trade: Trade, answers: Answers, row: int, degraded: list[str]) -> dict[str, Any]:
        card_type = self._card_type(trade["card_type"])
        validity = timedelta(minutes=int(answers.valid_minutes[row]))
        return {
            "quote_id": f"q-{uuid4().hex}",
            "trade_id": trade["trade_id"],
            "card_type": trade["card_type"],
            "card_name_zh": card_type.name_zh,
            "card_name_en": card_type.name_en,
            "submitted_at": trade["submitted_at"].isoformat(),
            "valid_until": (trade["submitted_at"] + validity).isoformat(),
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
            "offer_density": known(answers.offer_density[row]),
            "no_offer": bool(answers.no_offer[row]),
            "reasons": _reasons(answers.reasons[row]),
            "waterfall": _waterfall(answers, row),
            "models": self._versions(),
            "degraded": degraded,
        }

    def _score_body(self, trade: Trade, scores: Scores, row: int, degraded: list[str]) -> dict[str, Any]:
        return {
            "trade_id": trade["trade_id"],
            "submitted_at": trade["submitted_at"].isoformat(),
            "fraud_probability": known(scores.probability[row]),
            "decision": str(scores.action[row]),
            "reasons": _reasons(scores.reasons[row]),
            "models": self._versions(),
            "degraded": degraded,
        }

    def _versions(self) -> dict[str, str | None]:
        return {"discount": self.models.discount_version, "fraud": self.models.fraud_version}

    def _card_type(self, name: str) -> CardType:
        try:
            return self.catalogue.get(name)
        except UnknownCardType as error:
            close = f"; close to it: {', '.join(error.suggestions)}" if error.suggestions else ""
            detail = f"this card type is not in the catalogue{close}"
            raise Problem(422, "unknown_card_type", detail, field="card.card_type") from None


def check_face_value(card_type: CardType, face_fen: int) -> None:
    """Refuse a face value above the largest that can exist. Raises Problem."""
    largest = card_type.max_face_fen
    if largest is not None and face_fen > largest:
        detail = f"a {card_type.name_en} cannot be worth more than {largest / 100:,.2f} CNY"
        raise Problem(422, "impossible_face_value", detail, field="card.face_value")


def check_region(card_type: CardType, region: str | None) -> None:
    """Refuse a region where the card type is not traded. Raises Problem."""
    if region is not None and region in card_type.regions_off:
        detail = f"{card_type.name_en} is not traded in this region"
        raise Problem(422, "not_traded_in_region", detail, field="seller.region")


def money(fen: int) -> dict[str, Any]:
    return {"amount_fen": fen, "currency": "CNY"}


def known(value: float) -> float | None:
    """A number for JSON: NaN is null."""
    return None if math.isnan(value) else float(value)


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


def _reasons(reasons: Sequence[Reason]) -> list[dict[str, str]]:
    return [reason.to_dict() for reason in reasons]


def _waterfall(answers: Answers, row: int) -> list[dict[str, Any]]:
    if answers.offers is None:
        return []
    return [
        {"code": step.code, "zh": step.zh, "en": step.en, "amount_fen": step.amount_fen}
        for step in waterfall(answers.offers, row)
    ]

"""The probability that a seller accepts a rate: a curve placed and shaped by the card.

``P(accept | r, x) = f(x) + (1 - f(x)) F(e^b(x) (r - m(x)) / 0.05)``. F: the shape of reservation rates
(:mod:`models.discount.link`). m: the rate that about half of honest sellers take, a pooled logit's moved by trees; the
logit leans on what the log usually offered for such a card too (:mod:`models.discount.offer_movement`).
e^b: how steeply they react. f: sellers who take any rate, fraudsters (:mod:`models.discount.fraud_share`).

By construction P rises with the rate and falls with competitors' bids: the rate is no input of the trees, and m
rises with the bids. m also rises with face value and days to expiry, and b depends on none of these, so that the
best rate keeps the same order. An argmax on a tree's own curve would chase its steps instead.

A log in which the rate hardly moves for like cards says little about steepness. The early stop on later rows then
ends the boosting soon, which leaves the pooled curve; its slopes in turn are held near usual ones by a weak prior.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from models.discount.boosters import load_booster, save_booster
from models.discount.context import EXPECTED_RESALE, CardContext, relative_matrix
from models.discount.directions import EXPIRY_COLUMNS, FACE_COLUMNS
from models.discount.link import PLAIN, Link, Links
from models.discount.pooled import RATE_UNIT, PooledLogit, UsualOffers
from models.discount.recent import Recent
from models.discount.resale import ResaleEstimate
from models.matrix import Columns, Encoding, along
from models.trees import predict

TREES = ("usual", "usual_of_kind", "place", "slope")
OF_THE_CARD = frozenset({*FACE_COLUMNS, *EXPIRY_COLUMNS, "card_face_is_usual", EXPECTED_RESALE})
"""Inputs that tell cards of one kind apart on a market."""
STEEPNESS_RANGE = 4.0
"""The trees change the pooled steepness by this factor at most."""


@dataclass(frozen=True)
class AcceptanceCurve:
    """Curves of n sellers' decisions, each (n,): honest ones take ``location`` about half of the time, steepness is
    per RATE_UNIT, ``floor`` is the share that takes any rate."""

    location: np.ndarray
    steepness: np.ndarray
    floor: np.ndarray
    link: Link = PLAIN

    def honest(self, rate: np.ndarray) -> np.ndarray:
        """P(an honest seller accepts) at rates (n,) or a grid of them (n, g); increasing along the grid."""
        return self.link.probability(self._scores(rate))

    def deciding(self, rate: np.ndarray) -> np.ndarray:
        """What decides a price in place of :meth:`honest`, from ``least_rate`` to ``most_rate``: the same on the hill
        that is searched, less beside it, so that profit has one hill and keeps the order of prices."""
        return self.link.deciding(self._scores(rate))

    def _scores(self, rate: np.ndarray) -> np.ndarray:
        location, steepness = (along(x, rate) for x in (self.location, self.steepness))
        return steepness * (rate - location) / RATE_UNIT

    def probability(self, rate: np.ndarray) -> np.ndarray:
        """P(accept) at rates (n,) or a grid of them (n, g), fraudsters included."""
        floor = along(self.floor, rate)
        return floor + (1.0 - floor) * self.honest(rate)

    def least_rate(self) -> np.ndarray:
        """Lowest rate (n,) worth comparing: few sellers take less."""
        return self.location + RATE_UNIT * self.link.least / self.steepness

    def most_rate(self) -> np.ndarray:
        """Highest rate (n,) worth comparing on a lower hill; infinite on the uppermost one."""
        return self.location + RATE_UNIT * self.link.most / self.steepness

    def rate_taken_by(self, share: float) -> np.ndarray:
        """Rate (n,) that ``share`` of honest sellers accept; rises with the location."""
        return self.location + RATE_UNIT * self.link.score(share) / self.steepness

    def rows(self, rows: slice | np.ndarray) -> AcceptanceCurve:
        return AcceptanceCurve(
            location=self.location[rows],
            steepness=self.steepness[rows],
            floor=self.floor[rows],
            link=self.link.rows(rows),
        )


@dataclass(frozen=True)
class AcceptanceModel:
    """The pooled logit and, where the log was large enough, the usual offers it leans on (of such a card, and of its
    kind), the trees that bend it per card, the shape F, and how the newest decisions differ."""

    pooled: PooledLogit
    links: Links = field(default_factory=Links)
    recent: Recent = field(default_factory=Recent)
    place_inputs: Encoding | None = None
    usual: lightgbm.Booster | None = None
    usual_of_kind: lightgbm.Booster | None = None
    place: lightgbm.Booster | None = None
    slope_inputs: Encoding | None = None
    slope: lightgbm.Booster | None = None

    def curve(
        self, *, columns: Columns, context: CardContext, resale: ResaleEstimate, floor: np.ndarray
    ) -> AcceptanceCurve:
        usual, moved = UsualOffers(resale.mean, resale.mean), 0.0
        if self.place_inputs is not None:
            inputs = place_matrix(columns, self.place_inputs, resale)
            usual = self._usual_offers(inputs, resale)
            moved = moved if self.place is None else RATE_UNIT * predict(self.place, inputs)
        location, log_steepness = self.pooled.curve(context=context, resale=resale, usual=usual)
        if self.slope is not None and self.slope_inputs is not None:
            log_steepness = log_steepness + bounded(predict(self.slope, self.slope_inputs.matrix(columns)))
        steepness = self.recent.stretch * np.exp(log_steepness)
        return AcceptanceCurve(
            location=location + moved - RATE_UNIT * self.recent.shift / steepness,
            steepness=steepness,
            floor=floor,
            link=self.links.of(context),
        )

    def _usual_offers(self, inputs: np.ndarray, resale: ResaleEstimate) -> UsualOffers:
        """Those that the logit leans on; of another one it does not matter what is said."""
        assert self.place_inputs is not None
        of_card = of_kind = resale.mean
        if self.usual is not None and self.pooled.usual_slope:
            of_card = _usual_offer(self.usual, inputs, resale)
        if self.usual_of_kind is not None and self.pooled.kind_slope:
            of_kind = _usual_offer(self.usual_of_kind, of_the_kind(inputs, self.place_inputs), resale)
        return UsualOffers(of_card, of_kind)

    def usual_offer(self, columns: Columns, resale: ResaleEstimate) -> np.ndarray | None:
        """The rate (n,) that the log usually offered for such a card on such a market; None where it taught none."""
        if self.usual is None or self.place_inputs is None:
            return None
        return _usual_offer(self.usual, place_matrix(columns, self.place_inputs, resale), resale)

    def save(self, folder: Path) -> None:
        """``acceptance.json`` and ``acceptance_<name>.txt`` of each of the trees there are."""
        trees = {name: getattr(self, name) for name in TREES}
        for name, booster in trees.items():
            if booster is not None:
                save_booster(booster, folder / _file_name(name))
        data = {
            "pooled": asdict(self.pooled),
            "links": self.links.to_dict(),
            "recent": asdict(self.recent),
            "place_inputs": None if self.place_inputs is None else self.place_inputs.to_dict(),
            "slope_inputs": None if self.slope_inputs is None else self.slope_inputs.to_dict(),
            "trees": [name for name, booster in trees.items() if booster is not None],
        }
        text = json.dumps(data, ensure_ascii=False, indent=1)
        (folder / "acceptance.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> AcceptanceModel:
        data = json.loads((folder / "acceptance.json").read_text(encoding="utf-8"))
        trees = {name: load_booster(folder / _file_name(name)) for name in data["trees"]}
        return cls(
            pooled=PooledLogit(**data["pooled"]),
            links=Links.from_dict(data["links"]),
            recent=Recent(**data["recent"]),
            place_inputs=_encoding(data["place_inputs"]),
            slope_inputs=_encoding(data["slope_inputs"]),
            **{name: trees.get(name) for name in TREES},
        )


def _usual_offer(trees: lightgbm.Booster, inputs: np.ndarray, resale: ResaleEstimate) -> np.ndarray:
    return resale.anchor_rate + predict(trees, inputs)


def _encoding(data: Mapping[str, Any] | None) -> Encoding | None:
    return None if data is None else Encoding.from_dict(data)


def _file_name(trees: str) -> str:
    return f"acceptance_{trees}.txt"


def place_encoding(columns: Columns, names: Sequence[str]) -> Encoding:
    """The inputs of a curve's place: the named columns that there are, and last the resale estimate."""
    known = tuple(name for name in names if name in columns)
    encoding = Encoding.fit(columns, known)
    return replace(encoding, names=(*known, EXPECTED_RESALE))


def place_matrix(columns: Columns, encoding: Encoding, resale: ResaleEstimate) -> np.ndarray:
    """What the place of a curve is learnt from (n, k): rates as distances from the anchor (which does not change with
    face value, days to expiry or competitors' bids)."""
    return relative_matrix({**columns, EXPECTED_RESALE: resale.mean}, encoding, resale.anchor_rate)


def of_the_kind(inputs: np.ndarray, encoding: Encoding) -> np.ndarray:
    """The same inputs (n, k) with nothing said of what sets a card apart from others of its kind."""
    places = [place for place, name in enumerate(encoding.names) if name in OF_THE_CARD]
    masked = inputs.copy()
    masked[:, places] = np.nan
    return masked


def bounded(log_steepness: np.ndarray) -> np.ndarray:
    """The trees' change of the log steepness, held within a factor STEEPNESS_RANGE."""
    limit = np.log(STEEPNESS_RANGE)
    return np.minimum(np.maximum(log_steepness, -limit), limit)

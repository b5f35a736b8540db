"""Is a price blind to the person? The same card at the same moment, offered by different people.

Recent trades are told anew, each by some dozen real sellers with everything that goes with a person, and go the whole
way from the spine over the features to the rate. A person may add the loyalty bonus of the price policy and nothing
else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.definitions import FEATURES
from features.rows import SPINE_COLUMNS, microseconds
from models.discount.model import LOYALTY, DiscountModel
from models.matrix import Columns
from models.policy import Costs, PricePolicy
from models.quoting import as_trained
from pipelines.stored_features import features_of
from pipelines.training.splitting import DAY_US
from pipelines.workspace import Workspace

PERSON_COLUMNS = (
    "seller_id",
    "device_id",
    "ip",
    "payout_account",
    "payee_is_seller",
    "asked_rate",
    "region",
    "channel",
    "extras",
)
"""What changes with the person; everything else of a trade is the card and the moment."""
TRADES, PEOPLE = 300, 24
RECENT_US = 30 * DAY_US
EXACT = 1e-9
MOST_EXAMPLES = 5


@dataclass(frozen=True)
class Unexplained:
    """One trade whose price depends on who sells, by up to ``amount_fen``."""

    trade_id: str
    amount_fen: int


@dataclass(frozen=True)
class Fairness:
    """trades, people: how many cards were priced, each for how many people. bonuses: prices raised by the loyalty
    bonus. unexplained: trades with a difference beyond it; worst: those with the largest."""

    trades: int
    people: int
    bonuses: int
    unexplained: int
    worst: tuple[Unexplained, ...]

    def __str__(self) -> str:
        text = (
            f"{self.trades} cards for {self.people} people each: {self.bonuses} loyalty bonuses, "
            f"{self.unexplained} unexplained differences"
        )
        shown = ", ".join(f"{item.trade_id} ¥{item.amount_fen / 100:.2f}" for item in self.worst)
        return f"{text} ({shown})" if shown else text


@dataclass(frozen=True)
class Trial:
    """The same cards told by different people: (trades · people,) each, the people of one trade together.

    told: the trade that each row tells anew.
    """

    people: int
    told: np.ndarray
    columns: Columns
    face_value_fen: np.ndarray
    submitted_ms: np.ndarray


def fairness_trial(
    workspace: Workspace,
    *,
    rng: np.random.Generator,
    more: Sequence[str] = (),
    trades: int = TRADES,
    people: int = PEOPLE,
) -> Trial:
    """Recent trades of the workspace, each told by several of its sellers, with every feature there is (those of
    the person too, as in the service) and the columns ``more``. Raises ValueError without trades."""
    stored = workspace.tables.read("trades")
    if len(stored) == 0:
        raise ValueError("there is no trade to price for different people")
    recent, sellers = _recent(stored, trades, rng), _people(stored, people, rng)
    told, teller = np.repeat(recent, len(sellers)), np.tile(sellers, len(recent))
    spine = _spine(stored, told, teller)
    names = tuple(dict.fromkeys((*FEATURES.names(), *more)))
    columns = features_of(workspace, spine, names=names, trades=stored)
    return Trial(
        people=len(sellers),
        told=stored["trade_id"].take(pa.array(told)).to_numpy(zero_copy_only=False),
        columns=columns,
        face_value_fen=spine["face_value_fen"].to_numpy(),
        submitted_ms=microseconds(spine["submitted_at"]) // 1000,
    )


def judge_fairness(
    trial: Trial, *, model: DiscountModel, pins: dict[str, str], costs: Costs, policy: PricePolicy
) -> Fairness:
    """Price every card for everybody and look for differences. pins: see :class:`models.quoting.ModelPair`."""
    columns = as_trained(trial.columns, pins)
    offers = model.price(
        columns=columns,
        face_value_fen=trial.face_value_fen,
        submitted_at=trial.submitted_ms,
        costs=costs,
        policy=policy,
    )
    shape = (-1, trial.people)
    rate, bonus, none = (part.reshape(shape) for part in (offers.rate, offers.loyalty_bonus, offers.no_offer))
    allowed = np.where(columns[LOYALTY].reshape(shape) >= policy.loyalty_after, policy.loyalty_bonus, 0.0)
    undue = np.maximum(np.maximum(bonus - allowed, -bonus), 0.0)
    apart = np.maximum(np.ptp(rate - bonus, axis=1), undue.max(axis=1))
    apart = np.where(none.any(axis=1) & ~none.all(axis=1), rate.max(axis=1), apart)
    return Fairness(
        trades=len(apart),
        people=trial.people,
        bonuses=int((bonus > EXACT).sum()),
        unexplained=int((apart > EXACT).sum()),
        worst=_worst(trial, apart),
    )


def _worst(trial: Trial, apart: np.ndarray) -> tuple[Unexplained, ...]:
    """Trades by the money that lies between people, apart (trades,) in rate."""
    face, trade_id = trial.face_value_fen[:: trial.people], trial.told[:: trial.people]
    amount = np.rint(apart * face).astype(np.int64)
    order = np.argsort(-apart * face, kind="stable")[:MOST_EXAMPLES]
    return tuple(
        Unexplained(str(trade_id[row]), int(amount[row])) for row in order.tolist() if apart[row] > EXACT
    )


def _recent(stored: pa.Table, most: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of the stored trades, ascending: ``most`` of the newest month."""
    time = microseconds(stored["submitted_at"])
    rows = np.flatnonzero(time >= time.max() - RECENT_US)
    return np.sort(rng.choice(rows, min(most, len(rows)), replace=False))


def _people(stored: pa.Table, most: int, rng: np.random.Generator) -> np.ndarray:
    """The newest trade (row) of each of ``most`` sellers: a third of them took most offers, a third sold most known
    frauds, the others are anybody."""
    sellers = stored["seller_id"].combine_chunks().dictionary_encode()
    code = sellers.indices.to_numpy(zero_copy_only=False)
    latest = np.zeros(len(sellers.dictionary), dtype=np.int64)
    np.maximum.at(latest, code, np.arange(len(code)))
    accepted, frauds = (
        np.bincount(code, pc.fill_null(stored[name], False).to_numpy(zero_copy_only=False), len(latest))
        for name in ("accepted", "fraud")
    )
    third = most // 3
    by_count = [np.argsort(-counts, kind="stable")[:third] for counts in (accepted, frauds)]
    anybody = rng.permutation(len(latest))
    return latest[list(dict.fromkeys(np.concatenate([*by_count, anybody]).tolist()))[:most]]


def _spine(stored: pa.Table, told: np.ndarray, teller: np.ndarray) -> pa.Table:
    """The cards and moments of the rows ``told`` with the people of the rows ``teller``, as trades of their own."""
    columns = {
        name: stored[name].take(pa.array(teller if name in PERSON_COLUMNS else told))
        for name in (*SPINE_COLUMNS, *PERSON_COLUMNS)
    }
    number = pa.array(np.arange(len(told)).astype(str), pa.string())
    columns["trade_id"] = pc.binary_join_element_wise(columns["trade_id"], number, "#")
    return pa.table(columns)

"""Honest sellers and their visits: who comes back, with which device, from where, and when.

A *visit* is one sitting in which one or several cards of one type are offered; see :mod:`cards`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.simulation.kinds import Kinds
from pipelines.simulation.seasons import HONEST_HOURS, volume_season
from pipelines.simulation.world import World

Rows = dict[str, np.ndarray]
"""Columns (n,) of equal length. Entities are integer codes until the tables are written."""

ACTIVITY_TAIL = 1.5
MOST_VISITS = 400
"""Visits per seller follow a Pareto law: two of three sellers come once, a few dealers hundreds of times."""
SEVERAL_CARDS, LARGEST_LOT = 0.12, 20
"""Share of visits with more than one card."""
FAVOURITE = 0.5
"""Share of visits in which a seller offers the type they usually offer."""
IN_HOUSEHOLD, SHARED_DEVICE, SHARED_ACCOUNT = 0.08, 0.4, 0.3
SECOND_DEVICE, SECOND_ACCOUNT = 0.12, 0.04
IN_OFFICE, FROM_OFFICE, SELLERS_PER_OFFICE = 0.10, 0.35, 25
FROM_CARRIER, SELLERS_PER_CARRIER = 0.30, 400
"""Honest people share entities too: families, offices behind one address, mobile carriers."""

REGIONS = (
    "guangdong", "zhejiang", "jiangsu", "shanghai", "beijing", "shandong", "sichuan", "henan", "hubei",
    "fujian", "hunan", "anhui", "hebei", "chongqing", "shaanxi", "liaoning", "jiangxi", "guangxi",
    "yunnan", "tianjin",
)  # fmt: skip
CHANNELS = ("app", "site", "partner")
CHANNEL_SHARES = (0.62, 0.28, 0.10)

CODES = ("seller", "device", "ip", "account")


@dataclass(frozen=True)
class People:
    """Honest visits, their sellers' own entities, and how many codes of each entity are in use."""

    visits: Rows
    homes: Rows
    used: Mapping[str, int]


def honest_people(world: World, kinds: Kinds, cards: int) -> People:
    """Sellers with visits that hold exactly ``cards`` cards."""
    rng = world.rng("people")
    seller, size = _visit_sizes(rng, cards)
    sellers = int(seller[-1]) + 1
    homes, used = _homes(rng, kinds, sellers)
    visits = {"seller": seller, "size": size}
    visits |= _where_from(rng, seller, homes, sellers)
    visits |= _what(rng, kinds, visits, homes)
    visits |= _when(rng, world, seller, sellers)
    visits["fraud_kind"] = np.zeros(len(seller), dtype=np.int8)
    visits["ring"] = np.full(len(seller), -1)
    return People(visits=visits, homes=homes, used=used)


def _visit_sizes(rng: np.random.Generator, cards: int) -> tuple[np.ndarray, np.ndarray]:
    """Seller and number of cards of each visit, ``cards`` in total; sellers are numbered from 0."""
    visits = np.minimum((1 - rng.random(cards)) ** (-1 / ACTIVITY_TAIL), MOST_VISITS).astype(np.int64)
    sellers = int(np.searchsorted(np.cumsum(visits), cards)) + 1
    seller = np.repeat(np.arange(sellers), visits[:sellers])
    size = lot_sizes(rng, len(seller), share=SEVERAL_CARDS)
    size = cut_to_total(size, cards)
    return seller[: len(size)], size


def lot_sizes(rng: np.random.Generator, visits: int, *, share: float) -> np.ndarray:
    """Cards per visit (n,): one, or with probability ``share`` two and more."""
    several = np.minimum(1 + rng.geometric(0.35, visits), LARGEST_LOT)
    return np.where(rng.random(visits) < share, several, 1)


def cut_to_total(size: np.ndarray, total: int) -> np.ndarray:
    """The first sizes, the last one cut, so that they sum to ``total``; their sum must reach it."""
    upto = np.cumsum(size)
    last = int(np.searchsorted(upto, total))
    kept = size[: last + 1].copy()
    kept[-1] -= upto[last] - total
    return kept


def _homes(rng: np.random.Generator, kinds: Kinds, sellers: int) -> tuple[Rows, dict[str, int]]:
    """Each seller's own entities (sellers,) and how many codes they take."""
    own = np.arange(sellers)
    joins = rng.random(sellers) < IN_HOUSEHOLD
    joins[0] = False
    household = np.maximum.accumulate(np.where(joins, 0, own))
    offices = 1 + int(sellers * IN_OFFICE / SELLERS_PER_OFFICE)
    carriers = 1 + sellers // SELLERS_PER_CARRIER
    office_kind = rng.choice(len(kinds.names), offices, p=kinds.popularity)
    in_office = rng.random(sellers) < IN_OFFICE
    homes = {
        "device": np.where(joins & (rng.random(sellers) < SHARED_DEVICE), household, own),
        "account": np.where(joins & (rng.random(sellers) < SHARED_ACCOUNT), household, own),
        "ip": household,
        "office": np.where(in_office, rng.integers(offices, size=sellers), -1),
        "carrier": rng.integers(carriers, size=sellers),
        "region": rng.choice(len(REGIONS), sellers, p=region_shares()),
        "channel": rng.choice(len(CHANNELS), sellers, p=CHANNEL_SHARES),
        "favourite": rng.choice(len(kinds.names), sellers, p=kinds.popularity),
        "office_kind": office_kind,
    }
    used = {
        "seller": sellers,
        "device": 2 * sellers,
        "account": 2 * sellers,
        "ip": sellers + offices + carriers,
    }
    return homes, used


def region_shares() -> np.ndarray:
    """Share of sellers by region: falling with its rank, an assumption."""
    weight = 1 / (np.arange(len(REGIONS)) + 3.0)
    return weight / weight.sum()


def _where_from(rng: np.random.Generator, seller: np.ndarray, homes: Rows, sellers: int) -> Rows:
    """Device, address, account, region, channel and office of each visit."""
    visits = len(seller)
    office = np.where(rng.random(visits) < FROM_OFFICE, homes["office"][seller], -1)
    offices = len(homes["office_kind"])
    carrier = rng.random(visits) < FROM_CARRIER
    ip = np.where(carrier, sellers + offices + homes["carrier"][seller], homes["ip"][seller])
    ip = np.where(office >= 0, sellers + office, ip)
    second_device = rng.random(visits) < SECOND_DEVICE
    second_account = rng.random(visits) < SECOND_ACCOUNT
    return {
        "device": np.where(second_device, sellers + seller, homes["device"][seller]),
        "account": np.where(second_account, sellers + seller, homes["account"][seller]),
        "ip": ip,
        "region": homes["region"][seller],
        "channel": homes["channel"][seller],
        "office": office,
    }


def _what(rng: np.random.Generator, kinds: Kinds, visits: Rows, homes: Rows) -> Rows:
    """Card type of each visit. Offices hand out one type, so their people bring the same batch."""
    seller, office = visits["seller"], visits["office"]
    drawn = rng.choice(len(kinds.names), len(seller), p=kinds.popularity)
    kind = np.where(rng.random(len(seller)) < FAVOURITE, homes["favourite"][seller], drawn)
    handed_out = (office >= 0) & (rng.random(len(seller)) < 0.5)
    return {
        "kind": np.where(handed_out, homes["office_kind"][np.maximum(office, 0)], kind),
        "batch_of_office": np.where(handed_out, office, -1),
    }


def _when(rng: np.random.Generator, world: World, seller: np.ndarray, sellers: int) -> Rows:
    """Day (0 = first) and hour of each visit: sellers come and go, days follow the season.

    A stay that reaches past the end of the log continues at its beginning, so that no part of it is emptier.
    """
    joined, stay = rng.random(sellers), rng.uniform(0.1, 0.8, sellers)
    position = (joined[seller] + stay[seller] * rng.random(len(seller))) % 1.0
    return {
        "day": day_at(world, position),
        "hour": rng.choice(24, len(seller), p=HONEST_HOURS),
    }


def day_at(world: World, position: np.ndarray) -> np.ndarray:
    """Day (n,) at a position in [0, 1) of the whole volume of cards."""
    volume = np.cumsum(volume_season(world.start_day + np.arange(world.days)))
    return np.minimum(np.searchsorted(volume / volume[-1], position, side="right"), world.days - 1)

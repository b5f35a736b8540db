"""Visits of fraudsters: rings with stolen batches, rented accounts, and lone ones that look like anybody.

Double redemption is added later, from cards that were offered before: see :mod:`repeats`.
"""

from __future__ import annotations

import numpy as np

from pipelines.simulation.kinds import Kinds
from pipelines.simulation.people import (
    CHANNEL_SHARES,
    CHANNELS,
    REGIONS,
    People,
    Rows,
    cut_to_total,
    day_at,
    lot_sizes,
    region_shares,
)
from pipelines.simulation.seasons import HONEST_HOURS
from pipelines.simulation.world import World

FRAUD_KINDS = ("", "stolen_batch_ring", "rented_accounts", "double_redemption", "ordinary")
RING, RENTED, DOUBLE, ORDINARY = 1, 2, 3, 4
FRAUD_KIND_SHARES = {RING: 0.45, RENTED: 0.20, DOUBLE: 0.15, ORDINARY: 0.20}
"""Shares of fraudulent cards by kind. Assumptions: no public figure splits the fraud of this trade."""

MEDIAN_RING_CARDS, RING_SIGMA, MOST_RING_CARDS = 18.0, 0.7, 120
RING_DAYS = (2.0, 10.0)
CAREFUL_RINGS = 0.35
"""Share of rings whose members keep their devices and accounts apart."""
BOUGHT_ACCOUNTS = 0.3
"""Share of ring members who use the account of an honest seller, with its history."""
RING_LOTS = 0.3


class Codes:
    """Hands out unused entity codes behind those in use."""

    def __init__(self, used: dict[str, int]) -> None:
        self.used = dict(used)

    def take(self, entity: str, count: int) -> np.ndarray:
        first = self.used[entity]
        self.used[entity] += count
        return np.arange(first, first + count)


def fraud_visits(
    world: World, kinds: Kinds, people: People, counts: dict[int, int]
) -> tuple[Rows, dict[str, int]]:
    """Visits with exactly ``counts[kind]`` cards of each kind, and the number of codes then in use."""
    rng = world.rng("fraud")
    codes = Codes(dict(people.used))
    parts = [
        _rings(rng, world, kinds, people, codes, counts[RING], rented=False),
        _rings(rng, world, kinds, people, codes, counts[RENTED], rented=True),
        _ordinary(rng, world, kinds, people, codes, counts[ORDINARY]),
    ]
    ring_count = 0
    for part in parts[:2]:
        part["ring"] = part["ring"] + ring_count
        ring_count = int(part["ring"].max(initial=ring_count - 1)) + 1
    return {name: np.concatenate([part[name] for part in parts]) for name in people.visits}, codes.used


def _rings(
    rng: np.random.Generator,
    world: World,
    kinds: Kinds,
    people: People,
    codes: Codes,
    cards: int,
    *,
    rented: bool,
) -> Rows:
    """Groups that work for some days: one type and batch, shared devices and accounts or one account."""
    drawn = rng.lognormal(np.log(MEDIAN_RING_CARDS), RING_SIGMA, cards + 1)
    ring_cards = cut_to_total(np.clip(drawn, 5, MOST_RING_CARDS).astype(np.int64), cards)
    ring_cards = ring_cards[ring_cards > 0]
    size = cut_to_total(lot_sizes(rng, cards + 1, share=RING_LOTS), cards)
    size = size[size > 0]
    ring = np.searchsorted(np.cumsum(ring_cards), np.cumsum(size), side="left")
    members = 2 + ring_cards // (2 if rented else 6)
    member, member_ring = _pick(rng, ring, members)
    entities = _ring_entities(rng, people, codes, ring_cards, member_ring, rented=rented)
    kind = rng.choice(len(kinds.names), len(ring_cards), p=kinds.fraud_popularity)
    return {name: column[member] for name, column in entities.items()} | {
        "size": size,
        "ring": ring,
        "kind": kind[ring],
        "day": _ring_days(rng, world, ring, len(ring_cards)),
        "hour": rng.choice(24, len(ring), p=world.fraud_hours),
        "office": np.full(len(ring), -1),
        "batch_of_office": np.full(len(ring), -1),
        "fraud_kind": np.full(len(ring), RENTED if rented else RING, dtype=np.int8),
    }


def _ring_days(rng: np.random.Generator, world: World, ring: np.ndarray, rings: int) -> np.ndarray:
    """Day of each visit (n,): from the ring's first day on; what falls behind the last day falls anywhere."""
    first = day_at(world, rng.random(rings))
    lasts_days = rng.uniform(*RING_DAYS, rings)
    day = first[ring] + (rng.random(len(ring)) * lasts_days[ring]).astype(np.int64)
    return np.where(day < world.days, day, rng.integers(world.days, size=len(day)))


def _pick(rng: np.random.Generator, group: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A random element of each row's group (n,), numbered across groups, and the group of each element."""
    first = np.cumsum(sizes) - sizes
    element = first[group] + (rng.random(len(group)) * sizes[group]).astype(np.int64)
    return element, np.repeat(np.arange(len(sizes)), sizes)


def _ring_entities(
    rng: np.random.Generator,
    people: People,
    codes: Codes,
    ring_cards: np.ndarray,
    member_ring: np.ndarray,
    *,
    rented: bool,
) -> Rows:
    """Seller, device, address, account, region and channel of each member (m,)."""
    members, rings = len(member_ring), len(ring_cards)
    old = rng.integers(people.used["seller"], size=members)
    uses_old = rng.random(members) < (0.5 if rented else BOUGHT_ACCOUNTS)
    apart = np.full(rings, rented) | (rng.random(rings) < CAREFUL_RINGS)
    device, _ = _pick(rng, member_ring, 1 + ring_cards // 15)
    account, _ = _pick(rng, member_ring, np.ones(rings, dtype=np.int64) if rented else 1 + ring_cards // 20)
    own_device, own_account = codes.take("device", members), codes.take("account", members)
    shared_device = codes.take("device", int(device.max(initial=-1)) + 1)[device]
    shared_account = codes.take("account", int(account.max(initial=-1)) + 1)[account]
    keeps_account = apart & (not rented)
    return {
        "seller": np.where(uses_old, old, codes.take("seller", members)),
        "device": np.where(
            uses_old & rented,
            people.homes["device"][old],
            np.where(apart[member_ring], own_device, shared_device),
        ),
        "account": np.where(keeps_account[member_ring], own_account, shared_account),
        "ip": _ring_ips(rng, people, codes, member_ring, ring_cards),
        "region": rng.choice(len(REGIONS), members, p=region_shares()),
        "channel": rng.choice(len(CHANNELS), members, p=CHANNEL_SHARES),
    }


def _ring_ips(
    rng: np.random.Generator, people: People, codes: Codes, member_ring: np.ndarray, ring_cards: np.ndarray
) -> np.ndarray:
    """Half the members hide behind mobile carriers, as honest sellers do; the others share a few proxies."""
    proxy, _ = _pick(rng, member_ring, 1 + ring_cards // 8)
    proxies = codes.take("ip", int(proxy.max(initial=-1)) + 1)[proxy]
    sellers, offices = len(people.homes["ip"]), len(people.homes["office_kind"])
    carrier = sellers + offices + rng.integers(people.homes["carrier"].max() + 1, size=len(member_ring))
    return np.where(rng.random(len(member_ring)) < 0.5, carrier, proxies)


def _ordinary(
    rng: np.random.Generator, world: World, kinds: Kinds, people: People, codes: Codes, cards: int
) -> Rows:
    """Fraud that looks like an honest visit: a known seller gone bad, or a new one; nothing is shared."""
    template = rng.integers(len(people.visits["seller"]), size=cards)
    visits = {name: column[template] for name, column in people.visits.items()}
    new = rng.random(cards) < 0.5
    for entity in ("seller", "device", "account", "ip"):
        visits[entity] = np.where(new, codes.take(entity, cards), visits[entity])
    honest_size = cut_to_total(visits["size"], cards) if cards else visits["size"]
    visits = {name: column[: len(honest_size)] for name, column in visits.items()}
    count = len(honest_size)
    return visits | {
        "size": honest_size,
        "hour": rng.choice(24, count, p=HONEST_HOURS),
        "day": day_at(world, rng.random(count)),
        "fraud_kind": np.full(count, ORDINARY, dtype=np.int8),
    }

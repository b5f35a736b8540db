"""From visits to cards: moment, face value, form, expiry, batch and number of each card offered."""

from __future__ import annotations

import numpy as np

from pipelines.simulation.fraudsters import DOUBLE, FRAUD_KIND_SHARES, ORDINARY, RENTED, RING
from pipelines.simulation.kinds import Kinds
from pipelines.simulation.people import Rows
from pipelines.simulation.seasons import HONEST_HOURS
from pipelines.simulation.world import HOUR_US, World, local_day

NO_EXPIRY = 2**31 - 1
"""``expires_day`` of a card that never expires."""

ODD_FACES, FRAUD_ODD_FACES = 0.05, 0.01
"""Share of cards with a remaining balance instead of a printed value."""
NEAR_EXPIRY, EXPIRED = 0.10, 0.015
"""Shares, among card types that expire, of cards with less than four months left and of expired cards."""
NEAR_DAYS, LONGEST_EXPIRED_DAYS = 120, 400
FRAUD_VIRTUAL = 0.7
"""Share of physical cards that a fraudster replaces by virtual ones: no parcel, no film of the unpacking."""
CARDS_PER_BATCH = 50
RING_USES_ITS_BATCH = 0.8
SECONDS_BETWEEN_CARDS = (5.0, 40.0)


def draw_cards(world: World, kinds: Kinds, visits: Rows) -> Rows:
    """One row per card. Drawn per visit: a lot has one type, face value, expiry, form and batch.

    Adds submitted_us, face_fen, odd (bool), physical (bool), expires_day (days since the epoch), batch, card
    (the card's number), lot (-1: alone), temperament (0–1: the share of sellers content with less).
    """
    rng = world.rng("cards")
    count = len(visits["kind"])
    preying = np.isin(visits["fraud_kind"], (RING, RENTED))
    visit = visits | _faces(rng, kinds, visits["kind"], preying)
    visit["physical"] = _physical(rng, kinds, visits["kind"], preying)
    visit["expires_day"] = _expiry(rng, world, kinds, visits)
    visit["batch"] = _batches(rng, world, kinds, visits)
    minute = rng.random(count)
    visit["submitted_us"] = visit["day"] * 24 * HOUR_US + ((visit["hour"] + minute) * HOUR_US).astype(
        np.int64
    )
    visit["lot"] = np.where(visit["size"] > 1, np.arange(count), -1)
    return _expand(rng, world, visit)


def _expand(rng: np.random.Generator, world: World, visit: Rows) -> Rows:
    size = visit["size"]
    index = np.repeat(np.arange(len(size)), size)
    dropped = {"size", "day", "hour", "office", "batch_of_office"}
    cards = {name: column[index] for name, column in visit.items() if name not in dropped}
    place = np.arange(len(index)) - np.repeat(np.cumsum(size) - size, size)
    pause = rng.uniform(*SECONDS_BETWEEN_CARDS, len(index)) * 1_000_000
    moment = world.start_us + cards["submitted_us"] + (place * pause).astype(np.int64)
    cards["submitted_us"] = np.minimum(moment, world.end_of_days_us - 1)
    cards["card"] = np.arange(len(index))
    standing = world.rng("temperament").random(int(cards["seller"].max()) + 1)
    of_the_day = rng.random(len(index)) > STANDING_SHARE
    cards["temperament"] = np.where(of_the_day, rng.random(len(index)), standing[cards["seller"]])
    return cards


STANDING_SHARE = 0.4
"""Share of a seller's trades decided by loyalty, which stays; the others are decided by the day's urgency."""


def _faces(rng: np.random.Generator, kinds: Kinds, kind: np.ndarray, preying: np.ndarray) -> Rows:
    """Usual face values by their shares; some cards carry an odd remainder of one."""
    shares = np.where(preying[:, None], kinds.fraud_face_shares[kind], kinds.face_shares[kind])
    place = (rng.random(len(kind))[:, None] > np.cumsum(shares, axis=1)[:, :-1]).sum(axis=1)
    usual = kinds.face_fen[kind, place]
    odd = rng.random(len(kind)) < np.where(preying, FRAUD_ODD_FACES, ODD_FACES)
    remainder = np.rint(usual * rng.uniform(0.3, 0.98, len(kind)) / 10).astype(np.int64) * 10
    return {"face_fen": np.where(odd, remainder, usual), "face_place": place, "odd": odd}


def _physical(rng: np.random.Generator, kinds: Kinds, kind: np.ndarray, preying: np.ndarray) -> np.ndarray:
    share = kinds.physical[kind]
    only_physical = share >= 1
    share = np.where(preying & ~only_physical, share * (1 - FRAUD_VIRTUAL), share)
    return rng.random(len(kind)) < share


def _expiry(rng: np.random.Generator, world: World, kinds: Kinds, visits: Rows) -> np.ndarray:
    """Last valid day: none, far, within four months, or past. Nobody steals an expired card."""
    kind = visits["kind"]
    validity = kinds.validity_days[kind]
    fate = rng.random(len(kind))
    far = NEAR_DAYS + rng.random(len(kind)) * np.maximum(validity - NEAR_DAYS, 1)
    near = rng.random(len(kind)) * NEAR_DAYS
    past = -1 - rng.random(len(kind)) * LONGEST_EXPIRED_DAYS
    left = np.where(fate < EXPIRED, past, np.where(fate < EXPIRED + NEAR_EXPIRY, near, far))
    fresh = np.isin(visits["fraud_kind"], (RING, RENTED))
    left = np.where(fresh, far, np.where((visits["fraud_kind"] == ORDINARY) & (left < 0), near, left))
    day = world.start_day + visits["day"] + np.floor(left).astype(np.int64)
    return np.where(validity > 0, day, NO_EXPIRY)


def _batches(rng: np.random.Generator, world: World, kinds: Kinds, visits: Rows) -> np.ndarray:
    """Batch of each visit. A ring's stolen batch is also in honest hands, an office's batch in many."""
    kind = visits["kind"]
    count = 1 + (kinds.popularity * world.trades / CARDS_PER_BATCH).astype(np.int64)
    first = np.cumsum(count) - count
    batch = first[kind] + (rng.random(len(kind)) ** 1.5 * count[kind]).astype(np.int64)
    office = visits["batch_of_office"]
    offices = int(office.max(initial=-1)) + 1
    of_office = rng.random(max(offices, 1))[np.maximum(office, 0)]
    batch = np.where(office >= 0, first[kind] + (of_office * count[kind]).astype(np.int64), batch)
    ring = visits["ring"]
    of_ring = rng.random(max(int(ring.max(initial=-1)) + 1, 1))[np.maximum(ring, 0)]
    uses = (visits["fraud_kind"] == RING) & (rng.random(len(kind)) < RING_USES_ITS_BATCH)
    return np.where(uses, first[kind] + (of_ring * count[kind]).astype(np.int64), batch)


def fraud_rate_of_context(world: World, kinds: Kinds, cards: Rows, hour: np.ndarray) -> np.ndarray:
    """P(fraud | card type, face value, form, expiry, hour of the day) of an offered card (n,).

    Bayes' rule with the very probabilities the cards were drawn from. It knows nothing of the person.
    """
    kind, place = cards["kind"], cards["face_place"]
    type_odds = (kinds.fraud_popularity / kinds.popularity)[kind]
    hour_odds = (world.fraud_hours / HONEST_HOURS)[hour]
    face_odds = kinds.fraud_face_shares[kind, place] / kinds.face_shares[kind, place]
    face_odds = face_odds * np.where(
        cards["odd"], FRAUD_ODD_FACES / ODD_FACES, (1 - FRAUD_ODD_FACES) / (1 - ODD_FACES)
    )
    share = kinds.physical[kind]
    form_odds = np.where(
        cards["physical"], 1 - FRAUD_VIRTUAL, (1 - share * (1 - FRAUD_VIRTUAL)) / np.maximum(1 - share, 1e-9)
    )
    form_odds = np.where((share >= 1) | (share <= 0), 1.0, form_odds)
    far_odds, near_odds, valid_odds = _expiry_odds(kinds, cards)
    preying = type_odds * hour_odds * face_odds * form_odds * far_odds
    shares = FRAUD_KIND_SHARES
    odds = (shares[RING] + shares[RENTED]) * preying
    odds = odds + shares[DOUBLE] * type_odds * hour_odds * valid_odds + shares[ORDINARY] * near_odds
    return world.fraud_share * odds / (world.fraud_share * odds + 1 - world.fraud_share)


def _expiry_odds(kinds: Kinds, cards: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much likelier the remaining validity is than among honest cards, each (n,): under fraud that takes
    only fresh cards; that brings near ones instead of expired ones; that takes any valid card."""
    expires = kinds.validity_days[cards["kind"]] > 0
    left = cards["expires_day"] - local_day(cards["submitted_us"])
    expired, near = expires & (left < 0), expires & (left >= 0) & (left < NEAR_DAYS)
    far_odds = np.where(expired | near, 0.0, np.where(expires, 1 / (1 - NEAR_EXPIRY - EXPIRED), 1.0))
    near_odds = np.where(expired, 0.0, np.where(near, (NEAR_EXPIRY + EXPIRED) / NEAR_EXPIRY, 1.0))
    valid_odds = np.where(expired, 0.0, np.where(expires, 1 / (1 - EXPIRED), 1.0))
    return far_odds, near_odds, valid_odds

"""The card types that are traded, drawn from the catalogue, and how each behaves in the synthetic market."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from features.catalogue import CardType, Catalogue

UNRELIABLE_BELOW = 0.2
"""A type whose sensible band starts below this (closed shops) has no market to simulate."""
BELOW_BAND_TOP = 0.10
"""A fresh card resells this share of the band below the band's top."""
VOLATILITY, VOLATILITY_OF_BAND, MOST_VOLATILITY = 0.003, 0.028, 0.016
"""Standard deviation of a type's own movement: the wider the published rates, the more it moves."""
RANK_DECAY = 1.1
"""Popularity within a category falls with the rank: ``WELL_KNOWN``, then the catalogue's confidence."""
WELL_KNOWN = (
    "jd_ecard", "tmall_supermarket", "jd_supermarket", "suning_gift", "meituan_gift", "vipshop", "walmart_cn",
    "rt_mart", "freshippo", "cr_vanguard", "yonghui", "sinopec_recharge", "sinopec_fuel", "petrochina_bearer",
    "china_mobile", "china_unicom", "china_telecom", "junnet", "qq_coin", "netease", "iqiyi_vip",
    "starbucks_cn", "luckin", "kfc_cn", "ctrip_renwoxing", "zihexin_shangtong", "bailian_ok", "apple_cn",
    "steam_usd", "apple_us", "wanda_film", "intime", "wangfujing", "zhongbai",
)  # fmt: skip
EXPIRED_VALUE = (0.015, 0.08)
"""Expected net resale of a just expired card; sources name 1–8 %."""
SENSITIVITY = (0.85, 1.2)
SKEW = (0.55, 0.85)
"""Where acceptance is skewed: the tail towards lower rates is 3 to 12 times as long as the other."""
HURRIED_SHARE = (0.25, 0.65)
"""Where acceptance is mixed: share of hurried sellers, by category."""
FACE_SPREAD = 0.8
FRAUD_FACE_TILT = 0.5
"""Fraud prefers larger face values, by this power of them."""
DAYS_PER_MONTH = 365.25 / 12


@dataclass(frozen=True)
class Traits:
    """What the types of one category have in common.

    types: of 50 types, how many. volume: share of all cards offered. appeal: how much fraud prefers it
    (liquid, virtual, redeemable at once). physical: share of physical cards where both forms exist. seasonal:
    0–1, how much the festivals move it. typical_cny: usual face value; faces_cny: used where the catalogue
    lists none.
    """

    types: int
    volume: float
    appeal: float
    physical: float
    seasonal: float
    typical_cny: float
    faces_cny: tuple[int, ...]


SHOP_FACES = (100, 200, 300, 500, 1000)
GIFT_FACES = (50, 100, 200, 300, 500)
TRAITS = {
    "ecommerce": Traits(7, 0.26, 2.2, 0.06, 0.7, 400, SHOP_FACES),
    "supermarket": Traits(6, 0.19, 0.7, 0.25, 1.0, 400, SHOP_FACES),
    "regional_supermarket": Traits(4, 0.05, 0.2, 0.50, 1.0, 400, SHOP_FACES),
    "department_store": Traits(3, 0.04, 0.2, 0.50, 1.0, 500, SHOP_FACES),
    "fuel": Traits(5, 0.10, 1.3, 0.30, 0.2, 500, (200, 500, 1000, 2000)),
    "telecom": Traits(5, 0.09, 1.4, 0.10, 0.1, 90, (30, 50, 100, 200)),
    "game": Traits(5, 0.07, 2.0, 0.05, 0.0, 60, (30, 50, 100, 200)),
    "video_music": Traits(2, 0.02, 0.8, 0.0, 0.1, 60, (30, 60, 120, 240)),
    "food_drink": Traits(4, 0.05, 0.6, 0.20, 0.5, 150, GIFT_FACES),
    "travel": Traits(2, 0.02, 0.5, 0.15, 0.2, 500, SHOP_FACES),
    "prepaid_bank": Traits(3, 0.04, 0.8, 0.50, 0.8, 500, SHOP_FACES),
    "cinema": Traits(1, 0.01, 0.3, 0.10, 0.2, 100, GIFT_FACES),
    "digital_intl": Traits(3, 0.06, 2.6, 0.05, 0.1, 250, (70, 140, 180, 350, 700)),
}
"""Volumes and preferences are the author's assumptions: no platform publishes them."""
TRAITS_PER = 50


@dataclass(frozen=True)
class Kinds:
    """The k card types of a world as arrays; ``names[i]`` is the card type of row i.

    rows: their rows of the catalogue. category: code (k,). base: resale rate of a fresh virtual card (k,).
    sensitivity, skew, hurried_share: how the least rates of a type's sellers spread (k,). popularity,
    fraud_popularity: shares of honest and of fraudulent cards, each summing to 1. face_fen (k, m) with the
    shares of honest and fraudulent cards, 0 where a type has fewer values.
    """

    names: tuple[str, ...]
    rows: tuple[CardType, ...]
    category: np.ndarray
    base: np.ndarray
    max_rate: np.ndarray
    volatility: np.ndarray
    sensitivity: np.ndarray
    skew: np.ndarray
    hurried_share: np.ndarray
    expired_value: np.ndarray
    popularity: np.ndarray
    fraud_popularity: np.ndarray
    physical: np.ndarray
    seasonal: np.ndarray
    online: np.ndarray
    validity_days: np.ndarray
    typical_face_fen: np.ndarray
    face_fen: np.ndarray
    face_shares: np.ndarray
    fraud_face_shares: np.ndarray

    @property
    def name_order(self) -> np.ndarray:
        """Rank of each type's name (k,)."""
        return np.argsort(np.argsort(np.array(self.names)))


def choose_kinds(catalogue: Catalogue, count: int) -> Kinds:
    """About ``count`` types of the catalogue, the better known ones of each category.

    Raises ValueError where the catalogue has no type of a category known here.
    """
    chosen: list[CardType] = []
    for category, traits in TRAITS.items():
        fitting = [row for row in catalogue if row.category == category and row.min_rate >= UNRELIABLE_BELOW]
        chosen += sorted(fitting, key=_rank)[: max(1, round(traits.types * count / TRAITS_PER))]
    if not chosen:
        raise ValueError("the catalogue has no card type that the synthetic market knows how to trade")
    return _kinds(tuple(chosen))


def _rank(row: CardType) -> tuple[int, int, str]:
    known = WELL_KNOWN.index(row.card_type) if row.card_type in WELL_KNOWN else len(WELL_KNOWN)
    return known, {"high": 0, "medium": 1}.get(row.confidence, 2), row.card_type


def _kinds(rows: tuple[CardType, ...]) -> Kinds:
    names = tuple(row.card_type for row in rows)
    categories = [row.category for row in rows]
    traits = [TRAITS[category] for category in categories]
    low = np.array([row.min_rate for row in rows])
    high = np.array([row.max_rate for row in rows])
    popularity = _popularity(categories)
    appeal = popularity * np.array([trait.appeal for trait in traits])
    face_fen, shares, fraud_shares = _faces(rows, traits)
    months = np.array([row.validity_months or 0 for row in rows], dtype=np.float64)
    return Kinds(
        names=names,
        rows=rows,
        category=np.array([sorted(set(categories)).index(category) for category in categories]),
        base=high - BELOW_BAND_TOP * (high - low) + 0.006 * (_fixed_draw(names, "base") - 0.5),
        max_rate=high,
        volatility=np.minimum(VOLATILITY + VOLATILITY_OF_BAND * (high - low), MOST_VOLATILITY),
        sensitivity=_between(SENSITIVITY, _fixed_draw(names, "sensitivity")),
        skew=_between(SKEW, _fixed_draw(names, "skew")),
        hurried_share=_between(HURRIED_SHARE, _fixed_draw(tuple(categories), "hurried")),
        expired_value=_between(EXPIRED_VALUE, _fixed_draw(names, "expired")),
        popularity=popularity,
        fraud_popularity=appeal / appeal.sum(),
        physical=np.array([_physical(row, trait) for row, trait in zip(rows, traits, strict=True)]),
        seasonal=np.array([trait.seasonal for trait in traits]),
        online=np.array([float(category == "ecommerce") for category in categories]),
        validity_days=np.rint(months * DAYS_PER_MONTH).astype(np.int64),
        typical_face_fen=np.array([trait.typical_cny * 100 for trait in traits]),
        face_fen=face_fen,
        face_shares=shares,
        fraud_face_shares=fraud_shares,
    )


def _popularity(categories: list[str]) -> np.ndarray:
    """Share of cards per type: the category's volume, split by rank within it."""
    weight = np.empty(len(categories))
    for category in set(categories):
        members = [index for index, other in enumerate(categories) if other == category]
        ranked = 1 / (np.arange(len(members)) + 1.0) ** RANK_DECAY
        weight[members] = TRAITS[category].volume * ranked / ranked.sum()
    return weight / weight.sum()


def _physical(row: CardType, traits: Traits) -> float:
    return 0.0 if "physical" not in row.forms else 1.0 if "virtual" not in row.forms else traits.physical


def _faces(rows: tuple[CardType, ...], traits: list[Traits]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Face values (k, m) in fen and the shares of honest and fraudulent cards that carry them."""
    listed = [_face_values(row, trait) for row, trait in zip(rows, traits, strict=True)]
    most = max(len(values) for values in listed)
    face = np.ones((len(rows), most), dtype=np.int64)
    shares, fraud_shares = np.zeros(face.shape), np.zeros(face.shape)
    for index, (values, trait) in enumerate(zip(listed, traits, strict=True)):
        weight = np.exp(-((np.log(values / (trait.typical_cny * 100)) / FACE_SPREAD) ** 2) / 2)
        tilted = weight * values**FRAUD_FACE_TILT
        face[index, : len(values)] = values
        shares[index, : len(values)] = weight / weight.sum()
        fraud_shares[index, : len(values)] = tilted / tilted.sum()
    return face, shares, fraud_shares


def _face_values(row: CardType, traits: Traits) -> np.ndarray:
    """Usual face values in fen: the catalogue's, else the category's, never above the legal maximum."""
    values = np.array(row.face_values_fen or [yuan * 100 for yuan in traits.faces_cny], dtype=np.int64)
    if row.max_face_fen is None:
        return values
    return (
        values[values <= row.max_face_fen]
        if values.min() <= row.max_face_fen
        else np.array([row.max_face_fen])
    )


def _fixed_draw(names: tuple[str, ...], what: str) -> np.ndarray:
    """Numbers in [0, 1) that depend on the card type alone, so that a type is the same under every seed."""
    return np.array([zlib.crc32(f"{name}:{what}".encode()) / 2**32 for name in names])


def _between(bounds: tuple[float, float], share: np.ndarray) -> np.ndarray:
    return bounds[0] + (bounds[1] - bounds[0]) * share

"""The synthetic market from beginning to end, and its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.catalogue import load_catalogue
from pipelines.simulation.cards import draw_cards
from pipelines.simulation.fraudsters import (
    DOUBLE,
    FRAUD_KIND_SHARES,
    ORDINARY,
    RENTED,
    RING,
    Codes,
    fraud_visits,
)
from pipelines.simulation.history import add_offer, add_outcomes, add_screening
from pipelines.simulation.kinds import Kinds, choose_kinds
from pipelines.simulation.people import Rows, honest_people
from pipelines.simulation.prices import Board, Prices, observe, simulate_prices
from pipelines.simulation.repeats import second_offers
from pipelines.simulation.sellers import add_truth
from pipelines.simulation.tables import card_types_table, market_table, oracle_table, trades_table
from pipelines.simulation.world import World

OFFERED_AGAIN = 0.015
"""Share of trades in which a seller who declined offers the same card once more."""
ROWS_PER_GROUP = 200_000
WORLD_FILE = "world.json"
STAGES = ("market", "people", "cards", "offers", "outcomes", "tables", "files")

OnStage = Callable[[str], None]


@dataclass(frozen=True)
class Market:
    """A simulated market. ``trades``, ``market`` and ``card_types`` are in file form
    (:func:`tables.file_schema`); ``oracle`` has one row per trade, in the same order."""

    world: World
    trades: pa.Table
    market: pa.Table
    card_types: pa.Table
    oracle: pa.Table


class OccupiedFolder(FileExistsError):
    """The output folder holds something else than an earlier simulation."""


def _silent(stage: str) -> None:
    return None


def simulate(world: World, *, on_stage: OnStage = _silent) -> Market:
    """Simulate one market. ``on_stage`` hears the name of each stage (of ``STAGES``) before it begins."""
    on_stage("market")
    kinds = choose_kinds(load_catalogue(), world.card_types)
    prices = simulate_prices(world, kinds)
    quotes = observe(world, kinds, prices)
    cards = _cards(world, kinds, prices, Board(quotes), on_stage)
    on_stage("outcomes")
    cards = _in_order(cards)
    cards = add_outcomes(world, kinds, prices, add_screening(world, cards))
    on_stage("tables")
    cards = _before(world, cards)
    return Market(
        world=world,
        trades=trades_table(world, kinds, cards),
        market=market_table(kinds, quotes.before(world.end_us)),
        card_types=card_types_table(kinds),
        oracle=oracle_table(world, cards),
    )


def _cards(world: World, kinds: Kinds, prices: Prices, board: Board, on_stage: OnStage) -> Rows:
    """All cards with their truth and the offer each would get, in no order yet."""
    on_stage("people")
    frauds = _fraud_counts(world)
    again = round(world.trades * OFFERED_AGAIN)
    people = honest_people(world, kinds, world.trades - sum(frauds.values()) - again)
    visits, used = fraud_visits(world, kinds, people, frauds)
    on_stage("cards")
    everyone = {name: np.concatenate([column, visits[name]]) for name, column in people.visits.items()}
    first = draw_cards(world, kinds, everyone)
    on_stage("offers")
    first = add_offer(
        world, kinds, board, add_truth(world, kinds, prices, board, first, "first"), "first offers"
    )
    codes = Codes(used)
    second = second_offers(world, kinds, first, codes, again=again, double=frauds[DOUBLE])
    second = add_truth(world, kinds, prices, board, second, "second")
    second = add_offer(world, kinds, board, second, "second offers")
    cards = {name: np.concatenate([column, second[name]]) for name, column in first.items()}
    return _anonymous(world, cards, codes)


def _fraud_counts(world: World) -> dict[int, int]:
    """Fraudulent cards of each kind."""
    total = round(world.trades * world.fraud_share)
    counts = {kind: round(total * share) for kind, share in FRAUD_KIND_SHARES.items()}
    return counts | {ORDINARY: total - counts[RING] - counts[RENTED] - counts[DOUBLE]}


def _anonymous(world: World, cards: Rows, codes: Codes) -> Rows:
    """Shuffle the codes of every entity, so that no number tells honest from fraudulent or first from
    last."""
    rng = world.rng("names")
    used = codes.used | {name: int(cards[name].max()) + 1 for name in ("batch", "card", "lot", "ring")}
    shuffled = {}
    for name, count in used.items():
        code = cards[name]
        shuffled[name] = np.where(code >= 0, rng.permutation(max(count, 1))[np.maximum(code, 0)], -1)
    shuffled["card"] = _mixed(shuffled["card"], int(rng.integers(2**63)))
    return cards | shuffled


def _mixed(number: np.ndarray, key: int) -> np.ndarray:
    """A keyed one-to-one scrambling of 64-bit numbers (the finaliser known as SplitMix64)."""
    mixed = number.astype(np.uint64) + np.uint64(key)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _in_order(cards: Rows) -> Rows:
    order = np.argsort(cards["submitted_us"], kind="stable")
    return {name: column[order] for name, column in cards.items()}


def _before(world: World, cards: Rows) -> Rows:
    """What came before the end of the log."""
    is_in = cards["submitted_us"] < world.end_us
    return {name: column[is_in] for name, column in cards.items()}


def write(market: Market, out_dir: Path) -> None:
    """Write the three tables, the oracle and ``world.json``; equal markets give equal bytes.

    Raises OccupiedFolder where ``out_dir`` holds files that are not an earlier simulation's.
    """
    check_folder(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    # The world first: an interrupted run leaves a folder that the next one may overwrite.
    world = json.dumps(market.world.to_dict(), indent=2) + "\n"
    (out_dir / WORLD_FILE).write_text(world, encoding="utf-8")
    for name in ("trades", "market", "card_types", "oracle"):
        _write_parquet(getattr(market, name), out_dir / f"{name}.parquet")


def check_folder(out_dir: Path) -> None:
    """Raises OccupiedFolder unless ``out_dir`` is absent, empty, or holds an earlier simulation."""
    if not out_dir.exists():
        return
    if not out_dir.is_dir():
        raise OccupiedFolder(f"{out_dir} is not a folder")
    if any(out_dir.iterdir()) and not (out_dir / WORLD_FILE).exists():
        raise OccupiedFolder(f"{out_dir} is not empty and holds no {WORLD_FILE} of an earlier simulation")


def _write_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, row_group_size=ROWS_PER_GROUP, compression="zstd")

"""From arrays to the tables in file form (yuan, UTC) and the oracle's table."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.catalogue import Catalogue
from features.tables import CARD_TYPES, MARKET, TRADES, Table
from pipelines.simulation.acceptance import Reservations
from pipelines.simulation.cards import NO_EXPIRY
from pipelines.simulation.fraudsters import FRAUD_KINDS
from pipelines.simulation.history import LET_THROUGH, label_source
from pipelines.simulation.kinds import Kinds
from pipelines.simulation.people import CHANNELS, REGIONS, Rows
from pipelines.simulation.prices import SOURCES, MarketRows
from pipelines.simulation.sellers import FRAUD_ACCEPTS
from pipelines.simulation.world import World

TIME = pa.timestamp("us", tz="UTC")
IPV4_POOL = 2 * 256 * 256
"""198.18.0.0/15 is reserved for benchmarks; more addresses come from 2001:db8::/32, reserved for
documentation."""


def file_schema(table: Table) -> pa.Schema:
    """The table as a file: every column by its file name, money in yuan as a float with two decimals."""
    return pa.schema(
        [
            (column.name, pa.float64() if column.kind == "money" else column.arrow_type)
            for column in table.columns
        ]
    )


def trades_table(world: World, kinds: Kinds, cards: Rows) -> pa.Table:
    """The log of the platform, in the order of time; what becomes known after the end of the log is null."""
    decided = cards["offered"] & (cards["decided_us"] < world.end_us)
    bought = decided & cards["accepted"]
    resold = bought & (cards["fraud_kind"] == 0) & (cards["resold_us"] < world.end_us)
    known = bought & (cards["known_us"] < world.end_us)
    source = label_source(fraud=cards["fraud_kind"] > 0, delay_us=cards["known_us"] - cards["decided_us"])
    count = len(decided)
    density = np.full(count, 1 / (2 * world.jitter_half_width))
    passed = cards["screen_flagged"] & ~cards["was_screened_out"]
    columns = _identity_columns(kinds, cards) | {
        "face_value_cny": cards["face_fen"] / 100,
        "balance_cny": pa.nulls(count, pa.float64()),  # an odd remainder is told as a face value
        "expires_on": pa.array(cards["expires_day"], pa.int32(), mask=cards["expires_day"] == NO_EXPIRY).cast(
            pa.date32()
        ),
        "offered_rate": _known(cards["offered_rate"], cards["offered"]),
        "offer_density": _known(density, cards["offered"] & world.jitter),
        "decision": _choice(("pay", "refuse"), cards["was_screened_out"].astype(np.int64)),
        "let_through": _known(np.full(count, LET_THROUGH), passed),
        "accepted": _known(cards["accepted"], decided),
        "decided_at": _times(cards["decided_us"], decided),
        "resale_rate": _known(cards["resale_realised"], resold),
        "resold_at": _times(cards["resold_us"], resold),
        "fraud": _known(cards["fraud_kind"] > 0, known),
        "fraud_known_at": _times(cards["known_us"], known),
        "label_source": _known(source, known),
    }
    schema = file_schema(TRADES)
    # What this platform never knew or kept is null: balances, further facts, asked rates, the payee's name, the centre
    # of its draw.
    return pa.table(
        [columns.get(name, pa.nulls(count, schema.field(name).type)) for name in schema.names], schema=schema
    )


def _identity_columns(kinds: Kinds, cards: Rows) -> dict[str, pa.Array]:
    """Who offered which card, when and from where. Names tell nothing: their numbers are shuffled or
    hashed."""
    lone = cards["lot"] < 0
    return {
        "trade_id": trade_ids(len(cards["kind"])),
        "submitted_at": _times(cards["submitted_us"], None),
        "seller_id": numbered("s", cards["seller"], 6),
        "device_id": numbered("d", cards["device"], 6),
        "ip": _addresses(cards["ip"]),
        "payout_account": numbered("acct-", cards["account"], 6),
        "region": _choice(REGIONS, cards["region"]),
        "channel": _choice(CHANNELS, cards["channel"]),
        "card_type": _choice(kinds.names, cards["kind"]),
        "card_form": _choice(("virtual", "physical"), cards["physical"].astype(np.int64)),
        "card_prefix": numbered("b", cards["batch"], 4),
        "card_fingerprint": hashes(cards["card"]),
        "lot_id": pc.if_else(pa.array(lone), pa.scalar(None, pa.string()), numbered("lot-", cards["lot"], 6)),
    }


def oracle_table(world: World, cards: Rows) -> pa.Table:
    """What only the simulation knows, one row per trade in the same order; see
    :mod:`pipelines.simulation.oracle`."""
    count = len(cards["kind"])
    fraud, ring = cards["fraud_kind"] > 0, cards["ring"]
    columns = {
        "trade_id": trade_ids(count),
        "is_fraud": pa.array(fraud),
        "fraud_kind": pa.array(
            np.array(FRAUD_KINDS, dtype=object)[cards["fraud_kind"]], pa.string(), mask=~fraud
        ),
        "ring_id": pc.if_else(pa.array(ring < 0), pa.scalar(None, pa.string()), numbered("ring-", ring, 4)),
        "fraud_rate_context": cards["fraud_rate_context"],
        "fraud_rate_screened": cards["fraud_rate_screened"],
        "fraud_accepts": np.full(count, FRAUD_ACCEPTS),
        "accept_shape": _choice((world.acceptance,), np.zeros(count, dtype=np.int64)),
        **{field.name: cards[field.name] for field in fields(Reservations)},
        "reservation_rate": cards["reservation_rate"],
        "unscreened_offer": cards["offered_rate"],
        "offer_centre": cards["offer_centre"],
        "trader_move": cards["trader_move"],
        "would_accept": cards["offered_rate"] >= cards["reservation_rate"],
        "resale_expected": cards["resale_expected"],
        "resale_realised": cards["resale_realised"],
        "would_resell_at": _times(cards["resold_us"], None),
        "logistics_share": cards["logistics_share"],
        "screen_flagged": cards["screen_flagged"],
        "was_screened_out": cards["was_screened_out"],
        "known_at": _times(cards["known_us"], None),
    }
    return pa.table(columns)


def market_table(kinds: Kinds, rows: MarketRows) -> pa.Table:
    """The observed quotes; only buyers say how much they want."""
    sides = np.array([source.side for source in SOURCES], dtype=object)
    columns = {
        "observed_at": _times(rows.observed_us, None),
        "card_type": _choice(kinds.names, rows.kind),
        "source": _choice(tuple(source.name for source in SOURCES), rows.source),
        "side": _choice(tuple(sides), rows.source),
        "rate": rows.rate,
        "volume_cny": _known(rows.volume_fen / 100, (sides == "buyer_bid")[rows.source]),
    }
    schema = file_schema(MARKET)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def card_types_table(kinds: Kinds) -> pa.Table:
    """The traded card types' rows of the catalogue."""
    stored = Catalogue.of(kinds.rows, {}).to_table()
    yuan = pc.divide(stored["max_face_fen"].cast(pa.float64()), 100.0)
    columns = [yuan if column.kind == "money" else stored[column.stored] for column in CARD_TYPES.columns]
    return pa.table(columns, schema=file_schema(CARD_TYPES))


def trade_ids(count: int) -> pa.Array:
    """Ids in the order of time, ``t00000000`` on."""
    return numbered("t", np.arange(count), 8)


def numbered(prefix: str, number: np.ndarray, width: int) -> pa.Array:
    """Names such as ``s000123`` (n,); negative numbers, which stand for none, must be masked by the
    caller."""
    digits = pc.utf8_lpad(pa.array(number).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(pa.scalar(prefix), digits, "")


def hashes(number: np.ndarray) -> pa.Array:
    """16 hex digits per number (n,): a mixing function without collisions, so that equal cards stay equal."""
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    mixed = number.astype(">u8").view(np.uint8).reshape(-1, 8)
    text = np.stack([digits[mixed >> 4], digits[mixed & 15]], axis=2).reshape(-1, 16)
    fixed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(number), [None, pa.py_buffer(text.tobytes())]
    )
    return fixed.cast(pa.binary()).cast(pa.string())


def _addresses(code: np.ndarray) -> pa.Array:
    """IP addresses that belong to nobody."""
    used, index = np.unique(code, return_inverse=True)
    names = [_address(int(value)) for value in used]
    return pa.array(names, pa.string()).take(pa.array(index))


def _address(code: int) -> str:
    if code < IPV4_POOL:
        return f"198.{18 + (code >> 16)}.{code >> 8 & 255}.{code & 255}"
    return f"2001:db8::{code >> 16:x}:{code & 65535:x}"


def _choice(names: tuple[str, ...], index: np.ndarray) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(index))


def _times(time_us: np.ndarray, known: np.ndarray | None) -> pa.Array:
    return pa.array(time_us, pa.int64(), mask=None if known is None else ~known).cast(TIME)


def _known(values: np.ndarray, known: np.ndarray) -> pa.Array:
    """Values where ``known``, null elsewhere."""
    return pa.array(values, mask=~known)

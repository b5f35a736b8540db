"""Columns of trades as arrays: times, rates as integers, codes of entities."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.catalogue import Catalogue
from features.credibility import band
from features.entities import IPV4, PPM, network_of

SPINE_COLUMNS = (
    "trade_id",
    "submitted_at",
    "seller_id",
    "device_id",
    "ip",
    "payout_account",
    "card_type",
    "card_form",
    "face_value_fen",
    "expires_on",
    "card_prefix",
    "card_fingerprint",
    "region",
    "channel",
    "extras",
    "asked_rate",
    "payee_is_seller",
)
"""The columns of a trade that features read; none of them is an outcome."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_microseconds(time: datetime) -> int:
    """An aware datetime as int64 µs since the epoch; exact."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def microseconds(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Timestamps as int64 µs since the epoch, UTC; there must be no nulls."""
    return column.cast(pa.int64()).to_numpy(zero_copy_only=False)


def rates_to_ppm(rates: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Rates as integer parts per million, rounded half to even."""
    values = np.asarray(rates.to_numpy(zero_copy_only=False), dtype=np.float64)
    return np.rint(values * PPM).astype(np.int64)


def rate_to_ppm(rate: float) -> int:
    """One rate as :func:`rates_to_ppm` gives it."""
    return round(rate * PPM)


def band_of(catalogue: Catalogue, card_type: str) -> tuple[int, int]:
    """Least and largest rate, ppm, that a market can show for a card type (:mod:`features.credibility`)."""
    card = catalogue.types.get(card_type)
    return band(None if card is None else (rate_to_ppm(card.min_rate), rate_to_ppm(card.max_rate)))


def codes_of(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """Integer codes (n,) int32 of a text column, -1 for null, and the values they stand for."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return codes.astype(np.int32), encoded.dictionary


def derived_codes(
    entity: str, codes: np.ndarray, names: pa.Array, catalogue: Catalogue
) -> tuple[np.ndarray, pa.Array]:
    """Codes of ``ip_net`` or ``card_category`` from those of ``ip`` or ``card_type``."""
    if entity == "ip_net":
        derived = networks_of(names)
    else:
        values = catalogue.attribute(np.array(names.to_pylist(), dtype=object), "category")
        derived = pa.array(values, pa.string())
    own, own_names = codes_of(pa.chunked_array([derived]))
    return np.append(own, np.int32(-1))[codes], own_names  # code -1 picks the appended -1


def networks_of(ips: pa.Array) -> pa.Array:
    """:func:`features.entities.network_of` of many addresses: by one pattern for IPv4, one by one for the rest."""
    plain = pc.match_substring_regex(ips, IPV4)
    networks = pc.if_else(plain, pc.replace_substring_regex(ips, IPV4, "\\10/24"), None)
    rest = np.flatnonzero(~plain.to_numpy(zero_copy_only=False))
    others = pa.array([network_of(ip) for ip in ips.take(pa.array(rest)).to_pylist()], pa.string())
    return pc.replace_with_mask(networks, pc.invert(plain), others)

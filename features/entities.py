"""What is remembered about whom: the one specification that the offline builder and the live state both follow.

An entity is what trades have in common (a seller, a device, …). A series is a kind of event with integer values
that are summed per window. The history keeps every event; a live state keeps one row of totals per hop of each
window (:mod:`features.state`). Both answer the same questions (:class:`features.moment.Moment`).
"""

from __future__ import annotations

import hashlib
import re
import socket
from dataclasses import dataclass
from functools import cached_property, lru_cache

from features.credibility import RULES
from features.windows import ALL, DAY, DAYS_7, DAYS_30, HOUR_1, HOURS_24, MATURE_30D, Window

ENTITIES: dict[str, str] = {
    "seller": "seller_id",
    "device": "device_id",
    "ip": "ip",
    "ip_net": "ip",
    "payout_account": "payout_account",
    "card_prefix": "card_prefix",
    "card_fingerprint": "card_fingerprint",
    "card_type": "card_type",
    "card_category": "card_type",
}
"""Entity -> the column of a trade that identifies it (``ip_net`` and ``card_category`` are derived from theirs)."""

PPM = 1_000_000
"""Rates are summed as integer parts per million, so that a sum does not depend on its order."""

BASIS_POINTS = 10_000
"""Squares of rates are summed in basis points, which keeps them far from the largest integer."""


@dataclass(frozen=True)
class Series:
    """A kind of event. ``values`` are summed, except one named ``largest``, of which the maximum counts.

    windows: those that are asked for; ``always``: whether totals since the beginning are kept too.
    """

    name: str
    values: tuple[str, ...]
    windows: tuple[Window, ...]
    always: bool = False

    @cached_property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """(hop, how far back it is needed) of each row size a live state keeps, µs."""
        reach: dict[int, int] = {}
        for window in self.windows:
            reach[window.hop] = max(reach.get(window.hop, 0), window.width + window.delay + window.hop)
        return tuple(sorted(reach.items()))

    @cached_property
    def peak(self) -> int:
        """Position of the value whose maximum counts, -1 if none."""
        return self.values.index("largest") if "largest" in self.values else -1


SUBMISSIONS = Series(
    "submissions",
    ("n", "fen", "yuan_squared", "largest"),
    (HOUR_1, HOURS_24, DAYS_7, DAYS_30, MATURE_30D),
    always=True,
)
"""Cards offered; ``largest`` is the largest face value in fen."""

SIGHTINGS = Series("submissions", ("n", "fen", "yuan_squared", "largest"), (), always=True)
"""Cards offered, without windows: for a single card, which is rarely offered twice."""

LABELS = Series("labels", ("n", "frauds"), (HOURS_24, DAYS_7, DAYS_30), always=True)
"""Fraud labels, by when they became known."""

COHORTS = Series("cohorts", ("n", "frauds"), (MATURE_30D,))
"""The same labels, by when their trade was submitted."""

ACCEPTANCES = Series("acceptances", ("n",), (), always=True)
"""Offers that a seller accepted."""

RESALES = Series("resales", ("n", "ppm"), (DAYS_7, DAYS_30))
"""Cards resold, by when: number and sum of the net rates."""

PURCHASES = Series(
    "purchases", ("bought", "bought_fen", "sold", "sold_fen", "sold_ppm"), (DAYS_30, MATURE_30D)
)
"""Cards bought, by when, and what has been resold of them since: the stock on hand, and matured resale."""

BID_WINDOWS = (HOURS_24, DAYS_7)
"""Windows of the market rates seen; totals are kept by point (:mod:`features.credibility`)."""

_TRADER = (SUBMISSIONS, LABELS, COHORTS)
KEPT: dict[str, tuple[Series, ...]] = {
    "seller": (*_TRADER, ACCEPTANCES),
    "device": _TRADER,
    "ip": _TRADER,
    "ip_net": _TRADER,
    "payout_account": _TRADER,
    "card_prefix": _TRADER,
    "card_fingerprint": (SIGHTINGS,),
    "card_type": (*_TRADER, RESALES, PURCHASES),
    "card_category": (LABELS, COHORTS, RESALES, PURCHASES),
}
"""Entity -> the series kept about it, in the order of a live state."""

COUNTED: dict[str, tuple[str, ...]] = {
    "seller": ("device", "payout_account", "ip_net", "card_type"),
    "device": ("seller", "payout_account"),
    "ip": ("seller",),
    "ip_net": ("seller",),
    "payout_account": ("seller", "device"),
    "card_prefix": ("seller",),
}
"""Entity -> the other entities of which different ones are counted among its submissions."""

MOST_COUNTED = 64
"""A live state remembers this many of the most recent ones, so a count of different ones ends here."""

COUNTED_REACH = DAYS_30.width + DAYS_30.hop

LINK_CAPS: dict[str, int] = {"device": 10, "payout_account": 10}
"""What links sellers -> how many different sellers it may link: those who come first. A public computer says little
about two of the hundreds who use it. Addresses and batches link nobody: even with three sellers each they joined a
sixth of all trades into one component, in which nothing could be told."""

LINK_EPOCH = 90 * DAY
"""Links are forgotten: a moment sees those of its own epoch of this length and of the one before."""


_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = f"^((?:{_OCTET}\\.){{3}}){_OCTET}$"
"""An IPv4 address; its first group is the network with the dot behind it."""


_MAPPED = bytes(10) + b"\xff\xff"


@lru_cache(maxsize=100_000)
def network_of(ip: str | None) -> str | None:
    """The /24 of an IPv4 address, the /48 of an IPv6 one; None where it is neither."""
    found = re.match(IPV4, ip or "")
    if found is not None:
        return f"{found.group(1)}0/24"
    try:
        address = socket.inet_pton(socket.AF_INET6, ip or "")
    except (OSError, ValueError):
        return None
    if address[:12] == _MAPPED:  # how a server that listens on both writes an IPv4 address
        return f"{address[12]}.{address[13]}.{address[14]}.0/24"
    return f"{address[:2].hex()}:{address[2:4].hex()}:{address[4:6].hex()}::/48"


class NotKept(LookupError):
    """A feature asks for something that no evaluator keeps; ``features/entities.py`` says what is kept."""


@lru_cache(maxsize=10_000)
def check_series(entity: str, series: str, window: str) -> None:
    """Raises NotKept unless a series is kept about an entity for a window (``all``: for ever)."""
    found = next((item for item in KEPT.get(entity, ()) if item.name == series), None)
    if found is None:
        raise NotKept(f"{series} of {entity} are not kept: see KEPT in features/entities.py")
    if not (found.always if window == ALL else window in {item.name for item in found.windows}):
        raise NotKept(f"{series} of {entity} are not kept for the window {window}: see features/entities.py")


@lru_cache(maxsize=10_000)
def check_counted(entity: str, counted: str, window: str) -> None:
    """Raises NotKept unless different ``counted`` of an entity are kept for a window."""
    if counted not in COUNTED.get(entity, ()):
        raise NotKept(f"different {counted} of {entity} are not kept: see COUNTED in features/entities.py")
    check_series(entity, "submissions", window)


def bid_window(window: str) -> Window:
    """A window of market rates. Raises NotKept for one that is not kept."""
    found = next((item for item in BID_WINDOWS if item.name == window), None)
    if found is None:
        raise NotKept(f"rates are not kept for the window {window}: see BID_WINDOWS in features/entities.py")
    return found


def specification_version() -> str:
    """Hash of everything above that a live state depends on; a state of another version is rebuilt."""
    parts = (ENTITIES, KEPT, COUNTED, MOST_COUNTED, LINK_CAPS, LINK_EPOCH, BID_WINDOWS, RULES)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]

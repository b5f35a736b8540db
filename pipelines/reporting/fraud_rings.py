"""Sellers who hang together: groups linked by a shared device, payout account, address or card batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from features.entities import LINK_CAPS, LINK_EPOCH
from features.links import attachments
from features.rows import codes_of
from pipelines.reporting.fraud_cases import Cases

HIGH_QUANTILE = 0.95
"""A group whose mean score is above this quantile of all trades' is worth a look without any known fraud."""
MOST_RINGS = 12
LARGEST = 40
"""A group of more sellers is no ring but a crowd that chance holds together; within it only suspicious sellers (a known
fraud, or a high mean score) are linked."""


@dataclass(frozen=True)
class Link:
    """A shared value: kind is one of LINK_CAPS; sellers: those it links, the first ones that came with it."""

    kind: str
    value: str
    sellers: tuple[str, ...]


@dataclass(frozen=True)
class Ring:
    """A group of linked sellers in the period. rows: all trades of its sellers. Times int64 µs: since: when the second
    seller joined; last: the newest trade. suspicious_fen: at stake in known frauds, and of trades without a label by
    their score."""

    sellers: tuple[str, ...]
    links: tuple[Link, ...]
    rows: np.ndarray
    since: int
    last: int
    frauds: int
    mean_score: float
    suspicious_fen: float


def find_rings(cases: Cases, scores: np.ndarray) -> tuple[Ring, ...]:
    """The MOST_RINGS groups with the most suspicious money among those with a known fraud or a high mean score, the
    newest first. scores (n,) probabilities.

    Links are those the features see at the period's end: of its link epoch and the one before, and no more sellers of
    one value than LINK_CAPS.
    """
    last = int(cases.submitted_at.max()) // LINK_EPOCH
    window = np.flatnonzero(cases.submitted_at // LINK_EPOCH >= last - 1)
    seller, names = codes_of(pa.chunked_array([pa.array(cases.seller_id[window], pa.string())]))
    edges = _edges(cases, window, seller)
    if not edges:
        return ()
    high = float(np.nanquantile(scores, HIGH_QUANTILE))
    edges = _without_crowds(edges, suspicious=_suspicious(cases, scores, window, seller, high))
    component = _components(edges, sellers=len(names))
    order = np.argsort(component[seller], kind="stable")
    starts = np.searchsorted(component[seller][order], np.arange(component.max() + 2))
    by_component: dict[int, list[_Edge]] = {}
    for edge in edges:
        by_component.setdefault(int(component[edge.sellers[0]]), []).append(edge)
    found = []
    for number, own in by_component.items():
        rows = np.sort(window[order[starts[number] : starts[number + 1]]])
        ring = _ring(cases, scores, rows, own, names.to_pylist())
        if ring.frauds or ring.mean_score > high:
            found.append(ring)
    largest = sorted(found, key=lambda ring: (-ring.suspicious_fen, ring.sellers))[:MOST_RINGS]
    return tuple(sorted(largest, key=lambda ring: (-ring.since, ring.sellers)))


@dataclass(frozen=True)
class _Edge:
    """A shared value with the codes of its sellers, and when the second of them came (µs)."""

    kind: str
    value: str
    sellers: tuple[int, ...]
    second_at: int


def _edges(cases: Cases, window: np.ndarray, seller: np.ndarray) -> list[_Edge]:
    found = []
    for kind, cap in LINK_CAPS.items():
        column = {"device": "device_id"}.get(kind, kind)
        values = getattr(cases, column)[window]
        codes, names = codes_of(pa.chunked_array([pa.array(values, pa.string())]))
        if len(names) == 0:
            continue
        linked = attachments(codes.astype(np.int64), seller.astype(np.int64), cap=cap)
        for value in np.flatnonzero(linked.shared):
            begin, end = np.searchsorted(linked.value, [value, value + 1])
            second = window[linked.position[begin + 1]]
            found.append(
                _Edge(
                    kind=kind,
                    value=str(names[int(value)].as_py()),
                    sellers=tuple(linked.seller[begin:end].tolist()),
                    second_at=int(cases.submitted_at[second]),
                )
            )
    return found


def _suspicious(
    cases: Cases, scores: np.ndarray, window: np.ndarray, seller: np.ndarray, high: float
) -> np.ndarray:
    """Sellers (by code) with a known fraud or a high mean score."""
    trades = np.bincount(seller)
    total = np.bincount(seller, np.nan_to_num(scores[window]))
    frauds = np.bincount(seller, cases.is_fraud[window])
    return (frauds > 0) | (total / np.maximum(trades, 1) > high)


def _without_crowds(edges: list[_Edge], *, suspicious: np.ndarray) -> list[_Edge]:
    """The edges, those of a group of more than LARGEST sellers only between suspicious ones."""
    component = _components(edges, sellers=len(suspicious))
    crowd = np.bincount(component)[component] > LARGEST
    kept = []
    for edge in edges:
        if crowd[edge.sellers[0]]:
            edge = replace(edge, sellers=tuple(one for one in edge.sellers if suspicious[one]))
        if len(edge.sellers) > 1:
            kept.append(edge)
    return kept


def _components(edges: Sequence[_Edge], *, sellers: int) -> np.ndarray:
    """Component of every seller (sellers,)."""
    if not edges:
        return np.arange(sellers)
    one = np.concatenate([np.full(len(edge.sellers) - 1, edge.sellers[0]) for edge in edges])
    other = np.concatenate([np.array(edge.sellers[1:]) for edge in edges])
    graph = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(sellers, sellers))
    return connected_components(graph, directed=False)[1]


def _ring(
    cases: Cases, scores: np.ndarray, rows: np.ndarray, edges: Sequence[_Edge], names: Sequence[str]
) -> Ring:
    score, fraud = scores[rows], cases.fraud[rows]
    suspicion = np.where(np.isnan(fraud), np.nan_to_num(score), fraud)
    sellers = dict.fromkeys(cases.seller_id[rows].tolist())
    return Ring(
        sellers=tuple(sellers),
        links=tuple(
            Link(edge.kind, edge.value, tuple(names[code] for code in edge.sellers)) for edge in edges
        ),
        rows=rows,
        since=min(edge.second_at for edge in edges),
        last=int(cases.submitted_at[rows].max()),
        frauds=int((fraud == 1).sum()),
        mean_score=float(np.nanmean(score)) if np.isfinite(score).any() else np.nan,
        suspicious_fen=float(suspicion @ cases.at_risk_fen[rows]),
    )

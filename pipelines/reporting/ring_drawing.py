"""A group of linked sellers as a picture: sellers are circles, what they share has a shape of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from pipelines.reporting.drawing import BLUE, GREEN, GREY, ORANGE, RED, VIOLET

WIDTH = 640
NODE = 13
MARGIN = 30
ROUNDS = 250
APART, APART_ROUNDS = 2.9 * NODE, 60
"""Least distance of two nodes, and how often they are pushed."""
SHAPES = {
    "device": ("D", BLUE),
    "payout_account": ("A", VIOLET),
    "card_prefix": ("B", GREEN),
    "ip": ("N", GREY),
}
"""Kind -> the letter and colour of its nodes."""


@dataclass(frozen=True)
class Node:
    """kind: ``seller`` or one of SHAPES. label: short, inside the shape; title: shown when pointed at. level: 2 known
    fraud, 1 high score, 0 neither (sellers only)."""

    kind: str
    label: str
    title: str
    level: int = 0


def draw(nodes: Sequence[Node], edges: Sequence[tuple[int, int]]) -> str:
    """The picture; the same nodes and edges give the same bytes."""
    height = int(np.clip(110 + 13 * len(nodes), 200, 640))
    place = layout(len(nodes), edges)
    box = np.array([WIDTH, height], dtype=np.float64)
    place = _apart(MARGIN + place * (box - 2 * MARGIN), box)
    lines = [
        f'<line x1="{place[one, 0]:.0f}" y1="{place[one, 1]:.0f}" x2="{place[other, 0]:.0f}" '
        f'y2="{place[other, 1]:.0f}"/>'
        for one, other in edges
    ]
    shapes = [_node(node, x, y) for node, (x, y) in zip(nodes, place.tolist(), strict=True)]
    return (
        f'<svg class="ring" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="100%" role="img">'
        f'<g stroke="{GREY}" stroke-width="1.2" stroke-opacity="0.75">{"".join(lines)}</g>{"".join(shapes)}</svg>'
    )


def layout(size: int, edges: Sequence[tuple[int, int]]) -> np.ndarray:
    """Places (size, 2) in [0, 1]: nodes push each other away, edges pull (Fruchterman and Reingold), from a fixed
    start, so that the same group always looks the same."""
    turn = np.arange(size) * np.pi * (3 - np.sqrt(5))
    place = np.sqrt((np.arange(size) + 0.5) / max(size, 1))[:, None] * np.column_stack(
        [np.cos(turn), np.sin(turn)]
    )
    joined = np.zeros((size, size))
    for one, other in edges:
        joined[one, other] = joined[other, one] = 1.0
    ideal = 1.6 / np.sqrt(max(size, 1))
    for step in range(ROUNDS):
        apart = place[:, None, :] - place[None, :, :]
        distance = np.maximum(np.sqrt((apart**2).sum(axis=2)), 1e-3)
        force = ideal**2 / distance**2 - joined * distance / ideal
        move = (apart * force[:, :, None]).sum(axis=1) - 0.35 * place
        length = np.maximum(np.sqrt((move**2).sum(axis=1, keepdims=True)), 1e-9)
        place = place + move / length * np.minimum(length, 0.15 * (1 - step / ROUNDS))
    return _boxed(place)


def _apart(place: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The places with nodes that cover each other pushed apart, within the box."""
    for _ in range(APART_ROUNDS):
        difference = place[:, None, :] - place[None, :, :]
        distance = np.sqrt((difference**2).sum(axis=2)) + np.eye(len(place)) * APART
        lacking = np.maximum(APART - distance, 0.0)
        if not lacking.any():
            break
        move = difference / np.maximum(distance, 1e-3)[:, :, None] * lacking[:, :, None]
        place = np.clip(place + 0.5 * move.sum(axis=1), MARGIN, box - MARGIN)
    return place


def _boxed(place: np.ndarray) -> np.ndarray:
    low, high = place.min(axis=0), place.max(axis=0)
    reach = np.where(high - low > 1e-9, high - low, 1.0)
    return np.where(high - low > 1e-9, (place - low) / reach, 0.5)


def legend() -> Mapping[str, str]:
    """Kind -> a small picture of its shape."""
    kinds = [Node("seller", "1", "", level) for level in (2, 1, 0)]
    kinds += [Node(kind, letter, "") for kind, (letter, _) in SHAPES.items()]
    names = ("fraud", "high", "seller", *SHAPES)
    return {
        name: f'<svg class="key" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 30 30" width="22" height="22">'
        f"{_node(node, 15, 15)}</svg>"
        for name, node in zip(names, kinds, strict=True)
    }


def _node(node: Node, x: float, y: float) -> str:
    colour = {2: RED, 1: ORANGE, 0: "#5c7080"}[node.level] if node.kind == "seller" else SHAPES[node.kind][1]
    size, label = 10 if len(node.label) < 3 else 8, escape(node.label)
    text = f'<text x="{x:.0f}" y="{y + 3.5:.0f}" text-anchor="middle" font-size="{size}" fill="#fff">{label}</text>'
    return f'<g><title>{escape(node.title)}</title><g fill="{colour}">{_shape(node.kind, x, y)}</g>{text}</g>'


def _shape(kind: str, x: float, y: float) -> str:
    match kind:
        case "device":
            side = 2 * NODE - 2
            return f'<rect x="{x - side / 2:.0f}" y="{y - side / 2:.0f}" width="{side}" height="{side}"/>'
        case "payout_account":
            return _polygon(x, y, NODE + 3, corners=4, turn=0.0)
        case "card_prefix":
            return _polygon(x, y + 2, NODE + 4, corners=3, turn=-np.pi / 2)
        case "ip":
            return _polygon(x, y, NODE + 1, corners=6, turn=0.0)
        case _:
            return f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{NODE}"/>'


def _polygon(x: float, y: float, radius: float, *, corners: int, turn: float) -> str:
    angles = turn + np.arange(corners) * 2 * np.pi / corners
    points = " ".join(f"{x + radius * np.cos(one):.1f},{y + radius * np.sin(one):.1f}" for one in angles)
    return f'<polygon points="{points}"/>'

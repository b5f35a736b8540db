"""``huika bench ocr``: how well cards are read from photos, and what becomes of the wrong reads."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.recycling.proposals import Proposal
    from pipelines.simulation.card_images import CardPhoto

TODAY = date(2026, 6, 1)
"""The day on which the drawn cards are read: none of them has expired."""


@dataclass
class Tally:
    """Right reads by field, and wrong ones by whether a rule doubted the field."""

    images: int = 0
    all_five: int = 0
    right: Counter[str] = field(default_factory=Counter)
    caught: Counter[str] = field(default_factory=Counter)
    uncaught: Counter[str] = field(default_factory=Counter)
    doubted_though_right: Counter[str] = field(default_factory=Counter)

    def count(self, photo: CardPhoto, proposal: Proposal) -> None:
        """Compare one proposal with the truth."""
        doubts = proposal.doubts()
        right = compared(photo, proposal)
        self.images += 1
        self.all_five += all(right.values())
        for name, fine in right.items():
            if fine:
                self.right[name] += 1
                self.doubted_though_right[name] += name in doubts
            elif name in doubts:
                self.caught[name] += 1
            else:
                self.uncaught[name] += 1


def compared(photo: CardPhoto, proposal: Proposal) -> dict[str, bool]:
    """Which of the five fields were read as they are printed."""
    return {
        "card_type": proposal.card_type == photo.card_type,
        "number": proposal.number.value.open() == photo.number,
        "secret": proposal.secret.value.open() == photo.secret,
        "face_value": proposal.face_value_fen == photo.face_value_fen,
        "expires_on": proposal.expires_on == photo.expires_on,
    }


def bench_ocr(
    images: Annotated[int, typer.Option(help="Photos to draw and read.", min=1)] = 100,
    rough: Annotated[
        float, typer.Option(help="0: clean prints; 1: usual photos; 2: poor ones.", min=0, max=3)
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the cards drawn.")] = 7,
    twice: Annotated[bool, typer.Option("--twice", help="Read every photo at two sizes.")] = False,
) -> None:
    """Cards with Chinese text, blurred, turned and compressed: how many fields are read right, and how fast."""
    from features.catalogue import load_catalogue
    from pipelines.recycling.reading import CardReader
    from pipelines.simulation.card_images import draw_card
    from serving.progress import bar

    reader, catalogue, tally = CardReader(second_look=twice), load_catalogue(), Tally()
    rng = random.Random(seed)
    reader.read(draw_card(rng=random.Random(0)).jpeg, catalogue=catalogue, today=TODAY)  # loads the models
    wall = cpu = 0.0
    with bar(f"reading {images:,} photos") as progress:
        for done in range(images):
            photo = draw_card(rng=rng, rough=rough)
            started, used = time.perf_counter(), time.process_time()
            proposal = reader.read(photo.jpeg, catalogue=catalogue, today=TODAY)
            wall, cpu = wall + time.perf_counter() - started, cpu + time.process_time() - used
            tally.count(photo, proposal)
            progress(done + 1, images)
    _print(tally, wall_ms=1000 * wall / images, cpu_ms=1000 * cpu / images)


def _print(tally: Tally, *, wall_ms: float, cpu_ms: float) -> None:
    n = tally.images
    print(
        f"ocr: {n} photos, all five fields right in {tally.all_five} ({tally.all_five / n:.1%}), {wall_ms:,.0f} ms a "
        f"photo ({cpu_ms:,.0f} ms of processor time)"
    )
    for name in ("card_type", "number", "secret", "face_value", "expires_on"):
        print(
            f"  {name:<12}{tally.right[name] / n:7.1%} right; wrong: {tally.caught[name]} doubted by a rule, "
            f"{tally.uncaught[name]} left to the seller's eye; right but doubted: {tally.doubted_though_right[name]}"
        )

"""The canary: a share of the sellers is answered by the challenger, and every breach of a limit ends that by itself.

The draw is a hash of the seller, so that the same person is answered by the same models until the share changes, and
asking again draws no other price. A challenger that fails costs nobody a quote: the champions answer instead.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from models.policy import Costs
from pipelines.canary_checks import Requests, answers_breach, outcomes_breach, requests_breach
from pipelines.canary_data import ROLLBACK, CanaryData, Step
from pipelines.settings import CanarySettings
from pipelines.shadow_data import CANDIDATE, CHAMPION, ShadowData
from serving.api.desk import NEXT_MOMENT, Asking, Desk
from serving.api.shadow import Shadow

log = logging.getLogger("huika")

LOOK_SECONDS = 2.0
JUDGED_EVERY = 5
"""Looks at the steps between two looks at answers and outcomes, which read more."""

UNKNOWN = -1
"""In the place of a step's number, before the first look."""

Body = dict[str, Any]


@dataclass(frozen=True)
class CanaryParts:
    """What a canary works with."""

    limits: CanarySettings
    costs: Costs
    steps: CanaryData
    answers: ShadowData
    shadow: Shadow
    clock: Callable[[], datetime]


class Canary:
    """Who answers a seller in this process, and how both sides do."""

    def __init__(self, parts: CanaryParts) -> None:
        self._parts = parts
        self._candidate: str = ""
        self._champions: str = ""
        self._step: Step | None = None
        self._unwritten: Step | None = None
        self.requests: dict[str, Requests] = {}
        self._begin(None)

    @property
    def step(self) -> Step | None:
        """What holds now; None without a challenger."""
        return self._step

    @property
    def shadow(self) -> Shadow:
        return self._parts.shadow

    def follow(self, desk: Desk, candidate: Desk | None, *, champions: str, challengers: str) -> Desk:
        """Other models answer or wait; the desk that takes requests from now on. champions, challengers: labels of
        their versions. A challenger answers nobody until the next look says what was decided about it."""
        engines = {} if candidate is None else {CHAMPION: desk.engine, CANDIDATE: candidate.engine}
        self._parts.shadow.follow(engines, candidate=challengers)
        if (challengers, champions) != (self._candidate, self._champions):
            self._candidate, self._champions = challengers, champions
            self._begin(self._unknown_step(challengers) if challengers else None)
        if candidate is None:
            return desk
        parts = {part.name: getattr(desk, part.name) for part in fields(desk)}
        return TwoDesks(**parts, candidate=candidate, canary=self)

    def side_of(self, seller_id: str) -> str:
        """Who answers a seller."""
        step = self._step
        if step is None or step.share <= 0.0:
            return CHAMPION
        return CANDIDATE if draw(step.candidate, seller_id) < step.share else CHAMPION

    def failed(self) -> None:
        """The challenger failed just now: see whether that was once too often."""
        log.exception("the challenger %s failed; the champions answer instead", self._candidate)
        self._stop(requests_breach(self._parts.limits, self.requests))

    def note(self, side: str, answers: Sequence[Body | Exception], *, seconds: float) -> None:
        """What one side answered to several questions; refused requests are not its doing."""
        for answer in answers:
            if not isinstance(answer, Exception):
                self.requests[side].answered(seconds=seconds / len(answers))
                self._parts.shadow.offer(answer["quote_id"], side)

    async def keep(self) -> None:
        """Follow the steps and judge both sides. Never ends; what reads the database happens in a thread."""
        looks = 0
        while True:
            try:
                await self.look(judged=looks % JUDGED_EVERY == 0)
            except Exception:
                log.exception("the canary could not be judged; trying again")
            looks += 1
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self, *, judged: bool = True) -> None:
        """Write a stop that is not written yet, take in what was decided elsewhere, and judge."""
        if self._unwritten is not None:
            stop = self._unwritten
            await asyncio.to_thread(self._parts.steps.write, stop)
            self._unwritten = None if self._unwritten is stop else self._unwritten
        candidate = self._candidate
        if not candidate:
            return
        step = await asyncio.to_thread(self._parts.steps.current, candidate)
        step = self._settings_step(candidate) if step is None else step
        if candidate == self._candidate and self._unwritten is None:
            self._take(step)
        held = self._step
        if held is not None and held.share > 0.0 and judged:
            why = await asyncio.to_thread(self._breach, held)
            if self._step is held:
                self._stop(why or requests_breach(self._parts.limits, self.requests))
            if self._unwritten is not None:
                await self.look(judged=False)

    def _breach(self, step: Step) -> str | None:
        parts = self._parts
        paired = parts.answers.paired(step.candidate, since=step.at)
        earned = parts.steps.realised_fen(step.candidate, since=step.at, costs=parts.costs)
        return answers_breach(parts.limits, paired) or outcomes_breach(parts.limits, earned)

    def _take(self, step: Step) -> None:
        if self._step is None or step.seq != self._step.seq:
            log.warning("canary %s: share %.3f (%s: %s)", step.candidate, step.share, step.author, step.why)
            self._begin(step)

    def _stop(self, why: str | None) -> None:
        """End the canary here at once; all workers know it when it is written."""
        if why is None or self._step is None or self._step.share <= 0.0:
            return
        log.error("canary %s is rolled back: %s", self._candidate, why)
        self._unwritten = Step(self._parts.clock(), self._candidate, 0.0, ROLLBACK, why)
        self._step = replace(self._unwritten, seq=self._step.seq)

    def _begin(self, step: Step | None) -> None:
        self._step = step
        self.requests = {CHAMPION: Requests(), CANDIDATE: Requests()}

    def _unknown_step(self, candidate: str) -> Step:
        """What holds before the database was asked: it may have been rolled back."""
        return Step(self._parts.clock(), candidate, 0.0, "service", "just loaded", seq=UNKNOWN)

    def _settings_step(self, candidate: str) -> Step:
        return Step(
            self._parts.clock(), candidate, self._parts.limits.share, "settings", "share of huika.toml"
        )


@dataclass(frozen=True, kw_only=True)
class TwoDesks(Desk):
    """The champions' desk, which has the sellers of the canary's share answered by the challenger's."""

    candidate: Desk
    canary: Canary

    @property
    def champions(self) -> Desk:
        """The desk without a challenger."""
        return Desk(**{part.name: getattr(self, part.name) for part in fields(Desk)})

    def quote_all(self, asked: Sequence[Asking], *, now: datetime) -> list[Body | Exception]:
        """As :meth:`Desk.quote_all`; the challenger's come last, and where it fails the champions answer."""
        sides = [self.canary.side_of(item.submission.seller.seller_id) for item in asked]
        ours = [place for place, side in enumerate(sides) if side == CHAMPION]
        theirs = [place for place, side in enumerate(sides) if side == CANDIDATE]
        answers = dict(zip(ours, self._by_champions([asked[place] for place in ours], now=now), strict=True))
        later = now + len(ours) * NEXT_MOMENT
        found = self._by_candidate([asked[place] for place in theirs], now=later)
        answers |= dict(zip(theirs, found, strict=True))
        return [answers[place] for place in range(len(asked))]

    def _by_champions(self, asked: Sequence[Asking], *, now: datetime) -> list[Body | Exception]:
        if not asked:
            return []
        started = time.perf_counter()
        try:
            answers = super().quote_all(asked, now=now)
        except Exception:
            self.canary.requests[CHAMPION].failures(len(asked))
            raise
        self.canary.note(CHAMPION, answers, seconds=time.perf_counter() - started)
        return answers

    def _by_candidate(self, asked: Sequence[Asking], *, now: datetime) -> list[Body | Exception]:
        if not asked:
            return []
        started = time.perf_counter()
        try:
            answers = self.candidate.quote_all(asked, now=now)
        except SQLAlchemyError:  # the database's fault, and the champions would meet it too
            raise
        except Exception:
            self.canary.requests[CANDIDATE].failures(len(asked))
            self.canary.failed()
            return self._by_champions(asked, now=now)
        self.canary.note(CANDIDATE, answers, seconds=time.perf_counter() - started)
        return answers


def draw(candidate: str, seller_id: str) -> float:
    """A seller's number in [0, 1), the same for a candidate wherever and whenever it is drawn."""
    digest = hashlib.sha256(f"{candidate}|{seller_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def canary_state(canary: Canary) -> Mapping[str, Any] | None:
    """The canary for an operator; None without a challenger."""
    step = canary.step
    if step is None:
        return None
    return {
        "candidate": step.candidate,
        "share": step.share,
        "since": step.at.isoformat(),
        "author": step.author,
        "why": step.why,
        "requests": {
            side: {"count": taken.count, "failed": taken.failed, "p99_ms": round(taken.p99_ms, 2)}
            for side, taken in canary.requests.items()
        },
    }

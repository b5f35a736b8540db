"""Follows the registry's aliases while the service runs: new versions are verified aside, then take their places.

Every worker looks for itself. A version that fails any check is refused, the one before it goes on serving, and the
refused one is tried again later: a folder that was being copied may be whole by then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from models.quoting import ModelPair
from models.registry import CHALLENGER, CHAMPION, PREVIOUS, ModelRegistry
from pipelines.model_checks import Loaded, ModelRefused, pair_of
from pipelines.shadow_data import MODELS, label_of
from serving.api.canary import TwoDesks
from serving.api.desk import Desk

log = logging.getLogger("huika")

LOOK_SECONDS = 2.0
RETRY_FIRST, RETRY_LAST = timedelta(seconds=30), timedelta(hours=1)

Load = Callable[[str, str], Loaded]
"""A verified model by name and version. Raises ModelRefused."""


@dataclass(frozen=True)
class Refused:
    """A version that an alias names and that does not serve. tries: how often it was loaded in vain."""

    name: str
    alias: str
    version: str
    why: str
    at: datetime
    tries: int

    @property
    def retry_at(self) -> datetime:
        """Each try waits twice as long as the one before."""
        return self.at + min(RETRY_FIRST * 2 ** min(self.tries - 1, 10), RETRY_LAST)


@dataclass(frozen=True, eq=False)
class Line:
    """Which models answer and which wait, by name. since: when each came to its place, by alias and name."""

    champions: Mapping[str, Loaded] = field(default_factory=dict)
    challengers: Mapping[str, Loaded] = field(default_factory=dict)
    since: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()

    @property
    def candidates(self) -> dict[str, Loaded]:
        """The champions with every challenger in its champion's place; empty without a challenger."""
        return {**self.champions, **self.challengers} if self.challengers else {}

    def versions(self, alias: str) -> dict[str, str]:
        """Versions by name of those that carry an alias here."""
        models = self.champions if alias == CHAMPION else self.challengers
        return {name: model.version for name, model in models.items()}

    def differs_from(self, other: Line) -> bool:
        """Whether other models answer or wait, or others were refused."""
        aliases = (CHAMPION, CHALLENGER)
        return self.refused != other.refused or any(self.versions(a) != other.versions(a) for a in aliases)


class Follower:
    """Turns the registry's aliases into a line of verified models. May take seconds: call it in a thread."""

    def __init__(self, *, registry: ModelRegistry, load: Load, clock: Callable[[], datetime]) -> None:
        self._registry = registry
        self._load = load
        self._clock = clock

    def next(self, line: Line) -> Line:
        """The line as the aliases want it now, as far as it can be had; ``line`` itself where nothing changed."""
        look = _Look(line=line, load=self._load, now=self._clock())
        aliases = self._registry.aliases()
        for name in MODELS:
            look.champion(name, aliases.get(name, {}))
            look.challenger(name, aliases.get(name, {}))
        found = look.line_found()
        return found if found.differs_from(line) else line


class _Look:
    """One look at the aliases."""

    def __init__(self, *, line: Line, load: Load, now: datetime) -> None:
        self._line, self._load, self._now = line, load, now
        self._at_hand = {
            (model.name, model.version): model
            for model in (*line.champions.values(), *line.challengers.values())
        }
        self._known = {(item.name, item.alias): item for item in line.refused}
        self._refused: list[Refused] = []
        self._champions = dict(line.champions)
        self._challengers: dict[str, Loaded] = {}

    def champion(self, name: str, aliases: Mapping[str, str]) -> None:
        """The champion's version, or the one that serves already; where none does, the one before it."""
        for alias in (CHAMPION, PREVIOUS):
            if alias in aliases and (alias == CHAMPION or name not in self._champions):
                model = self._had(name, alias, aliases[alias])
                if model is not None:
                    self._champions[name] = model

    def challenger(self, name: str, aliases: Mapping[str, str]) -> None:
        version = aliases.get(CHALLENGER)
        if version is not None and version != aliases.get(CHAMPION):
            model = self._had(name, CHALLENGER, version)
            if model is not None:
                self._challengers[name] = model

    def line_found(self) -> Line:
        line = Line(champions=self._champions, challengers=self._challengers, refused=tuple(self._refused))
        since = {
            (alias, name): self._line.since.get((alias, name), self._now)
            if self._line.versions(alias).get(name) == version
            else self._now
            for alias in (CHAMPION, CHALLENGER)
            for name, version in line.versions(alias).items()
        }
        return Line(line.champions, line.challengers, since, line.refused)

    def _had(self, name: str, alias: str, version: str) -> Loaded | None:
        """A version, None where it is refused."""
        if (name, version) in self._at_hand:
            return self._at_hand[name, version]
        known = self._known.get((name, alias))
        if known is not None and known.version != version:
            known = None
        if known is not None and self._now < known.retry_at:
            self._refused.append(known)
            return None
        try:
            model = self._at_hand[name, version] = self._load(name, version)
        except ModelRefused as error:
            log.error("%s; it is refused as %s", error, alias)
            tries = 1 if known is None else known.tries + 1
            self._refused.append(Refused(name, alias, version, str(error), self._now, tries))
            return None
        log.info("%s version %s is verified and loaded as %s", name, version, alias)
        if not model.golden_rows:
            log.warning("%s version %s was registered without golden rows", name, version)
        return model


class ModelLife:
    """The line of this process. install: puts a new one into the service, on the event loop."""

    def __init__(self, *, follower: Follower, line: Line, install: Callable[[Line], None]) -> None:
        self._follower = follower
        self._install = install
        self.line = line
        self.swaps = 0
        self.problem = ""

    async def keep(self) -> None:
        """Follow the aliases. Never ends; everything slow happens in a thread."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Follow the aliases once. A registry that does not answer changes nothing."""
        try:
            line = await asyncio.to_thread(self._follower.next, self.line)
        except Exception as error:
            if not self.problem:
                log.exception("the model registry cannot be read; the models stay as they are")
            self.problem = f"the model registry cannot be read: {type(error).__name__}"
            return
        self.problem = ""
        if line is self.line:
            return
        self.swaps += line.versions(CHAMPION) != self.line.versions(CHAMPION)
        self._install(line)
        self.line = line


def put_in(state: Any, line: Line) -> None:
    """Let the models of a line answer: the desk, the price board, the explanations and the canary. Requests that the
    former desk has taken are finished by it."""
    champions, candidates = pair_of(line.champions), pair_of(line.candidates)
    desk: Desk = state.desk.champions if isinstance(state.desk, TwoDesks) else state.desk
    if _versions(desk.engine.models) != _versions(champions):
        desk = desk.with_models(champions)
        state.boards.use(desk.engine)
        state.metrics.models(discount=champions.discount_version, fraud=champions.fraud_version)
    state.explainer.use(champions, candidates)
    candidate = desk.with_models(candidates) if line.challengers else None
    state.desk = state.canary.follow(
        desk,
        candidate,
        champions=label_of(line.versions(CHAMPION)),
        challengers=label_of(line.versions(CHALLENGER)),
    )


def _versions(models: ModelPair) -> tuple[str | None, str | None]:
    return models.discount_version, models.fraud_version

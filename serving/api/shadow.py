"""Answers every quote a second time, off the reply path, by the models whose answer the seller did not get.

A quote leaves its id in a queue, which never waits: when it is full, the id is dropped and counted. A thread answers in
batches from what was stored with the quote, the trade and the exact features, so that both sides saw the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from features.online import Answer
from pipelines.application_data import ApplicationData, feature_lists, quote_features, quotes
from pipelines.board_history import BoardHistory
from pipelines.feature_log import LoggedFeatures, logged_of
from pipelines.live_log import trade_from_json
from pipelines.screening.list_data import ListData, ListReader
from pipelines.shadow_data import CANDIDATE, CHAMPION, ShadowData, label_of, shadow_row
from serving.api.engine import Engine, Read

log = logging.getLogger("huika")

WAITING = 2_000
"""Quotes that may wait to be answered a second time."""

BATCH = 32
PAUSE_SECONDS = 0.1
"""Between batches: quotes that are being given want the processor too."""

OTHER = {CHAMPION: CANDIDATE, CANDIDATE: CHAMPION}


class Shadow:
    """Counts by what became of quotes: ``answered``, ``dropped`` (the queue was full), ``failed`` (the other side could
    not answer), ``passed_over`` (stored without features, or by models that have gone since)."""

    def __init__(self, *, data: ApplicationData, answers: ShadowData, waiting: int = WAITING) -> None:
        self._data = data
        self._answers = answers
        self._queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue(maxsize=waiting)
        self._engines: dict[str, Engine] = {}
        self._candidate = ""
        self._own: tuple[ListReader, BoardHistory] | None = None
        self.counts: Counter[str] = Counter()

    def follow(self, engines: Mapping[str, Engine], *, candidate: str) -> None:
        """Answer with these engines by side from now on; without a candidate nothing is answered.

        They read lists and the board's history through readers of their own: the service's belong to its event loop.
        """
        if not engines:
            self._engines, self._candidate = {}, ""
            return
        if self._own is None:
            catalogue = engines[CHAMPION].catalogue
            self._own = ListReader(ListData.open(self._data)), BoardHistory(self._data, catalogue)
        lists, history = self._own
        self._engines = {
            side: replace(
                engine, lists=lists, history=history, terms=replace(engine.terms, lists=lists.lists)
            )
            for side, engine in engines.items()
        }
        self._candidate = candidate

    def offer(self, quote_id: str, served: str) -> None:
        """A quote was given and stored. Never waits and never fails."""
        if not self._engines:
            return
        try:
            self._queue.put_nowait((quote_id, served))
        except asyncio.QueueFull:
            self.counts["dropped"] += 1

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    async def keep(self) -> None:
        """Answer what waits. Never ends."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._try(batch)
            await asyncio.sleep(PAUSE_SECONDS)

    async def drain(self) -> None:
        """Answer everything that waits now."""
        while not self._queue.empty():
            await self._try([self._queue.get_nowait() for _ in range(min(BATCH, self._queue.qsize()))])

    async def _try(self, batch: Sequence[tuple[str, str]]) -> None:
        try:
            self.counts["answered"] += (stored := await asyncio.to_thread(self._answer, batch))
            self.counts["passed_over"] += len(batch) - stored
        except Exception:
            log.exception("%d quotes could not be answered in the shadow", len(batch))
            self.counts["failed"] += len(batch)

    def _answer(self, batch: Sequence[tuple[str, str]]) -> int:
        """Answer and store; how many were."""
        engines, candidate = self._engines, self._candidate
        if not engines:
            return 0
        versions = {side: label_of(versions_of(engine)) for side, engine in engines.items()}
        found = self._stored([quote_id for quote_id, _ in batch])
        rows: list[dict[str, Any]] = []
        for side, engine in engines.items():
            ours = [
                found[quote_id]
                for quote_id, served in batch
                if served != side
                and quote_id in found
                and label_of(found[quote_id][0]["answer"]["models"]) == versions[served]
            ]
            for quote, other in self._answered(engine, ours):
                champions = versions[CHAMPION]
                rows.append(
                    shadow_row(quote, other, served=OTHER[side], candidate=candidate, champions=champions)
                )
        if rows:
            self._answers.write(rows)
        return len(rows)

    def _answered(
        self, engine: Engine, stored: Sequence[tuple[Mapping[str, Any], LoggedFeatures]]
    ) -> list[tuple[Mapping[str, Any], dict[str, Any]]]:
        """Stored quotes with what an engine answers from the same features; those whose features it does not know are
        left out."""
        names = engine.columns
        columns = engine.registry.pinned(names)
        asked: list[tuple[Mapping[str, Any], dict[str, Any], Answer]] = []
        for quote, logged in stored:
            values = dict(zip(logged.columns, logged.values, strict=True))
            if all(column in values for column in columns):
                trade = dict(trade_from_json(quote["trade"]))
                features = {name: values[column] for name, column in zip(names, columns, strict=True)}
                answer = Answer(features, logged.seq, trade["submitted_at"], None)
                asked.append((quote, trade, answer))
        if not asked:
            return []
        bodies = engine.quotes([trade for _, trade, _ in asked], Read([answer for *_, answer in asked]))
        return [(quote, body) for (quote, *_), body in zip(asked, bodies, strict=True)]

    def _stored(self, quote_ids: Sequence[str]) -> dict[str, tuple[Mapping[str, Any], LoggedFeatures]]:
        """Quotes with the features they were answered from, by id; without those that have none."""
        features = self._data.rows(sa.select(quote_features).where(quote_features.c.quote_id.in_(quote_ids)))
        wanted = {row["list_id"] for row in features}
        lists = self._data.rows(sa.select(feature_lists).where(feature_lists.c.list_id.in_(wanted)))
        names = {row["list_id"]: tuple(row["names"]) for row in lists}
        given = self._data.rows(sa.select(quotes).where(quotes.c.quote_id.in_(quote_ids)))
        by_id = {row["quote_id"]: row for row in given}
        return {
            row["quote_id"]: (by_id[row["quote_id"]], logged_of(row, names))
            for row in features
            if row["quote_id"] in by_id
        }


def versions_of(engine: Engine) -> dict[str, str | None]:
    """Versions of an engine's models by name."""
    return {"discount": engine.models.discount_version, "fraud": engine.models.fraud_version}

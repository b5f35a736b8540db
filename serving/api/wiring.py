"""Builds the service's real parts from the workspace named by ``HUIKA_HOME``."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from features.catalogue import workspace_catalogue
from features.definitions import FEATURES
from pipelines.application_data import ApplicationData
from pipelines.board_history import BoardHistory
from pipelines.champions import load_pair
from pipelines.explaining import Explainer
from pipelines.feature_log import FeatureLog
from pipelines.live_state import open_live_log
from pipelines.live_trades import StoredTrades, TradeFinder
from pipelines.screening.list_data import ListData, ListReader
from pipelines.terms import terms_of
from pipelines.wiring import feature_store, model_registry
from pipelines.workspace import Workspace
from serving.api.board import PriceBoards
from serving.api.desk import Desk
from serving.api.engine import Engine
from serving.options import DEFAULT_HOME


def build_desk(workspace: Workspace) -> Desk:
    """The desk of one workspace, with the champions of both models."""
    catalogue = workspace_catalogue(workspace.tables)
    data = ApplicationData(workspace.application_url)
    lists = ListReader(ListData.open(data))
    log = open_live_log(workspace, store=feature_store(workspace), data=data)
    engine = Engine(
        live=log.live,
        registry=FEATURES,
        models=load_pair(model_registry(workspace)),
        terms=terms_of(workspace, lists=lists.lists),
        lists=lists,
        catalogue=catalogue,
        history=BoardHistory(data, catalogue),
        clock=partial(datetime.now, UTC),
    )
    return Desk(
        engine=engine,
        data=data,
        trades=TradeFinder(data=data, stored=StoredTrades(workspace.tables)),
        log=log,
        features=FeatureLog(data=data, registry=FEATURES, names=engine.columns),
    )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the workspace when the worker starts."""
    workspace = Workspace.open(Path(os.environ.get("HUIKA_HOME", str(DEFAULT_HOME))))
    app.state.desk = build_desk(workspace)
    app.state.boards = PriceBoards(engine=app.state.desk.engine)
    app.state.explainer = Explainer(
        data=app.state.desk.data,
        registry=model_registry(workspace),
        serving=app.state.desk.engine.models,
    )
    app.state.analyst_token = workspace.settings.access.analyst_token
    app.state.boards.current(now=app.state.desk.clock())  # the first quote must not wait for first-time work
    gc.collect()
    gc.freeze()  # the collector must not walk the start-up objects while a quote waits
    boards = asyncio.create_task(app.state.boards.keep())
    yield
    boards.cancel()
    with suppress(asyncio.CancelledError):
        await boards

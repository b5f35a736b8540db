"""Builds the service's real parts from the workspace named by ``HUIKA_HOME``."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from features.catalogue import workspace_catalogue
from features.definitions import FEATURES
from models.quoting import Terms
from pipelines.application_data import ApplicationData
from pipelines.champions import load_pair
from pipelines.feature_log import FeatureLog
from pipelines.live_state import open_live_log
from pipelines.live_trades import StoredTrades, TradeFinder
from pipelines.wiring import feature_store, model_registry
from pipelines.workspace import Workspace
from serving.api.board import PriceBoards
from serving.api.desk import Desk
from serving.api.engine import Engine
from serving.options import DEFAULT_HOME


def build_desk(workspace: Workspace) -> Desk:
    """The desk of one workspace, with the champions of both models."""
    settings = workspace.settings
    catalogue = workspace_catalogue(workspace.tables)
    data = ApplicationData(workspace.application_url)
    log = open_live_log(workspace, store=feature_store(workspace), data=data)
    engine = Engine(
        live=log.live,
        registry=FEATURES,
        models=load_pair(model_registry(workspace)),
        terms=Terms(costs=settings.costs, decision=settings.decision, price=settings.price),
        catalogue=catalogue,
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
    app.state.boards = PriceBoards(engine=app.state.desk.engine, data=app.state.desk.data)
    app.state.boards.current(now=app.state.desk.clock())  # the first quote must not wait for first-time work
    gc.collect()
    gc.freeze()  # the collector must not walk the start-up objects while a quote waits
    yield

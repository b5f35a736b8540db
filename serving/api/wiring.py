"""Builds the service's real parts from the workspace named by ``HUIKA_HOME``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from features.catalogue import workspace_catalogue
from features.definitions import FEATURES
from models.quoting import ModelPair
from pipelines.access_data import AccessData
from pipelines.application_data import ApplicationData
from pipelines.board_history import BoardHistory
from pipelines.canary_data import CanaryData
from pipelines.champions import load_pair
from pipelines.databases import SERVICE_SECONDS, await_database, sqlite_file
from pipelines.explaining import Explainer
from pipelines.feature_log import FeatureLog
from pipelines.guarded_states import GuardedStates
from pipelines.live_state import open_live_log, states_gone
from pipelines.live_trades import StoredTrades, TradeFinder
from pipelines.model_checks import CheckedOnce, load_verified, pair_of
from pipelines.recycling.opening import PricingElsewhere, open_recycling
from pipelines.screening.list_data import ListData, ListReader
from pipelines.shadow_data import ShadowData
from pipelines.signing import Signer
from pipelines.signing_keys import signing_keys
from pipelines.terms import terms_of
from pipelines.wiring import feature_store, model_registry
from pipelines.workspace import Workspace
from serving.api.access.control import open_access
from serving.api.access.logs import install_json_logs
from serving.api.board import PriceBoards
from serving.api.canary import Canary, CanaryParts
from serving.api.checkpoints import Checkpoints
from serving.api.collecting import Collecting, collect_little
from serving.api.desk import Desk
from serving.api.engine import Engine
from serving.api.freshness import Freshness
from serving.api.metrics import Metrics
from serving.api.model_life import Follower, Line, ModelLife, put_in
from serving.api.recovery import Parent, Recovery
from serving.api.rule_life import RuleLife, put_rules
from serving.api.shadow import Shadow
from serving.api.tracing import tracing_of
from serving.api.trade_watch import ANSWER_SECONDS, TradeWatch
from serving.options import DEFAULT_HOME

STATES_SECONDS, STATES_TRIES = 0.25, 2
"""How long a quote waits for an answer of the live states, and how often; then it is answered without them, and says
so."""


def build_desk(
    workspace: Workspace, *, metrics: Metrics | None = None, models: ModelPair | None = None
) -> Desk:
    """The desk of one workspace. metrics: None makes some that nobody reads; models: None loads the champions of both
    without the checks that a service makes first."""
    catalogue = workspace_catalogue(workspace.tables)
    data = ApplicationData(workspace.application_url, answer_seconds=SERVICE_SECONDS)
    lists = ListReader(ListData.open(data))
    store = feature_store(workspace)
    store.answer_within(STATES_SECONDS)
    log = open_live_log(
        workspace, store=GuardedStates(store, longest=STATES_TRIES * STATES_SECONDS), data=data
    )
    engine = Engine(
        live=log.live,
        registry=FEATURES,
        models=models or load_pair(model_registry(workspace)),
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
        signer=signer_of(workspace),
        quote_seconds=workspace.settings.serving.quote_seconds,
        metrics=metrics or build_metrics(workspace),
    )


def build_follower(workspace: Workspace) -> Follower:
    """What loads the registry's models for a service, each after all checks."""
    registry = model_registry(workspace)
    load = partial(load_verified, registry, check=CheckedOnce())
    return Follower(registry=registry, load=load, clock=partial(datetime.now, UTC))


def build_rule_life(workspace: Workspace, state: Any) -> RuleLife:
    """What follows the workspace's files of rules for a service with a desk."""
    desk: Desk = state.desk
    install = partial(put_rules, state)
    return RuleLife(workspace.home, desk.engine.terms.rules, install=install, metrics=state.metrics)


def build_canary(workspace: Workspace, desk: Desk) -> Canary:
    """The canary and the shadow of a desk; both rest until there is a challenger."""
    answers = ShadowData.open(desk.data)
    return Canary(
        CanaryParts(
            limits=workspace.settings.canary,
            costs=workspace.settings.costs,
            steps=CanaryData.open(desk.data),
            answers=answers,
            shadow=Shadow(data=desk.data, answers=answers),
            clock=desk.clock,
        )
    )


def build_metrics(workspace: Workspace) -> Metrics:
    """The metrics of this process, and its traces where the settings name where they go."""
    catalogue = workspace_catalogue(workspace.tables)
    return Metrics(
        category_of=lambda card_type: catalogue.get(card_type).category,
        tracing=tracing_of(workspace.settings.observability),
    )


def build_freshness(workspace: Workspace, metrics: Metrics) -> Freshness:
    """What tells the metrics how fresh the features are, with connections of its own."""
    data = ApplicationData(workspace.application_url, answer_seconds=SERVICE_SECONDS)
    looking = open_live_log(workspace, store=feature_store(workspace), data=data)
    return Freshness(live_log=looking, metrics=metrics, clock=partial(datetime.now, UTC))


def build_trade_watch(workspace: Workspace, metrics: Metrics) -> TradeWatch:
    """What tells the metrics how the trades of the recycling flow stand, with connections of its own."""
    data = ApplicationData(workspace.application_url, answer_seconds=ANSWER_SECONDS)
    return TradeWatch(data, metrics, clock=partial(datetime.now, UTC))


def build_recovery(workspace: Workspace) -> Recovery:
    """What has lost live states written anew. It looks with a connection of its own, from other threads."""
    data = ApplicationData(workspace.application_url, answer_seconds=SERVICE_SECONDS)
    looking = open_live_log(workspace, store=feature_store(workspace), data=data)
    can_be_emptied = bool(workspace.settings.storage.online_url)  # a file in the workspace is not
    return Recovery(workspace.home, partial(states_gone, looking) if can_be_emptied else lambda: False)


def build_checkpoints(workspace: Workspace) -> Checkpoints:
    """What empties the logs of the workspace's SQLite files; those that quotes are written to."""
    files = (sqlite_file(workspace.application_url), feature_store(workspace).online_file)
    return Checkpoints([file for file in files if file is not None])


def signer_of(workspace: Workspace) -> Signer:
    """What signs the workspace's quotes; its key is made on first use."""
    return signing_keys(workspace).signer()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the workspace when the worker starts."""
    install_json_logs()
    workspace = Workspace.open(Path(os.environ.get("HUIKA_HOME", str(DEFAULT_HOME))))
    await run_in_threadpool(await_database, workspace.application_url)
    app.state.metrics = metrics = build_metrics(workspace)
    follower = build_follower(workspace)
    line = follower.next(Line())
    models = pair_of(line.champions)
    app.state.desk = build_desk(workspace, metrics=metrics, models=models)
    metrics.models(discount=models.discount_version, fraud=models.fraud_version)
    app.state.boards = PriceBoards(engine=app.state.desk.engine)
    app.state.explainer = Explainer(
        data=app.state.desk.data,
        registry=model_registry(workspace),
        serving=models,
    )
    app.state.canary = build_canary(workspace, app.state.desk)
    app.state.life = ModelLife(follower=follower, line=line, install=partial(put_in, app.state))
    put_in(app.state, line)
    app.state.rules = build_rule_life(workspace, app.state)
    app.state.signing_keys = signing_keys(workspace)
    app.state.recycling = open_recycling(workspace, pricing=PricingElsewhere(), clock=app.state.desk.clock)
    app.state.access = open_access(workspace, AccessData.open(app.state.desk.data))
    app.state.boards.current(now=app.state.desk.clock())  # the first quote must not wait for first-time work
    collect_little()
    state = app.state
    recovery, parent = build_recovery(workspace), Parent(os.getppid())
    watch = build_trade_watch(workspace, metrics)
    looking = (build_freshness(workspace, metrics), watch, recovery, parent, build_checkpoints(workspace))
    kept = (
        state.boards,
        state.access,
        state.life,
        state.rules,
        state.canary,
        state.canary.shadow,
        Collecting(),
        *looking,
    )
    keepers = [asyncio.create_task(part.keep()) for part in kept]
    yield
    for keeper in keepers:
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
    app.state.recycling.photos.readers.close()
    metrics.tracing.close()

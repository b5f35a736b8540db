"""A service that follows its registry, inside the test's event loop and with the test's clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from models.discount.model import DiscountModel
from models.fraud.decision import Thresholds
from models.golden import Model
from models.registry import ModelRegistry, ModelVersion, Submission
from pipelines.explaining import Explainer
from pipelines.model_checks import Check, load_verified, pair_of
from pipelines.settings import CanarySettings
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace
from serving.api.access.roles import Role
from serving.api.app import create_app
from serving.api.board import PriceBoards
from serving.api.canary import Canary
from serving.api.model_life import Follower, Line, ModelLife, put_in
from serving.api.rule_life import RuleLife
from serving.api.wiring import build_canary, build_rule_life
from serving.commands.bench_versions import Change, submission_of, variant
from tests.serving.conftest import Clock, desk_of, headers_of, one_of_each_role


def unchecked(name: str, folder: Path) -> None:
    """In the place of the child process, where a test is not about it."""


@dataclass
class Living:
    """The parts of a running service that tests look at."""

    app: FastAPI
    client: AsyncClient
    registry: ModelRegistry

    @property
    def life(self) -> ModelLife:
        return self.app.state.life

    @property
    def rules(self) -> RuleLife:
        return self.app.state.rules

    @property
    def canary(self) -> Canary:
        return self.app.state.canary

    async def quote(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.client.post("/v1/quotes", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def living(
    workspace: Workspace, clock: Clock, *, check: Check = unchecked, limits: CanarySettings | None = None
) -> AsyncIterator[Living]:
    """A service on a workspace; nothing happens by itself, the test calls ``look`` and ``drain``."""
    registry = model_registry(workspace)
    follower = Follower(registry=registry, load=partial(load_verified, registry, check=check), clock=clock)
    line = follower.next(Line())
    desk = desk_of(workspace, clock, models=pair_of(line.champions))
    if limits is not None:
        settings = workspace.settings.model_copy(update={"canary": limits})
        workspace = replace(workspace, settings=settings)
    app = create_app(_no_lifespan)
    state = app.state
    state.desk, state.boards, state.access = desk, PriceBoards(engine=desk.engine), one_of_each_role()
    state.metrics = desk.metrics
    state.explainer = Explainer(data=desk.data, registry=registry, serving=desk.engine.models)
    state.canary = build_canary(workspace, desk)
    state.life = ModelLife(follower=follower, line=line, install=partial(put_in, state))
    put_in(state, line)
    state.rules = build_rule_life(workspace, state)
    headers = headers_of(Role.ADMIN)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://huika", headers=headers) as client:
        yield Living(app, client, registry)


@asynccontextmanager
async def _no_lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield


def refusing(name: str, model: Model) -> Model:
    """A fraud model to which every refusal is a bargain."""
    assert not isinstance(model, DiscountModel)
    return model.with_thresholds(Thresholds(hold_fen=1e9, review_fen=1e9, refuse_fen=-1e9))


def register(
    registry: ModelRegistry,
    name: str,
    *,
    alias: str,
    change: Change = variant,
    damage: Callable[[Path], None] | None = None,
) -> ModelVersion:
    """Register a model made from the champion. damage: done to its folder before its digest is taken."""
    with submission_of(registry, name, change=change) as submission:
        if damage is not None:
            damage(submission.folder)
        return _registered(registry, submission, alias)


def _registered(registry: ModelRegistry, submission: Submission, alias: str) -> ModelVersion:
    """As the registry does it, without MLflow's own look at the model, which a damaged one would not survive."""
    import models.registry as module

    log_model = module._log_model
    module._log_model = _log_without_example
    try:
        return registry.register(submission, alias=alias)
    finally:
        module._log_model = log_model


def _log_without_example(submission: Submission) -> str:
    import mlflow

    logged = mlflow.pyfunc.log_model(
        name="model",
        loader_module=submission.loader,
        data_path=str(submission.folder),
        pip_requirements=["lightgbm"],
    )
    return logged.model_uri

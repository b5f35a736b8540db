"""For operators: which models answer in this process, since when, what was refused and why, and how a canary does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from models.registry import CHALLENGER, CHAMPION
from pipelines.model_checks import Loaded
from serving.api.canary import canary_state
from serving.api.document import answer
from serving.api.model_life import ModelLife, Refused
from serving.api.rule_life import RuleLife
from serving.api.schemas import Body

router = APIRouter()


class Serving(Body):
    """A model in its place. golden_rows: how many rows it answered as it did when it was registered."""

    model: str
    alias: str
    version: str
    since: str
    golden_rows: int


class Rejected(Body):
    """A version that an alias names and that does not serve; it is tried again at ``retry_at``."""

    model: str
    alias: str
    version: str
    why: str
    at: str
    tries: int
    retry_at: str


class Counted(Body):
    """Requests of one side in this process since the share last changed."""

    count: int
    failed: int
    p99_ms: float


class CanaryState(Body):
    """``share`` of the sellers is answered by the candidate; ``why``: who decided that and for what reason."""

    candidate: str
    share: float
    since: str
    author: str
    why: str
    requests: dict[str, Counted]


class ShadowState(Body):
    """What became of quotes that were to be answered a second time."""

    waiting: int
    answered: int
    dropped: int
    failed: int
    passed_over: int


class RulesState(Body):
    """Versions of the rules and legal limits that count, as answers name them; ``problem``: why the files as they are
    now do not, empty where they do."""

    rules_version: str
    law_version: str
    problem: str


class ModelStates(Body):
    """The models and rules of one worker process; others may be seconds ahead or behind."""

    worker: int
    swaps: int
    problem: str
    serving: list[Serving]
    refused: list[Rejected]
    canary: CanaryState | None
    shadow: ShadowState
    rules: RulesState


EXAMPLE: dict[str, Any] = {
    "worker": 4127,
    "swaps": 3,
    "problem": "",
    "serving": [
        {
            "model": "discount",
            "alias": "champion",
            "version": "7",
            "since": "2026-03-01T02:11:09+00:00",
            "golden_rows": 64,
        },
        {
            "model": "fraud",
            "alias": "challenger",
            "version": "5",
            "since": "2026-03-01T03:40:51+00:00",
            "golden_rows": 64,
        },
    ],
    "refused": [
        {
            "model": "fraud",
            "alias": "champion",
            "version": "4",
            "why": "fraud version 4: files differ from what was registered",
            "at": "2026-03-01T03:40:51+00:00",
            "tries": 1,
            "retry_at": "2026-03-01T03:41:21+00:00",
        }
    ],
    "canary": {
        "candidate": "fraud 5",
        "share": 0.0,
        "since": "2026-03-01T05:02:17+00:00",
        "author": "rollback",
        "why": "refusals: 9.1% against 2.3%, limit 5.0% apart",
        "requests": {
            "champion": {"count": 1904, "failed": 0, "p99_ms": 11.2},
            "candidate": {"count": 211, "failed": 0, "p99_ms": 11.9},
        },
    },
    "shadow": {"waiting": 0, "answered": 2109, "dropped": 0, "failed": 0, "passed_over": 6},
    "rules": {"rules_version": "25c5cc95", "law_version": "9f2c1d07", "problem": ""},
}


@router.get(
    "/v1/models",
    response_model=ModelStates,
    summary="Which models answer",
    responses=answer(EXAMPLE),
    tags=["operations"],
)
async def get_models(request: Request) -> JSONResponse:
    """For operators: the models of the worker that answers, what it refused to load, and the canary."""
    life: ModelLife = request.app.state.life
    canary = request.app.state.canary
    shadow = canary.shadow
    return JSONResponse(
        {
            "worker": os.getpid(),
            "swaps": life.swaps,
            "problem": life.problem,
            "serving": [
                *_serving(life, CHAMPION, life.line.champions),
                *_serving(life, CHALLENGER, life.line.challengers),
            ],
            "refused": [_refused(item) for item in life.line.refused],
            "canary": canary_state(canary),
            "shadow": {"waiting": shadow.waiting}
            | {name: shadow.counts[name] for name in ("answered", "dropped", "failed", "passed_over")},
            "rules": _rules(request.app.state.rules),
        }
    )


def _rules(life: RuleLife) -> dict[str, str]:
    return {
        "rules_version": life.book.rules_version,
        "law_version": life.book.law_version,
        "problem": life.problem,
    }


def _serving(life: ModelLife, alias: str, models: Mapping[str, Loaded]) -> list[dict[str, Any]]:
    return [
        {
            "model": name,
            "alias": alias,
            "version": model.version,
            "since": life.line.since[alias, name].isoformat(),
            "golden_rows": model.golden_rows,
        }
        for name, model in models.items()
    ]


def _refused(item: Refused) -> dict[str, Any]:
    return {
        "model": item.name,
        "alias": item.alias,
        "version": item.version,
        "why": item.why,
        "at": item.at.isoformat(),
        "tries": item.tries,
        "retry_at": item.retry_at.isoformat(),
    }

"""The canary: a share of the sellers, and a way back that nobody has to take by hand."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from models.policy import Costs
from models.registry import CHALLENGER, CHAMPION
from pipelines.canary_checks import Requests, answers_breach, outcomes_breach, requests_breach
from pipelines.canary_data import ROLLBACK, CanaryData, Step
from pipelines.settings import CanarySettings
from pipelines.shadow_data import CANDIDATE, Paired, predicted_profit_fen
from pipelines.shadow_data import CHAMPION as CHAMPIONS
from serving.api.canary import draw
from serving.cli import main
from tests.serving.living import Living, living, refusing, register
from tests.serving.test_model_life import seller

QUICK = CanarySettings(min_requests=3, min_quotes=12, min_outcomes=6)
ALL = QUICK.model_copy(update={"share": 1.0})


async def started(service: Living, share: float, *, name: str = "fraud", change=None) -> str:
    """A challenger that a share of the sellers is answered by; its label."""
    kind = {} if change is None else {"change": change}
    version = register(service.registry, name, alias=CHALLENGER, **kind).version
    await service.life.look()
    await service.canary.look(judged=False)
    label = f"{name} {version}"
    if service.canary.step is not None and service.canary.step.share != share:
        steps = CanaryData.open(service.app.state.desk.data)
        now = service.app.state.desk.clock()
        steps.write(Step(at=now, candidate=label, share=share, author="operator", why="a test"))
        await service.canary.look(judged=False)
    return label


def test_the_share_is_a_share_of_the_sellers():
    """The draw is even over sellers, the same for a seller whenever it is made, and another for another candidate."""
    draws = np.array([draw("fraud 2", f"s-{number}") for number in range(4_000)])
    assert abs((draws < 0.1).mean() - 0.1) < 0.02
    assert draw("fraud 2", "s-1") == draw("fraud 2", "s-1") != draw("fraud 3", "s-1")


def test_the_challenger_answers_its_share(live_workspace, clock):
    """Sellers below the share are answered by the challenger, all others and everybody before the start by the
    champion; a batch is split the same way and keeps its order."""

    async def run() -> None:
        async with living(live_workspace, clock, limits=QUICK) as service:
            assert service.canary.step is None
            label = await started(service, 0.5)
            for number in range(20):
                version = (await service.quote(seller(number)))["models"]["fraud"]
                assert (version != "1") == (draw(label, f"s-{number}") < 0.5)
            body = {"submissions": [seller(number) for number in range(12)]}
            answer = (await service.client.post("/v1/quotes/batch", json=body)).json()
            for number, result in enumerate(answer["results"]):
                theirs = draw(label, f"s-{number}") < 0.5
                assert (result["quote"]["models"]["fraud"] != "1") == theirs
            told = (await service.client.get("/v1/models")).json()["canary"]
            assert (told["candidate"], told["share"]) == (label, 0.5)
            assert sum(side["count"] for side in told["requests"].values()) == 32

    asyncio.run(run())


def test_a_failing_challenger_costs_nobody_a_quote_and_is_rolled_back(live_workspace, clock, monkeypatch):
    """The champions answer where the challenger fails; after a few failures its share is 0, in the database too."""

    async def run() -> None:
        async with living(live_workspace, clock, limits=ALL) as service:
            label = await started(service, 1.0)
            engine = service.app.state.desk.candidate.engine
            object.__setattr__(engine, "quotes", None)
            for number in range(5):
                assert (await service.quote(seller(number)))["models"]["fraud"] == "1"
            assert service.canary.requests[CANDIDATE].failed == QUICK.min_requests
            await service.canary.look()
            step = CanaryData.open(service.app.state.desk.data).current(label)
            assert step is not None
            assert (step.share, step.author) == (0.0, ROLLBACK)
            assert step.why.startswith("errors: 3 of 3")

    asyncio.run(run())


def test_a_challenger_that_refuses_too_many_is_rolled_back(live_workspace, clock):
    """Refusals are compared on the same quotes; the reason is written and shown, and the next quote is the
    champion's."""

    async def run() -> None:
        async with living(live_workspace, clock, limits=QUICK) as service:
            await started(service, 0.5, change=refusing)
            for number in range(14):
                await service.quote(seller(number))
            await service.canary.shadow.drain()
            await service.canary.look()
            told = (await service.client.get("/v1/models")).json()["canary"]
            assert (told["share"], told["author"]) == (0.0, ROLLBACK)
            assert told["why"].startswith("refusals: 100.0%")
            versions = {(await service.quote(seller(number)))["models"]["fraud"] for number in range(6)}
            assert versions == {"1"}

    asyncio.run(run())


def test_a_stop_holds_for_all_workers_and_after_a_restart(live_workspace, clock):
    """What one worker writes another one follows, whatever the settings say; a newer challenger begins anew."""

    async def run() -> None:
        async with living(live_workspace, clock, limits=ALL) as service:
            label = await started(service, 1.0)
            assert (await service.quote(seller(1)))["models"]["fraud"] != "1"
            steps = CanaryData.open(service.app.state.desk.data)
            steps.write(Step(at=clock.now, candidate=label, share=0.0, author=ROLLBACK, why="another worker"))
            await service.canary.look(judged=False)
            assert (await service.quote(seller(1)))["models"]["fraud"] == "1"
        async with living(live_workspace, clock, limits=ALL) as service:
            await service.canary.look(judged=False)
            assert (await service.quote(seller(1)))["models"]["fraud"] == "1"
            third = await started(service, 1.0)
            assert f"fraud {(await service.quote(seller(1)))['models']['fraud']}" == third

    asyncio.run(run())


def test_what_trades_earned_is_counted_by_who_answered_them(live_workspace, clock):
    """A resold card earns resale less payout and handling, confirmed fraud costs the payout, a declined offer nothing,
    and a card that lies in stock is not known yet."""

    async def run() -> None:
        async with living(live_workspace, clock, limits=QUICK) as service:
            label = await started(service, 0.5)
            since = clock.now
            quotes = {}
            for number in range(40):
                quote = await service.quote(seller(number))
                if not quote["no_offer"] and quote["decision"] != "refuse":
                    quotes[number] = quote
            mine = [number for number in quotes if draw(label, f"s-{number}") < 0.5][:4]
            others = [number for number in quotes if number not in mine][:1]
            clock.forward(minutes=1)
            for number, kinds in zip(
                [*mine, *others],
                (
                    ("declined",),
                    ("accepted", "resold"),
                    ("accepted", "fraud_confirmed"),
                    ("accepted",),
                    ("declined",),
                ),
                strict=True,
            ):
                for kind in kinds:
                    await _tell(service, kind, quotes[number], clock.now)
            await service.canary.shadow.drain()
            data = CanaryData.open(service.app.state.desk.data)
            earned = data.realised_fen(label, since=since, costs=Costs(handling_cny=2.0))
            paid = [round(quotes[number]["rate"] * 50_000) for number in mine]
            assert sorted(earned[CANDIDATE].round().tolist()) == sorted(
                [0, 48_000 - paid[1] - 200, -paid[2] - 200]
            )
            assert earned[CHAMPIONS].tolist() == [0.0]

    asyncio.run(run())


async def _tell(service: Living, kind: str, quote: dict, now: datetime) -> None:
    event = {
        "kind": kind,
        "event_id": f"{kind}-{quote['quote_id']}",
        "trade_id": quote["trade_id"],
        "happened_at": now.isoformat(),
    } | ({"rate": 0.96} if kind == "resold" else {})
    answer = await service.client.post("/v1/events", json=event)
    assert answer.status_code == 200, answer.text


def requests(*, old_ms: float = 5.0, new_ms: float = 5.0, failed: int = 0, count: int = 100) -> dict:
    sides = {CHAMPIONS: Requests(), CANDIDATE: Requests()}
    for _ in range(count):
        sides[CHAMPIONS].answered(seconds=old_ms / 1e3)
        sides[CANDIDATE].answered(seconds=new_ms / 1e3)
    sides[CANDIDATE].failures(failed)
    return sides


def paired(*, refused: float = 0.0, profit: float = 300.0, rows: int = 400) -> Paired:
    """Champions earn 300 fen a quote and refuse nobody."""
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 200, rows)
    none = np.zeros(rows)
    return Paired(
        rate={CHAMPIONS: none, CANDIDATE: none},
        fraud={CHAMPIONS: none, CANDIDATE: none},
        profit_fen={CHAMPIONS: 300 + noise, CANDIDATE: profit + noise + rng.normal(0, 30, rows)},
        refused={CHAMPIONS: none > 0, CANDIDATE: np.arange(rows) < refused * rows},
        changed=none > 0,
    )


LIMITS = CanarySettings(min_quotes=50, min_outcomes=50)


def test_each_limit_stops_and_nothing_else_does():
    """Errors, latency, refusals, predicted and realised profit each give their reason; a candidate as good as the
    champions gives none, and neither does one of which too little is known."""
    assert requests_breach(LIMITS, requests()) is None
    assert (requests_breach(LIMITS, requests(failed=2)) or "").startswith("errors: 2 of 102")
    assert (requests_breach(LIMITS, requests(new_ms=40)) or "").startswith("latency: p99 40 ms against 5 ms")
    assert requests_breach(LIMITS, requests(new_ms=12)) is None  # more than twice, and nobody's wait
    assert requests_breach(LIMITS, requests(new_ms=40, count=40)) is None
    assert answers_breach(LIMITS, paired()) is None
    assert (answers_breach(LIMITS, paired(refused=0.1)) or "").startswith("refusals: 10.0% against 0.0%")
    assert (answers_breach(LIMITS, paired(profit=200)) or "").startswith("predicted profit: 1.9")
    assert answers_breach(LIMITS, paired(profit=290)) is None
    assert answers_breach(LIMITS, paired(profit=0, rows=40)) is None
    rng = np.random.default_rng(2)
    same = {CHAMPIONS: rng.normal(400, 900, 500), CANDIDATE: rng.normal(400, 900, 500)}
    assert outcomes_breach(LIMITS, same) is None
    worse = same | {CANDIDATE: same[CANDIDATE] - 400}
    assert (outcomes_breach(LIMITS, worse) or "").startswith("realised profit:")
    assert outcomes_breach(LIMITS, {side: values[:40] for side, values in worse.items()}) is None


def test_a_candidate_as_good_is_seldom_stopped_however_often_it_is_looked_at():
    """Of 100 equal candidates, each looked at after every 20th outcome, at most 2 are rolled back."""
    rng, stopped = np.random.default_rng(11), 0
    for _ in range(100):
        sides = {side: rng.normal(300, 2_000, 1_000) for side in (CHAMPIONS, CANDIDATE)}
        looks = range(50, 1_000, 20)
        stopped += any(outcomes_breach(LIMITS, {s: v[:size] for s, v in sides.items()}) for size in looks)
    assert stopped <= 2


def test_the_predicted_profit_is_by_hand():
    """P(accept) times what an honest card earns less the decision's expected cost; nothing without an offer, unknown
    without a price."""
    steps = [("FACE_VALUE", 10_000), ("RESALE", -400), ("COSTS", -200), ("KIND_RISK", -100), ("MARGIN", -300)]
    answer = {
        "no_offer": False,
        "acceptance_probability": 0.5,
        "decision": "hold",
        "waterfall": [{"code": code, "amount_fen": amount} for code, amount in steps],
        "analyst": {"expected_cost_fen": {"pay": 10.0, "hold": 60.0}},
    }
    assert predicted_profit_fen(answer) == 0.5 * (400 - 60)
    assert predicted_profit_fen(answer | {"no_offer": True}) == 0.0
    assert predicted_profit_fen(answer | {"acceptance_probability": None}) is None


def test_the_commands_start_show_and_stop(live_workspace, capsys):
    """`huika canary` starts a challenger's share, shows it, and stops it; without a challenger it refuses."""
    home = ["--home", str(live_workspace.home)]
    with pytest.raises(SystemExit):
        main(["canary", "start", "0.2", *home])
    assert "no challenger" in capsys.readouterr().err
    from pipelines.wiring import model_registry

    version = register(model_registry(live_workspace), "fraud", alias=CHALLENGER).version
    for words in (["start", "0.2"], ["status"], ["stop"], ["status"]):
        with pytest.raises(SystemExit) as ended:
            main(["canary", *words, *home])
        assert ended.value.code == 0
    told = capsys.readouterr().out
    assert f"fraud {version}" in told
    assert "20" in told
    assert "share 0" in told


def test_settings_hold_the_limits():
    """A share above 1 is no setting."""
    with pytest.raises(ValueError, match="share"):
        CanarySettings(share=1.5)
    assert replace(Step(datetime(2026, 1, 1, tzinfo=UTC), "x", 0.1, "a", "b"), share=0.0).share == 0.0
    assert CHAMPION == CHAMPIONS

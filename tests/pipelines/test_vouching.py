"""What a vendor of device risk, a bureau and a credit registry hold against a seller: a person looks at the trade."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.recycling.adapters.checks import DeviceRisk, RiskGrade
from pipelines.recycling.adapters.outcomes import Outcome
from pipelines.recycling.people import People
from pipelines.recycling.trades import steps_of
from tests.pipelines.recycling_world import World, open_world

GOOD = Outcome("ok", RiskGrade("A", listed=False))
SAFE = Outcome("ok", DeviceRisk(0.05, ()))


@dataclass
class Asked:
    """Answers every question with the same outcome, and remembers whom it was asked about."""

    outcome: Outcome[Any]
    about: list[str]

    def risk(self, device_id: str) -> Outcome[Any]:
        self.about.append(device_id)
        return self.outcome

    def grade(self, reference: str) -> Outcome[Any]:
        self.about.append(reference)
        return self.outcome


def connected(folder: Path, *, device: Any = SAFE, bureau: Any = GOOD, credit: Any = GOOD) -> World:
    world = open_world(folder)
    flow = replace(
        world.flow,
        devices=Asked(device, []),
        grades={"bureau": Asked(bureau, []), "credit": Asked(credit, [])},
    )
    return replace(world, flow=flow, people=People(flow, world.engine))


@pytest.mark.parametrize(
    ("partner", "answer", "why"),
    [
        ("device", DeviceRisk(0.95, ("emulator", "rooted")), "device_risky"),
        ("bureau", RiskGrade("E", listed=True), "bureau_listed"),
        ("bureau", RiskGrade("E", listed=False), "bureau_grade"),
        ("credit", RiskGrade("C", listed=True), "credit_listed"),
    ],
)
def test_what_is_held_against_a_seller_brings_a_person(tmp_path, partner, answer, why):
    """Nothing is quoted before somebody has looked, who is told why; an approval is not asked for again."""
    world = connected(tmp_path, **{partner: Outcome("ok", answer)})
    one = world.submit()
    world.work()
    trade = world.trade(one)
    with world.engine.connect() as connection:
        step = steps_of(connection, one)[-1]
    assert (step["target"], step["why"]) == ("person_needed", why)
    assert trade["facts"]["doubts"] == [why]
    world.people.approve(one, by="analyst", reason="known seller")
    world.work()
    assert world.state(one) == "quoted"


@pytest.mark.parametrize("state", ["not_connected", "unreachable", "timeout", "refused"])
def test_a_partner_that_does_not_answer_holds_up_nobody(tmp_path, state):
    """They add to the fraud score: a trade is quoted without them."""
    silent = Outcome(state)
    world = connected(tmp_path, device=silent, bureau=silent, credit=silent)
    one = world.submit()
    world.work()
    assert world.state(one) == "quoted"
    assert world.trade(one)["facts"]["doubts"] == []


def test_each_is_asked_by_its_own_reference(tmp_path):
    """The device by its id, bureau and registry by the seller's; a middling answer changes nothing."""
    world = connected(
        tmp_path,
        device=Outcome("ok", DeviceRisk(0.6, ("many_accounts",))),
        bureau=Outcome("ok", RiskGrade("D", listed=False)),
        credit=Outcome("ok", RiskGrade("none", listed=False)),
    )
    one = world.submit(3)
    world.work()
    assert world.state(one) == "quoted"
    assert world.flow.devices.about == ["d-1"]
    assert [grades.about for grades in world.flow.grades.values()] == [["s-3"], ["s-3"]]

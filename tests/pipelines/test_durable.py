"""The flow on DBOS: phases run as workflows, each once, and go on where they were cut off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.recycling.durable import MACHINE_ERROR, Worker, launch, stop
from tests.pipelines.recycling_world import World, open_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = open_world(tmp_path)
    launch(
        opened.flow,
        system_url=f"sqlite:///{tmp_path / 'flow.db'}",
        engine=opened.engine,
        executor="test",
    )
    yield opened
    stop()


def work(world: World) -> None:
    Worker(world.flow, world.engine).run(until_idle=True)


def test_trades_run_through(world):
    """Several trades at once are quoted, paid and settled by the worker, each once."""
    trades = [world.submit(number) for number in range(6)]
    work(world)
    assert {world.state(one) for one in trades} == {"quoted"}
    for one in trades:
        world.accept(one)
    work(world)
    assert {world.state(one) for one in trades} == {"paid"}
    assert world.provider.paid == {f"{one}-payout-1": 45_000 for one in trades}


def test_an_error_in_a_phase_is_seen_and_tried_again(world):
    """A phase that breaks leaves its trade where it was, with a trouble to be seen, and is tried again later."""
    one = world.submit()
    world.flow.pricing.quote = None  # pyright: ignore[reportAttributeAccessIssue]
    work(world)
    trade = world.trade(one)
    assert (trade["state"], trade["trouble"]) == ("submitted", MACHINE_ERROR)
    del world.flow.pricing.quote  # the class's own again
    world.clock.forward(minutes=1)
    work(world)
    assert world.state(one) == "quoted"


def test_checkpoints_hold_no_secret(world, tmp_path):
    """Neither the workflow's database nor the application's holds a card number or secret in plain."""
    one = world.submit(7)
    work(world)
    world.accept(one)
    work(world)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"JDV00000000000000007" not in content, path
            assert b"TESTTEST00000007" not in content, path

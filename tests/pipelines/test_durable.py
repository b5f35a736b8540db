"""The flow on DBOS: phases run as workflows, each once, and go on where they were cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dbos import DBOS

from pipelines.recycling.durable import MACHINE_ERROR, Worker, launch, stop
from tests.pipelines.recycling_world import World, open_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return open_world(tmp_path)


@pytest.fixture
def work(world: World, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Lets a worker run until nothing is due."""
    system_url = f"sqlite:///{tmp_path / 'flow.db'}"
    machine = launch(world.flow, system_url=system_url, engine=world.engine, executor="test")
    yield Worker(machine).run
    stop()


def test_trades_run_through(world, work):
    """Several trades at once are quoted, paid and settled by the worker, each once."""
    trades = [world.submit(number) for number in range(6)]
    work(until_idle=True)
    assert {world.state(one) for one in trades} == {"quoted"}
    for one in trades:
        world.accept(one)
    work(until_idle=True)
    assert {world.state(one) for one in trades} == {"paid"}
    assert world.provider.paid == {f"{one}-payout-1": 45_000 for one in trades}


def test_an_error_in_a_phase_is_seen_and_tried_again(world, work):
    """A phase that breaks leaves its trade where it was, with a trouble to be seen, and is tried again later."""
    one = world.submit()
    world.flow.pricing.quote = None  # pyright: ignore[reportAttributeAccessIssue]
    work(until_idle=True)
    trade = world.trade(one)
    assert (trade["state"], trade["trouble"]) == ("submitted", MACHINE_ERROR)
    del world.flow.pricing.quote  # the class's own again
    world.clock.forward(minutes=1)
    work(until_idle=True)
    assert world.state(one) == "quoted"


def test_checkpoints_hold_no_secret(world, work, tmp_path):
    """Neither the workflow's database nor the application's holds a card number or secret in plain."""
    one = world.submit(7)
    work(until_idle=True)
    world.accept(one)
    work(until_idle=True)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"JDV00000000000000007" not in content, path
            assert b"TESTTEST00000007" not in content, path


def test_batches_that_ended_are_forgotten(world, tmp_path):
    """A trade that was moved on leaves its batch to the next look; nothing piles up."""
    world.submit()
    left = []
    for _ in range(2):
        url = f"sqlite:///{tmp_path / 'flow.db'}"
        machine = launch(world.flow, system_url=url, engine=world.engine, executor="test")
        Worker(machine).run(until_idle=True)
        left.append(len(DBOS.list_workflows()))
        stop()
    assert left == [1, 0]

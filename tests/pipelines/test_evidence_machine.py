"""Random use of the evidence log agrees with a plain model, and every known mistake in it is noticed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.pipelines.evidence_machine import BareEvidenceMachine, EvidenceMachine
from tests.pipelines.evidence_mutants import MUTANTS, everything

SOUND = settings(
    max_examples=10,
    stateful_step_count=25,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.mark.parametrize("machine", [EvidenceMachine, BareEvidenceMachine])
def test_the_log_holds_and_proves_what_was_told(machine):
    """After every step: each leaf once, in order, as it was said; every root is the RFC's; bundles verify; witnesses
    are continued; tampering is found; with the database's guards, and by the program alone."""
    run_state_machine_as_test(machine, settings=SOUND)


@pytest.fixture
def machine() -> Iterator[BareEvidenceMachine]:
    made = BareEvidenceMachine()
    yield made
    made.teardown()


def test_the_script_is_fine_without_a_mistake(machine):
    """What the next test runs into is the mistake and nothing else."""
    everything(machine)


@pytest.mark.parametrize("name", MUTANTS)
def test_every_known_mistake_is_noticed(machine, monkeypatch, name):
    """A log with this mistake fails the machine, without any help of the database."""
    for owner, function, wrong in MUTANTS[name]():
        monkeypatch.setattr(owner, function, wrong)
    with pytest.raises((AssertionError, KeyError, ValueError)):
        everything(machine)

"""Random use of the ledger agrees with a plain model, and every known mistake in the ledger is noticed."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from pipelines.recycling import ledger
from tests.pipelines.ledger_machine import BareLedgerMachine, LedgerMachine
from tests.pipelines.ledger_mutants import MUTANTS

QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
SOUND = settings(max_examples=25, stateful_step_count=25, **QUIET)
HUNT = settings(max_examples=120, stateful_step_count=25, derandomize=True, phases=[Phase.generate], **QUIET)


@pytest.mark.parametrize("machine", [LedgerMachine, BareLedgerMachine])
def test_the_ledger_is_what_the_model_says(machine):
    """After every step: the same answer, the same balances, sum zero, no overdraft, ends once, a clean audit; with
    the database's guards, and by the program alone."""
    run_state_machine_as_test(machine, settings=SOUND)


@pytest.mark.parametrize("name", MUTANTS)
def test_every_known_mistake_is_noticed(monkeypatch, name):
    """A ledger with this mistake fails the machine, without any help of the database."""
    for function, wrong in MUTANTS[name]().items():
        monkeypatch.setattr(ledger, function, wrong)
    with pytest.raises((AssertionError, KeyError)):
        run_state_machine_as_test(BareLedgerMachine, settings=HUNT)

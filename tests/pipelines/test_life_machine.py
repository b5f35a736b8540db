"""Random use of trades' life keeps money and states together, and every known mistake in it is noticed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from pipelines.recycling import flow, flow_pay, flow_review, people, trades
from pipelines.recycling.adapters.issuer import Redemption
from pipelines.recycling.adapters.outcomes import Outcome
from pipelines.recycling.payouts import PayoutDesk, Unknown
from pipelines.recycling.policy import FlowPolicy
from tests.pipelines.life_machine import LifeMachine
from tests.pipelines.recycling_world import FakeIssuer

SOUND = settings(
    max_examples=6,
    stateful_step_count=25,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_the_life_of_trades_keeps_money_and_states_together():
    """Whatever sellers, people, partners, timers, crashes and races do: the books are whole, money is reserved exactly
    where the state says, nobody is paid or taken from twice, nothing leaves the arrows."""
    run_state_machine_as_test(LifeMachine, settings=SOUND)


def _versions_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    def change(self, connection, row, values):
        now = self.read(connection, row["submission_id"])
        return _change(self, connection, {**row, "version": now["version"]}, values)

    _change = trades.TradeBook._change
    patch.setattr(trades.TradeBook, "_change", change)


def _arrows_are_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(trades, "check_move", lambda source, target, actor: None)


def _money_stays_frozen(patch: pytest.MonkeyPatch) -> None:
    for module in (flow, flow_pay, people):
        patch.setattr(module, "unfreeze", lambda flow, connection, row: None)


def _what_is_held_is_paid_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FlowPolicy, "pay_at", lambda self, *, decision, verified_at: verified_at)


def _silence_is_a_refusal(patch: pytest.MonkeyPatch) -> None:
    heard = PayoutDesk._heard

    def wrong(self, row, answer):
        return ("failed", "timeout", {}) if isinstance(answer, Unknown) else heard(self, row, answer)

    patch.setattr(PayoutDesk, "_heard", wrong)


def _a_card_is_taken_under_new_ids(patch: pytest.MonkeyPatch) -> None:
    take = flow_pay._take

    def wrong(flow, row, card):
        return take(flow, {**row, "submission_id": f"{row['submission_id']}-take-{flow.clock()}"}, card)

    patch.setattr(flow_pay, "_take", wrong)


def _a_review_does_not_look_whether_the_trade_moved(patch: pytest.MonkeyPatch) -> None:
    conclude = flow_review._conclude

    def wrong(flow, connection, seen, *rest):
        row = flow.book.read(connection, seen["submission_id"])
        return conclude(flow, connection, row, *rest)

    patch.setattr(flow_review, "_conclude", wrong)
    _arrows_are_not_checked(patch)


Script = Callable[[LifeMachine], None]


def _to_paid(machine: LifeMachine, decision: str = "pay") -> None:
    machine.submit(decision)
    machine.work()
    machine.act("accept", 0)
    machine.work()


def _returned(machine: LifeMachine) -> None:
    machine.submit("pay")
    machine.work()
    machine.act("accept", 0)
    machine.issuer_is("used")
    machine.work()


def _silent(machine: LifeMachine) -> None:
    machine.provider_is("silent")
    _to_paid(machine)
    machine.provider_is("pays")
    machine.act("pay_again", 0)
    machine.work()


def _crash_after_taking(machine: LifeMachine) -> None:
    machine.submit("pay")
    machine.work()
    machine.act("accept", 0)
    machine.work_and_crash(3)
    machine.later(1)
    machine.work()


def _cancelled_in_review(machine: LifeMachine) -> None:
    machine.submit("pay")
    machine.work_and_race(3, "cancel", 0)


def _old_knowledge(machine: LifeMachine) -> None:
    machine.submit("pay")
    machine.work()
    machine.act_on_old_knowledge(0)


def _approved_twice(machine: LifeMachine) -> None:
    machine.submit("review")
    machine.work()
    for name in ("reject", "approve"):
        machine.act(name, 0)
    machine.act("cancel", 0)


def _never_heard(self: FakeIssuer, redemption_id: str, *, card_type: str) -> Outcome[Redemption]:
    return Outcome("refused", code="unknown_redemption")


def _own_redemptions_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FakeIssuer, "redemption", _never_heard)


def _answer_of_taking_is_lost(machine: LifeMachine) -> None:
    machine.submit("pay")
    machine.work()
    machine.act("accept", 0)
    machine.work_and_crash(3)
    machine.work()


MISTAKES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Script]] = {
    "versions are not compared": (_versions_are_not_compared, _old_knowledge),
    "arrows are not checked": (_arrows_are_not_checked, _approved_twice),
    "money stays frozen": (_money_stays_frozen, _returned),
    "what is held is paid at once": (
        _what_is_held_is_paid_at_once,
        lambda machine: _to_paid(machine, "hold"),
    ),
    "silence is a refusal": (_silence_is_a_refusal, _silent),
    "a card is taken under new ids": (_a_card_is_taken_under_new_ids, _crash_after_taking),
    "own redemptions are forgotten": (_own_redemptions_are_forgotten, _answer_of_taking_is_lost),
    "a review does not look": (_a_review_does_not_look_whether_the_trade_moved, _cancelled_in_review),
}


def _checked(machine: LifeMachine) -> None:
    machine.the_books_are_whole()
    machine.money_is_where_the_state_says()
    machine.steps_follow_the_arrows()


@pytest.mark.parametrize("name", MISTAKES)
def test_every_known_mistake_is_noticed(monkeypatch, name):
    """The same steps are fine without the mistake and not with it."""
    mistake, script = MISTAKES[name]
    for is_wrong in (False, True):
        machine = LifeMachine()
        try:
            if is_wrong:
                mistake(monkeypatch)
                with pytest.raises(AssertionError):
                    _all_of(machine, script)
            else:
                _all_of(machine, script)
        finally:
            monkeypatch.undo()
            machine.teardown()


def _all_of(machine: LifeMachine, script: Script) -> None:
    script(machine)
    _checked(machine)

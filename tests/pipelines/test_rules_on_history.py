"""Rules tried on stored history: the figures are those of a count by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models.fraud.conditions import Condition
from models.fraud.decision import ACTIONS
from models.fraud.labels import PROVING_SOURCES
from models.fraud.rules import Rule
from models.reasons import Reason
from pipelines.champions import load_pair
from pipelines.screening.history import NoHistory, RuleFigures, RuleTest, try_rules
from pipelines.screening.lists_tried import lists_tried
from pipelines.training.examples import stored_examples
from pipelines.training.fraud import decisions
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace
from tests.conftest import TODAY

SINCE, UNTIL = TODAY - timedelta(days=60), TODAY - timedelta(days=15)


def rule(name: str, action: str, *when: Condition, mode: str = "shadow") -> Rule:
    return Rule(
        name=name, mode=mode, action=action, when=when, reason=Reason(name.upper(), "核实", "A check")
    )


LARGE = rule("large", "refuse", Condition("card_face_cny", "at_least", 500.0), mode="off")
AGAIN = rule("again", "review", Condition("fingerprint_count_all", "at_least", 1.0))
NEVER = rule("never", "refuse", Condition("card_face_cny", "above", 1e9))


def tried(workspace: Workspace, *rules: Rule) -> RuleTest:
    return try_rules(workspace, rules, since=SINCE, until=UNTIL, progress=lambda done, total: None)


def by_hand(workspace: Workspace) -> list[dict]:
    """The period's trades, each with what the rules ask for and the champion's own decision."""
    trades = workspace.tables.read("trades").to_pylist()
    seen: set[str] = set()
    for trade in trades:
        trade["again"] = trade["card_fingerprint"] in seen
        seen.add(trade["card_fingerprint"])
        known = trade["fraud"] is not None and (
            trade["decision"] != "refuse" or trade["fraud"] or trade["label_source"] in PROVING_SOURCES
        )
        trade["label"] = trade["fraud"] if known else None
        rate = 1.0 if trade["offered_rate"] is None else trade["offered_rate"]
        trade["paid_fen"] = round(trade["face_value_fen"] * rate)
    period = [trade for trade in trades if SINCE <= trade["submitted_at"] < UNTIL]
    model = load_pair(model_registry(workspace)).fraud
    assert model is not None
    examples = stored_examples(workspace, model="fraud", since=SINCE)
    own = decisions(model, examples, workspace.settings).action[: len(period)]
    return [trade | {"own": ACTIONS.index(action)} for trade, action in zip(period, own, strict=True)]


def cost_fen(trade: dict, action: int, workspace: Workspace) -> float:
    """What an action costs once the label is known, in plain words of docs and settings."""
    costs, decision = workspace.settings.costs, workspace.settings.decision
    loss, margin = costs.loss_given_fraud * trade["paid_fen"], decision.margin_share * trade["face_value_fen"]
    lost = max(decision.review_wrongly_refuses, decision.hold_drop_share)
    caught = max(decision.review_catches, decision.hold_catches)
    if trade["label"]:
        hold = decision.hold_cny * 100 + (1 - decision.hold_catches) * loss
        return (loss, hold, costs.review_cny * 100 + (1 - caught) * loss, 0.0)[action]
    refuse = margin + decision.complaint_probability * costs.complaint_cny * 100
    hold = decision.hold_cny * 100 + decision.hold_drop_share * margin
    return (0.0, hold, costs.review_cny * 100 + lost * margin, refuse)[action]


def check(found: RuleFigures, trades: list[dict], wanted: list[int], workspace: Workspace) -> None:
    both = list(zip(trades, wanted, strict=True))
    hits = [trade for trade, action in both if action > 0]
    frauds = [trade for trade in hits if trade["label"]]
    assert found.hits == len(hits)
    assert found.frauds == len(frauds)
    assert found.honest == sum(trade["label"] is False for trade in hits)
    assert found.fraud_fen == sum(trade["paid_fen"] for trade in frauds)
    assert found.stopped_anyway == sum(trade["own"] > 0 for trade in hits)
    stricter = [(trade, action) for trade, action in both if action > trade["own"]]
    assert found.changed == len(stricter)
    saved = sum(
        cost_fen(trade, trade["own"], workspace) - cost_fen(trade, action, workspace)
        for trade, action in stricter
        if trade["label"] is not None
    )
    assert found.saving_fen == pytest.approx(saved, rel=1e-9, abs=1e-6)


def test_figures_are_those_of_a_count_by_hand(workspace):
    """Hits, labels, money, overlap with the champion and savings of each rule and of all together, whatever their
    mode, agree with a loop over the trades."""
    found = tried(workspace, LARGE, AGAIN, NEVER)
    trades = by_hand(workspace)
    assert found.trades == len(trades)
    assert found.frauds == sum(trade["label"] is True for trade in trades) > 0
    assert found.honest == sum(trade["label"] is False for trade in trades)
    large = [3 if trade["face_value_fen"] >= 50_000 else 0 for trade in trades]
    again = [2 if trade["again"] else 0 for trade in trades]
    assert any(large)
    assert any(again)
    check(found.figures[0], trades, large, workspace)
    check(found.figures[1], trades, again, workspace)
    check(found.figures[2], trades, [0] * len(trades), workspace)
    check(found.together, trades, [max(both) for both in zip(large, again, strict=True)], workspace)


def test_lists_are_tried_as_rules_are(workspace):
    """What is blocked, watched and allowed: hits, labels, overlap with the champion and money of each list and mode are
    those of a count by hand; allowing eases, never a card that was offered before, and a block is not eased. What was
    listed after a trade is counted for it all the same, and a note says so."""
    trades = by_hand(workspace)
    blocked, watched = ({trade["seller_id"] for trade in trades[place::7]} for place in (0, 1))
    allowed = {trade["seller_id"] for trade in trades if trade["own"] > 0} | set(sorted(blocked)[:3])
    entries = [("added", "block", blocked), ("shadow", "watch", watched), ("added", "allow", allowed)]
    rows = [
        {"change": change, "list": name, "kind": "seller", "value": value, "at": TODAY}
        for change, name, values in entries
        for value in values
    ]
    found = try_rules(
        workspace, lists_tried(rows), since=SINCE, until=UNTIL, progress=lambda done, total: None
    )
    names = [(one.rule.name, one.rule.mode) for one in found.figures if one.rule is not None]
    assert names == [
        ("list:block:seller", "live"),
        ("list:allow:seller", "live"),
        ("list:watch:seller", "shadow"),
    ]
    eased = {0: 0, 1: 0, 2: 2, 3: 2}
    wanted: dict[str, list[tuple[bool, int]]] = {"block": [], "watch": [], "allow": [], "together": []}
    for trade in trades:
        own, seller = trade["own"], trade["seller_id"]
        on = {name: seller in values for _, name, values in entries}
        milder = eased[own] if on["allow"] and not trade["again"] else own
        wanted["block"].append((on["block"], 3 if on["block"] else own))
        wanted["watch"].append((on["watch"], max(own, 2) if on["watch"] else own))
        wanted["allow"].append((on["allow"], milder))
        stopped = 3 if on["block"] else max(milder, 2) if on["watch"] else milder
        wanted["together"].append((any(on.values()), stopped))
    for name, figures in zip(
        ("block", "allow", "watch", "together"), (*found.figures, found.together), strict=True
    ):
        hits = [(trade, final) for trade, (hit, final) in zip(trades, wanted[name], strict=True) if hit]
        changed = [(trade, final) for trade, final in hits if final != trade["own"]]
        assert figures.hits == len(hits) > 0
        assert figures.frauds == sum(trade["label"] is True for trade, _ in hits)
        assert figures.honest == sum(trade["label"] is False for trade, _ in hits)
        assert figures.stopped_anyway == sum(trade["own"] > 0 for trade, _ in hits)
        assert figures.changed == len(changed) > 0
        saved = sum(
            cost_fen(trade, trade["own"], workspace) - cost_fen(trade, final, workspace)
            for trade, final in changed
            if trade["label"] is not None
        )
        assert figures.saving_fen == pytest.approx(saved, rel=1e-9, abs=1e-6)
    later = sum(figures.hits for figures in found.figures)
    assert any(f"{later:,} hits are trades from before their entry" in note for note in found.notes)


def test_a_champion_that_knows_the_trades_is_named(workspace):
    """A note says that the comparison flatters it; its version is told."""
    found = tried(workspace, AGAIN)
    assert found.model_version == "1"
    assert any("learned from trades until" in note for note in found.notes)


def test_without_a_model_rules_are_compared_with_paying(own_tables):
    """No hit would be stopped anyway, every hit changes the answer; a note says so."""
    found = tried(own_tables, AGAIN)
    assert found.model_version is None
    assert found.figures[0].stopped_anyway == 0
    assert found.figures[0].changed == found.figures[0].hits > 0
    assert any("no fraud model" in note for note in found.notes)


def test_a_period_without_trades_is_refused(workspace, tmp_path):
    """The reach of the trades is named; a workspace without any says how to bring some in."""
    with pytest.raises(NoHistory, match="the trades reach from"):
        try_rules(workspace, [AGAIN], since=TODAY, until=None, progress=lambda done, total: None)
    with pytest.raises(NoHistory, match="huika import"):
        tried(Workspace.open(tmp_path / "new"), AGAIN)


def test_a_limit_about_a_region_hits_the_trades_of_that_region(workspace):
    """A card type can be switched off where it may not be traded."""
    here = rule("here", "refuse", Condition("origin_region", "equals", "guangdong"))
    trades = workspace.tables.read("trades", ["submitted_at", "region"]).to_pylist()
    inside = [trade for trade in trades if SINCE <= trade["submitted_at"] < UNTIL]
    expected = sum(trade["region"] == "guangdong" for trade in inside)
    assert tried(workspace, here).figures[0].hits == expected > 0

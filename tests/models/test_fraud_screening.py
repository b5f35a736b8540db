"""Model, rules, limits and lists together: the strictest wins, and only the allow list softens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fraud.decision import ACTIONS
from models.fraud.lists import Listed
from models.fraud.profiles import PERSON_REFUSES
from models.fraud.reason_dictionary import NO_RISK_SIGNALS
from models.fraud.rules import Rule
from models.fraud.screening import Screened, screen
from models.reasons import Reason

MODEL = Reason("MODEL", "模型", "The model")


def rule(name: str, action: str, mode: str = "live", *, binding: bool = False) -> Rule:
    reason = Reason(f"RULE_{name.upper()}", name, name)
    return Rule(name=name, mode=mode, action=action, when=(), reason=reason, binding=binding)


def one(
    action: str,
    *rules: Rule,
    lists: str = "",
    scored: bool = True,
    seen_before: float = 0.0,
    reasons: tuple[Reason, ...] = (MODEL,),
) -> Screened:
    """A single trade that all the rules hit, on the named lists."""
    flags = {name: np.array([name in lists.split()]) for name in ("block", "watch", "allow")}
    return screen(
        action=np.array([action], dtype=object),
        reasons=[reasons],
        scored=np.array([scored]),
        columns={"fingerprint_count_all": np.array([seen_before])},
        hits=[(rule, np.array([True])) for rule in rules],
        listed=Listed(**flags),
    )


def codes(found: Screened) -> list[str]:
    return [reason.code for reason in found.reasons[0]]


@pytest.mark.parametrize("action", ACTIONS)
def test_the_strictest_of_model_and_live_hits_wins(action):
    """A hit never makes a stricter decision of the model milder."""
    for wanted in ("hold", "review", "refuse"):
        strictest = max(action, wanted, key=ACTIONS.index)
        assert one(action, rule("a", wanted)).action[0] == strictest


def test_reasons_of_hits_stand_before_the_models_the_strictest_first():
    """Each hit gives its reason; what the model says follows."""
    found = one("hold", rule("a", "hold"), rule("b", "refuse"), lists="watch")
    assert codes(found) == ["RULE_B", "LISTED_WATCH", "RULE_A", "MODEL"]


def test_what_a_hit_makes_untrue_is_not_said():
    """No "no sign of risk" beside a hit, and no promise of a person beside a refusal."""
    assert codes(one("pay", rule("a", "hold"), reasons=(NO_RISK_SIGNALS,))) == ["RULE_A"]
    promised = (PERSON_REFUSES, MODEL)
    assert codes(one("review", rule("a", "refuse"), reasons=promised)) == ["RULE_A", "MODEL"]
    assert codes(one("review", rule("a", "hold"), reasons=promised)) == ["RULE_A", "PERSON_REFUSES", "MODEL"]


def test_a_rule_in_shadow_is_recorded_and_changes_nothing():
    """Decision and reasons are those without it."""
    found, plain = one("pay", rule("a", "refuse", "shadow")), one("pay")
    assert (found.action[0], found.reasons) == (plain.action[0], plain.reasons)
    assert (found.shadow_rules, plain.shadow_rules) == ([("a",)], [()])


@pytest.mark.parametrize(
    ("action", "lists", "becomes"),
    [
        ("pay", "block", "refuse"),
        ("pay", "watch", "review"),
        ("refuse", "watch", "refuse"),
        ("hold", "allow", "pay"),
        ("refuse", "allow", "review"),
        ("review", "allow", "review"),
        ("pay", "allow", "pay"),
        ("hold", "allow watch", "review"),
        ("pay", "allow block", "refuse"),
        ("pay", "watch block", "refuse"),
    ],
)
def test_what_lists_do(action, lists, becomes):
    """Block refuses, watch reviews at least, allow turns hold into pay and refuse into review; block wins, then
    watch."""
    assert one(action, lists=lists).action[0] == becomes


def test_allowing_softens_a_rule_but_not_a_binding_one():
    """A legal limit is a binding rule."""
    assert one("pay", rule("a", "refuse"), lists="allow").action[0] == "review"
    assert one("pay", rule("a", "hold", binding=True), lists="allow").action[0] == "hold"
    assert one("refuse", rule("a", "hold", binding=True), lists="allow").action[0] == "refuse"


def test_allowing_helps_neither_a_card_seen_before_nor_without_a_model():
    """A second submission of the same card, and a fault of the model, stay what they are."""
    assert one("refuse", lists="allow", seen_before=1.0).action[0] == "refuse"
    assert one("hold", lists="allow", scored=False).action[0] == "hold"
    assert one("hold", lists="allow", seen_before=np.nan).action[0] == "pay"


def test_softening_says_so():
    """The reason of the allow list stands where it changed something, and only there."""
    assert codes(one("hold", lists="allow")) == ["LISTED_ALLOW", "MODEL"]
    assert codes(one("pay", lists="allow")) == ["MODEL"]


RULES = st.lists(
    st.builds(
        rule,
        st.sampled_from("abcd"),
        st.sampled_from(("hold", "review", "refuse")),
        st.sampled_from(("live", "shadow")),
        binding=st.booleans(),
    ),
    max_size=4,
)


@given(
    action=st.sampled_from(ACTIONS),
    rules=RULES,
    block=st.booleans(),
    watch=st.booleans(),
    allow=st.booleans(),
    scored=st.booleans(),
    seen=st.sampled_from((0.0, 1.0, np.nan)),
)
def test_nothing_but_allowing_ever_makes_a_decision_milder(action, rules, block, watch, allow, scored, seen):
    """Against the model's decision, and against the same trade with any one hit less; a refusal has a reason."""

    def strictness(rules: list[Rule], lists: str) -> int:
        found = one(action, *rules, lists=lists, scored=scored, seen_before=seen)
        assert found.reasons[0]
        return ACTIONS.index(found.action[0])

    stops = " ".join(name for name, on in (("block", block), ("watch", watch)) if on)
    without_allow = strictness(rules, stops)
    assert without_allow >= ACTIONS.index(action)
    for place in range(len(rules)):
        assert strictness(rules[:place] + rules[place + 1 :], stops) <= without_allow
    if allow:
        allowed = strictness(rules, f"{stops} allow")
        assert allowed <= without_allow
        if block:
            assert ACTIONS[allowed] == "refuse"
        if watch:
            assert allowed >= ACTIONS.index("review")
        binding = [ACTIONS.index(r.action) for r in rules if r.binding and r.mode == "live"]
        assert allowed >= max(binding, default=0)
        if binding or seen == 1.0 or not scored:
            assert allowed == without_allow
        assert ACTIONS[allowed] != "pay" or ACTIONS[without_allow] in ("pay", "hold")

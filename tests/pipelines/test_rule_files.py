"""The files of rules and limits: what is shipped can be used, and what is wrong is named with rule and field."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from models.fraud.conditions import Condition
from pipelines.screening.advice import advice, read_aloud
from pipelines.screening.files import LIMITS_FILE, RULES_FILE, SHIPPED
from pipelines.screening.rule_files import RulesError, read_limits, read_rules, rule_book
from pipelines.workspace import Workspace

GOOD = {
    "name": '"a_rule"',
    "mode": '"live"',
    "action": '"review"',
    "when": '[{ feature = "seller_count_1h", at_least = 5 }]',
    "zh": '"核实"',
    "en": '"A check"',
}
LAW = GOOD | {"name": '"a_limit"', "from": "2012-11-01", "source_zh": '"某令"', "source_en": '"An order"'}


def write(path: Path, *entries: dict[str, str], key: str = "rule") -> Path:
    tables = [
        f"[[{key}]]\n" + "\n".join(f"{name} = {value}" for name, value in one.items()) for one in entries
    ]
    path.write_text("\n".join(tables), encoding="utf-8")
    return path


def test_a_new_workspace_has_rules_of_which_one_is_live(tmp_path):
    """The default file is written once, can be used, and leaves the user's own file alone."""
    workspace = Workspace.open(tmp_path)
    book = rule_book(workspace.home)
    assert 6 <= len(book.rules) <= 8
    assert [rule.name for rule in book.rules if rule.mode == "live"] == ["same_card_new_seller"]
    assert all(rule.reason.code == f"RULE_{rule.name.upper()}" for rule in book.rules)
    write(tmp_path / RULES_FILE, GOOD)
    assert [rule.name for rule in rule_book(Workspace.open(tmp_path).home).rules] == ["a_rule"]


def test_shipped_rules_and_limits_give_no_cause_for_doubt():
    """None can never hold, none tells a seller where the limit lies; every limit is dated, cited and binding."""
    limits = read_limits(Path("nowhere"))
    for rule in (*read_rules(SHIPPED / "default_rules.toml"), *limits):
        assert advice(rule) == []
        assert rule.name in read_aloud(rule)[0]
    for limit in limits:
        assert limit.binding
        assert limit.since is not None
        assert limit.source is not None
        assert limit.reason.code.startswith("LIMIT_")


def test_a_rule_says_what_is_written(tmp_path):
    """Dates, numbers, words and flags arrive as they stand in the file."""
    more = {"from": "2026-05-01", "until": "2026-06-01", "binding": "true", "note": '"n"', "author": '"li"'}
    when = '[{ feature = "card_type", is_in = ["a", "b"] }, { feature = "seller_burst", missing = true }]'
    rule = read_rules(write(tmp_path / "r.toml", GOOD | more | {"when": when}))[0]
    assert (rule.since, rule.until, rule.binding) == (date(2026, 5, 1), date(2026, 6, 1), True)
    assert rule.when == (
        Condition("card_type", "is_in", ("a", "b")),
        Condition("seller_burst", "missing", True),
    )
    assert (rule.note, rule.author) == ("n", "li")


def condition(text: str) -> dict[str, str]:
    return {"when": f"[{{ {text} }}]"}


WRONG = {
    "unknown feature": (
        condition('feature = "seler_count_1h", at_least = 5'),
        r"when\[1\]: feature: there is no 'seler_count_1h'; close to it: seller_count_1h",
    ),
    "unknown key": ({"acton": '"hold"'}, "acton: there is no such key; close to it: action"),
    "unknown comparison": (
        condition('feature = "seller_count_1h", atleast = 5'),
        r"when\[1\].atleast: there is no such key; close to it: at_least",
    ),
    "unknown mode": ({"mode": '"on"'}, "mode: Input should be 'live', 'shadow' or 'off'"),
    "unknown action": ({"action": '"pay"'}, "action: Input should be 'hold', 'review' or 'refuse'"),
    "text for a number": (
        condition('feature = "seller_count_1h", at_least = "5"'),
        r"when\[1\].at_least: Input should be a valid number",
    ),
    "flag for a value": (
        condition('feature = "seller_count_1h", equals = true'),
        r"when\[1\].equals: Input should be a number or a text",
    ),
    "not a finite number": (condition('feature = "seller_count_1h", at_least = nan'), "finite number"),
    "number for a word": (condition('feature = "card_type", equals = 5'), "equals: card_type is a word"),
    "word for a number": (condition('feature = "card_face_cny", equals = "5"'), "card_face_cny is a number"),
    "order of words": (condition('feature = "card_type", above = 5'), "card_type is a word; it takes equals"),
    "no comparison": (condition('feature = "card_type"'), "exactly one of .* is needed, not 0"),
    "two comparisons": (condition('feature = "card_face_cny", above = 5, below = 9'), "needed, not 2"),
    "no condition": ({"when": "[]"}, "when: List should have at least 1 item"),
    "no sentence": ({"zh": '""'}, "zh: String should have at least 1 character"),
    "name of a file": ({"name": '"A rule"'}, "name: String should match pattern"),
    "dates turned round": ({"from": "2026-06-01", "until": "2026-05-01"}, "until: 2026-05-01 is not after"),
    "what only limits read": (condition('feature = "seller_day_cny", above = 5'), "no 'seller_day_cny'"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_mistake_is_named_with_file_rule_and_field(name, tmp_path):
    """Each mistake in one rule is refused with the place where it stands."""
    changes, said = WRONG[name]
    path = write(tmp_path / "r.toml", GOOD | changes)
    with pytest.raises(RulesError, match=said) as refused:
        read_rules(path)
    where = "rule A rule" if name == "name of a file" else "rule a_rule"
    assert str(path) in str(refused.value)
    assert where in str(refused.value)


def test_all_mistakes_are_told_at_once(tmp_path):
    """Two wrong rules and a name that is there twice are one message."""
    wrong = GOOD | {"mode": '"on"'}
    path = write(tmp_path / "r.toml", wrong | {"name": '"b"'}, wrong | {"name": '"c"'}, GOOD, GOOD)
    with pytest.raises(RulesError, match="3 mistakes") as refused:
        read_rules(path)
    for said in ("rule b: mode", "rule c: mode", "rule a_rule: name: there are 2"):
        assert said in str(refused.value)


def test_a_file_that_is_no_list_of_rules_is_refused(tmp_path):
    """Broken TOML, another table, and a required key that is absent."""
    path = tmp_path / "r.toml"
    path.write_text("[[rule]\n", encoding="utf-8")
    with pytest.raises(RulesError, match="not valid TOML"):
        read_rules(path)
    for text in ("[rule]\nname = 'a'\n", "rule = 1\n", "[[rules]]\nname = 'a'\n", "[[rule]]\n[other]\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RulesError):
            read_rules(path)
    write(path, {name: value for name, value in GOOD.items() if name != "action"})
    with pytest.raises(RulesError, match="action: Field required"):
        read_rules(path)


def test_a_workspaces_limits_replace_those_of_the_same_name_and_extend_the_others(tmp_path):
    """A shipped limit is switched off by its name; a new one stands beside the rest and may read a day's sum."""
    own = LAW | condition('feature = "payout_account_day_cny", at_least = 50000')
    path = write(
        tmp_path / LIMITS_FILE, LAW | {"name": '"proof_of_source"', "mode": '"off"'}, own, key="limit"
    )
    before = {rule.name: rule for rule in read_limits(Path("nowhere"))}
    after = {rule.name: rule for rule in read_limits(path)}
    assert set(after) == set(before) | {"a_limit"}
    assert after["proof_of_source"].mode == "off"
    assert after["large_transfers"] == before["large_transfers"]


@pytest.mark.parametrize("absent", ["from", "source_zh", "source_en"])
def test_a_limit_without_date_or_source_is_refused(absent, tmp_path):
    """A limit that cannot be cited is a rule."""
    entry = {name: value for name, value in LAW.items() if name != absent}
    with pytest.raises(RulesError, match=f"limit a_limit: {absent}: Field required"):
        read_limits(write(tmp_path / LIMITS_FILE, entry, key="limit"))


def test_advice_names_what_can_never_hold_and_what_teaches(tmp_path):
    """A share above 1, two bounds that exclude each other, and a number in a seller's sentence."""
    when = """[
        { feature = "seller_fraud_rate_all", above = 1 },
        { feature = "card_face_cny", at_least = 900 },
        { feature = "card_face_cny", below = 900 },
    ]"""
    rule = read_rules(write(tmp_path / "r.toml", GOOD | {"when": when, "en": '"More than 5 an hour"'}))[0]
    found = "\n".join(advice(rule))
    assert "seller_fraud_rate_all > 1 never holds: the values are 0 to 1" in found
    assert "card_face_cny ≥ 900 and card_face_cny < 900 never hold together" in found
    assert "names a number" in found

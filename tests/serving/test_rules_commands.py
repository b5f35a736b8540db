"""`huika rules` and `huika lists`: what they print, write and refuse."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from pipelines.application_data import ApplicationData
from pipelines.screening.files import RULES_FILE
from pipelines.screening.list_data import ListData
from pipelines.workspace import Workspace
from serving.cli import main


def run(capsys: pytest.CaptureFixture[str], home: Path, *words: str) -> str:
    """Run a command that succeeds; what it printed."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "--home", str(home)])
    assert ended.value.code in (None, 0), capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], home: Path, *words: str) -> str:
    """Run a command that is refused; its reason."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "--home", str(home)])
    assert ended.value.code == 1
    return capsys.readouterr().err


def test_rules_are_shown_and_read_aloud(capsys, tmp_path):
    """`show` lists rules and limits with versions, as plain values too; `check` says each in words."""
    shown = run(capsys, tmp_path, "rules", "show")
    assert "same_card_new_seller" in shown
    assert "proof_of_source" in shown
    plain = json.loads(run(capsys, tmp_path, "rules", "show", "--json"))
    assert len(plain["rules"]) == 8
    assert plain["limits"][0]["source"]["en"]
    aloud = run(capsys, tmp_path, "rules", "check")
    assert "many_cards_one_hour: 人工复核 review" in aloud
    assert "seller_count_1h ≥ 5" in aloud
    assert "8 rules and 6 legal limits can be used" in aloud


def test_a_wrong_file_stops_every_command_that_would_use_it(capsys, tmp_path):
    """`check`, `show` and `quote` are refused with file, rule and field; `status` reports it."""
    Workspace.open(tmp_path)
    (tmp_path / RULES_FILE).write_text('[[rule]]\nname = "bad"\nmode = "on"\n', encoding="utf-8")
    for words in (("rules", "check"), ("rules", "show"), ("rules", "test")):
        said = refused(capsys, tmp_path, *words)
        assert "rule bad: mode" in said
        assert str(tmp_path / RULES_FILE) in said
    with pytest.raises(SystemExit) as ended:
        main(["status", "--home", str(tmp_path)])
    assert ended.value.code == 1
    assert "rule bad: mode" in capsys.readouterr().out


def test_rules_are_tried_on_history(capsys, trained_home):
    """One rule of a period as plain values, all of them as a table; an unknown rule names close ones."""
    plain = json.loads(
        run(
            capsys,
            trained_home,
            "rules",
            "test",
            "--rule",
            "same_card_again",
            "--from",
            "2026-01-01",
            "--json",
        )
    )
    assert [row["rule"] for row in plain["rules"]] == ["same_card_again"]
    assert plain["rules"][0]["hits"] == plain["together"]["hits"] > 0
    table = run(capsys, trained_home, "rules", "test", "--from", "2026-01-01")
    for name in ("same_card_again", "proof_of_source", "合计 together"):
        assert name in table
    assert "close to it: same_card_again" in refused(
        capsys, trained_home, "rules", "test", "--rule", "same_card_agan"
    )


def changes(home: Path) -> list[tuple[str, str, str]]:
    data = ListData.open(ApplicationData(Workspace.open(home).application_url))
    return [(row["change"], row["list"], row["value"]) for row in data.after(0)]


WHO = ("--author", "li", "--why", "chargebacks")


def test_lists_are_changed_shown_and_carried_over(capsys, tmp_path):
    """Added, removed, exported and imported elsewhere; the history keeps every change."""
    home, other, file = tmp_path / "a", tmp_path / "b", tmp_path / "out.csv"
    run(capsys, home, "lists", "add", "seller", "s-1", "--list", "block", *WHO, "--until", "2099-01-01")
    run(capsys, home, "lists", "add", "ip", "198.18.0.7", "--list", "watch", *WHO)
    run(capsys, home, "lists", "add", "device", "d-1", "--list", "allow", *WHO)
    run(capsys, home, "lists", "remove", "device", "d-1", "--list", "allow", *WHO)
    assert "changed nothing" in run(capsys, home, "lists", "remove", "device", "d-1", "--list", "allow", *WHO)
    shown = json.loads(run(capsys, home, "lists", "show", "--json"))
    assert [(row["list"], row["value"], row["until"]) for row in shown] == [
        ("block", "s-1", "2099-01-01T00:00:00+00:00"),
        ("watch", "198.18.0.7", ""),
    ]
    assert len(json.loads(run(capsys, home, "lists", "show", "--history", "--json"))) == 4
    assert "s-1" in run(capsys, home, "lists", "show", "s-1", "--list", "block")
    run(capsys, home, "lists", "export", str(file))
    assert "2 added" in run(capsys, other, "lists", "import", str(file))
    assert "0 added, 2 changed nothing" in run(capsys, other, "lists", "import", str(file))
    assert changes(other) == [("added", "block", "s-1"), ("added", "watch", "198.18.0.7")]


def test_a_list_in_shadow_is_shown_carried_over_and_tried_on_history(capsys, trained_home, tmp_path):
    """``--shadow`` marks an entry, made anew without it the entry is live; ``test`` tries what is listed, or a file of
    which nothing is added."""
    home, file = tmp_path / "home", tmp_path / "out.csv"
    shutil.copytree(trained_home, home, ignore=shutil.ignore_patterns("mlflow"))
    seller = Workspace.open(home).tables.read("trades", ["seller_id"])["seller_id"][-1].as_py()
    add = ("lists", "add", "seller", seller, "--list", "block", *WHO)
    run(capsys, home, *add, "--shadow")
    assert "block in shadow 1" in run(capsys, home, "status")
    run(capsys, home, "lists", "export", str(file))
    assert file.read_text().splitlines()[1].endswith(",shadow")
    tried = ("lists", "test", "--from", "2026-01-01", "--json")
    shadow = json.loads(run(capsys, home, *tried))["rules"]
    assert [(row["rule"], row["mode"], row["action"]) for row in shadow] == [
        ("list:block:seller", "shadow", "refuse")
    ]
    assert shadow[0]["hits"] > 0
    assert "changed nothing" in run(capsys, home, "lists", "import", str(file))
    run(capsys, home, *add)
    assert [row["mode"] for row in json.loads(run(capsys, home, "lists", "show", "--json"))] == ["live"]
    assert [row["mode"] for row in json.loads(run(capsys, home, *tried, "--file", str(file)))["rules"]] == [
        "off"
    ]
    assert [change for change, *_ in changes(home)] == ["shadow", "added"]
    file.write_text("list,kind,value,mode\nblock,seller,s-1,lvie\n")
    assert "mode: there is no 'lvie'" in refused(capsys, home, "lists", "import", str(file), *WHO)


NOTED = """
[[rule]]
name = "noted"
mode = "live"
action = "review"
zh = "核对"
en = "Checked"
when = [{{ feature = "seller_count_1h", at_least = 5 }}]
note = {note}
"""


@pytest.mark.parametrize("why", ["see [/x] note", "[jira-12] chargebacks :warning:", "\\\\share\\"])
def test_what_people_write_is_shown_as_they_wrote_it(capsys, tmp_path, why):
    """Brackets, emoji names and backslashes in an entry's or a rule's texts are text, and never break the table."""
    who = ("--author", "[li]", "--why", why)
    run(capsys, tmp_path, "lists", "add", "seller", "s-[/1]", "--list", "block", *who)
    for words in (("lists", "show"), ("lists", "show", "--history")):
        shown = run(capsys, tmp_path, *words)
        assert all(text in shown for text in ("s-[/1]", "[li]", why))
    file = tmp_path / RULES_FILE
    with file.open("a", encoding="utf-8") as rules:
        rules.write(NOTED.format(note=json.dumps(why)))
    assert why in run(capsys, tmp_path, "rules", "show")


def test_a_file_is_imported_whole_or_not_at_all(capsys, tmp_path):
    """Every wrong line is named, nothing is added, and no card number is repeated."""
    number = "6222021234567890"
    file = tmp_path / "in.csv"
    rows = [
        ("list", "kind", "value"),
        ("block", "seller", "s-1"),
        ("grey", "seller", "s-2"),
        ("block", "card_fingerprint", number),
    ]
    with file.open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    said = refused(capsys, tmp_path, "lists", "import", str(file), *WHO)
    assert "line 3: list" in said
    assert "line 4: value: this looks like a card number" in said
    assert number not in said
    assert changes(tmp_path) == []
    file.write_text("list,kind,vaule\n")
    assert "no column value, unknown column vaule" in refused(
        capsys, tmp_path, "lists", "import", str(file), *WHO
    )


def test_an_entry_needs_somebody_and_a_reason(capsys, tmp_path):
    """A time that is over, no author, an unknown kind: each is refused in one line."""
    base = ("lists", "add", "seller", "s-1", "--list", "block")
    assert "is over" in refused(capsys, tmp_path, *base, *WHO, "--until", "2020-01-01")
    assert "author and why" in refused(capsys, tmp_path, *base, "--author", "", "--why", "x")
    wrong = ("lists", "add", "person", "s-1", "--list", "block", *WHO)
    assert "there is no 'person'" in refused(capsys, tmp_path, *wrong)

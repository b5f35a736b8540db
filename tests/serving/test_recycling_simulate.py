"""``huika recycling simulate``: whole days through the flow for each profile, and the table that compares them."""

from __future__ import annotations

import json

import pytest

from serving.cli import main


def simulated(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["recycling", "simulate", "--json", *words])
    assert ended.value.code == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def days() -> tuple[str, ...]:
    return ("--trades", "60", "--days", "2", "--seed", "4")


@pytest.fixture(scope="module")
def few() -> tuple[str, ...]:
    return ("--trades", "12", "--days", "1", "--seed", "4")


def test_profiles_stand_side_by_side(capsys, days):
    """All profiles see the same cards; the small one works by hand and pays days later, the head one at once; every
    trade has ended and the books are at zero."""
    small, medium, head = simulated(capsys, *days)
    assert [one["profile"] for one in (small, medium, head)] == ["small", "medium", "head"]
    assert small["offered"] == medium["offered"] == head["offered"] == 60
    assert small["by_hand_share"] > head["by_hand_share"]
    assert small["people_hours"] > medium["people_hours"] > 0
    assert small["paid_seconds_p50"] >= 3 * 86_400
    assert 86_400 <= medium["paid_seconds_p50"] < 2 * 86_400
    assert head["paid_seconds_p50"] < 60 < small["response_seconds_p50"]
    for one in (small, medium, head):
        assert one["books_at_zero"] is True
        assert (one["frozen_fen"], one["stuck"]) == (0, {})
        ends = {"closed", "rejected", "declined", "lapsed", "cancelled", "returned", "reversed"}
        assert set(one["states"]) <= ends
        assert sum(one["states"].values()) == one["trades"]


def test_the_same_seed_gives_the_same_table(capsys, few):
    """Twice the same words give the same figures, and another seed gives others."""
    first, again = (simulated(capsys, *few, "--profiles", "head") for _ in range(2))
    assert first == again
    other = simulated(capsys, *few[:-1], "5", "--profiles", "head")
    assert other != first


def test_the_models_of_a_workspace_price(capsys, trained_home):
    """With --home the champions quote in a copy of the workspace, which stays as it was."""
    before = sorted((path.name, path.stat().st_size) for path in trained_home.iterdir())
    words = ("--trades", "12", "--profiles", "head", "--home", str(trained_home))
    (head,) = simulated(capsys, *words)
    assert head["trades"] == 12
    assert head["books_at_zero"] is True
    assert head["stock_fen"] > 0
    assert sorted((path.name, path.stat().st_size) for path in trained_home.iterdir()) == before


def test_simulate_without_a_folder_is_the_same(capsys, few):
    """``huika simulate --profile`` compares all profiles, and only one that is named, as ``recycling simulate``."""
    for words, wanted in ((("--profile",), 3), (("--profile", "head"), 1)):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["simulate", "--json", *few, *words])
        assert ended.value.code == 0
        told = json.loads(capsys.readouterr().out)
        assert len(told) == wanted
        assert told[-1] == simulated(capsys, *few, "--profiles", "head")[0]


@pytest.mark.parametrize("profiles", ["", "huge", "head,head"])
def test_unknown_profiles_are_refused(capsys, profiles):
    """A profile that there is not, none, or one twice is refused in one line."""
    with pytest.raises(SystemExit) as ended:
        main(["recycling", "simulate", "--profiles", profiles])
    assert ended.value.code == 1
    assert "small, medium, head" in capsys.readouterr().err

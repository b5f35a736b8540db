"""What a promotion of the fraud model asks, on trades made up so that one condition fails at a time."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from models.evaluation.fraud import Judged
from pipelines.settings import Settings
from pipelines.training.comparing import compare
from pipelines.training.examples import Examples
from pipelines.training.fraud import figures_of
from pipelines.training.fraud_checks import Candidate, fraud_checks, notes_on
from pipelines.training.fraud_details import fraud_details
from pipelines.training.promotion_checks import Verdict
from pipelines.training.splitting import DAY_US
from pipelines.training.training import Job, Listener, train
from tests.conftest import EARLIER

ROWS = 4_000
SETTINGS = Settings()


def _examples() -> Examples:
    """4,000 trades of 40 days by 800 sellers, half of them new; every twentieth is fraud."""
    rng = np.random.default_rng(2)
    unknown: dict[str, Any] = {field.name: np.full(ROWS, np.nan) for field in fields(Examples)}
    return Examples(
        **unknown
        | {
            "columns": {"seller_count_all": np.repeat([0.0, 5.0, 5.0, 0.0], ROWS // 4)},
            "seller_id": rng.integers(0, 800, ROWS).astype(str).astype(object),
            "face_value_fen": np.full(ROWS, 40_000),
            "submitted_at": np.sort(rng.integers(0, 40 * DAY_US, ROWS)),
            "fraud": (np.arange(ROWS) % 20 < 1).astype(float),
        }
    )


def _candidate(probability: np.ndarray, action: np.ndarray) -> Candidate:
    examples = _examples()
    judged = Judged(
        fraud=examples.fraud == 1,
        probability=probability,
        submitted_at=examples.submitted_ms,
        seller_id=examples.seller_id,
        action=action,
        payout_fen=examples.face_value_fen,
        face_value_fen=examples.face_value_fen,
    )
    return Candidate(examples, judged, figures_of(judged, SETTINGS).to_dict())


def _sharp(level: float = 1.0) -> np.ndarray:
    """Honest probabilities: 41 % where three of four frauds and as many honest trades lie, 1.4 % elsewhere."""
    fraud = _examples().fraud == 1
    rng = np.random.default_rng(3)
    risky = np.where(fraud, rng.random(ROWS) < 0.75, rng.random(ROWS) < 0.057)
    return level * np.where(risky, 0.41, 0.0137) + 1e-4 * rng.random(ROWS)


def _stop(rows: np.ndarray) -> np.ndarray:
    return np.where(rows, "refuse", "pay").astype(object)


PAY = np.full(ROWS, "pay", dtype=object)


def _passed(champion: Candidate, challenger: Candidate) -> list[bool]:
    """Of cost, average precision, calibration error, level and parts."""
    checks = fraud_checks(champion=champion, challenger=challenger, settings=SETTINGS)
    return [check.verdict is not Verdict.FAILED for check in checks]


def test_a_better_model_passes_every_condition() -> None:
    """Stopping what is risky instead of nothing costs less everywhere, and its probabilities are honest."""
    champion = _candidate(np.full(ROWS, 0.05) + 1e-4 * np.random.default_rng(4).random(ROWS), PAY)
    challenger = _candidate(_sharp(), _stop(_sharp() > 0.2))
    assert _passed(champion, challenger) == [True] * 5


def test_a_costlier_model_fails_even_with_the_same_ranking() -> None:
    """The same probabilities with nothing stopped: costlier, and every part is named."""
    champion, challenger = _candidate(_sharp(), _stop(_sharp() > 0.2)), _candidate(_sharp(), PAY)
    checks = fraud_checks(champion=champion, challenger=challenger, settings=SETTINGS)
    assert [check.verdict is Verdict.PASSED for check in checks] == [False, True, True, True, False]
    assert "new_sellers by" in checks[-1].what
    assert "known_sellers by" in checks[-1].what


def test_a_part_that_became_costlier_fails() -> None:
    """Refusing honest known sellers is cheap beside the fraud of new ones that is stopped, and still found."""
    known = _examples().columns["seller_count_all"] > 0
    fraud = _examples().fraud == 1
    champion = _candidate(_sharp(), PAY)
    challenger = _candidate(_sharp(), _stop((fraud & ~known) | (known & ~fraud)))
    parts = fraud_checks(champion=champion, challenger=challenger, settings=SETTINGS)[-1]
    assert parts.verdict is Verdict.FAILED
    assert "known_sellers" in parts.what
    assert " new_sellers" not in parts.what


def test_probabilities_twice_too_high_fail_the_level() -> None:
    """Mean probability over rate of two is no chance; the ranking is as before."""
    champion, challenger = (
        _candidate(_sharp(), _stop(_sharp() > 0.2)),
        _candidate(_sharp(2.0), _stop(_sharp() > 0.2)),
    )
    assert _passed(champion, challenger)[1] is True
    assert _passed(champion, challenger)[3] is False


def test_with_few_frauds_the_level_and_with_few_trades_the_parts_are_not_judged() -> None:
    """Three frauds say nothing of the level, a hundred trades nothing of parts; neither passes or fails."""
    few = _candidate(_sharp(), PAY)
    few = replace(few, judged=replace(few.judged, fraud=np.arange(ROWS) < 3))
    hundred = np.arange(100)
    small = replace(few, seen=few.seen.rows(hundred), judged=few.judged.rows(hundred))
    *_, level, parts = fraud_checks(champion=small, challenger=small, settings=SETTINGS)
    assert level.verdict is Verdict.NOT_JUDGED
    assert parts.verdict is Verdict.NOT_JUDGED
    assert fraud_checks(champion=few, challenger=few, settings=SETTINGS)[-1].verdict is not Verdict.NOT_JUDGED
    assert not level.stops
    assert not parts.stops


def test_notes_tell_parts_and_weeks_of_both_models() -> None:
    """A line for each part and week with enough frauds, champion first."""
    champion, challenger = _candidate(_sharp(), PAY), _candidate(_sharp(), _stop(_sharp() > 0.2))
    details = [
        fraud_details(one.judged, columns=one.seen.columns, trained_until_us=0, settings=SETTINGS)
        for one in (champion, challenger)
    ]
    notes = notes_on(details)
    assert any(note.startswith("new_sellers: 2,000 trades") and "→" in note for note in notes)
    assert any(note.startswith("week 1: ") for note in notes)
    assert all("→" not in note for note in notes_on(details[:1]))


def test_two_equal_models_are_compared_by_these_conditions(own_earlier) -> None:
    """Champion and challenger of the same data: equal figures, notes on parts, every condition asked."""
    quiet = Listener(say=lambda step: None, features=lambda done, total: None)
    train(own_earlier, job=Job(models=("fraud",), until=EARLIER), listener=quiet)
    comparison = compare(own_earlier, name="fraud")
    champion, challenger = comparison.figures
    np.testing.assert_equal(champion, challenger)
    words = (
        "cost per trade",
        "average precision",
        "calibration error",
        "mean probability over rate",
        "parts",
    )
    assert all(word in check.what for word, check in zip(words, comparison.checks, strict=True))
    assert comparison.checks[-1].verdict is Verdict.PASSED
    assert all(isinstance(note, str) for note in comparison.notes)

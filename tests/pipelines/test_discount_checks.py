"""What a promotion of the discount model asks: a good challenger passes, a bad one fails where it is bad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from models.evaluation.discount import evaluate_discount
from models.policy import Costs, PricePolicy
from pipelines.settings import Settings
from pipelines.training import discount_checks as module
from pipelines.training.discount import outcomes_of
from pipelines.training.discount_checks import discount_checks, error_by_chance, first_checks, values_of
from pipelines.training.discount_worth import Contender, contender
from pipelines.training.examples import Examples
from pipelines.training.fairness import Fairness, Unexplained
from pipelines.training.promotion_checks import Check, Verdict
from tests.models.discount_market import Market, fitted_model, make_market, model_without_jitter

FAIR = Fairness(trades=300, people=24, bonuses=0, unexplained=0, worst=())
SETTINGS = Settings()
NEWER = {"rows": 4_000, "seed": 41, "from_day": 61, "days": 28}


def found(checks: tuple[Check, ...]) -> dict[str, Check]:
    """The one check about each of these."""
    words = (
        "profit per trade",
        "gain over the logged",
        "gain over the rate table",
        "acceptance log loss",
        "acceptance calibration",
        "resale error",
        "coverage of the 90 %",
        "worst card type",
        "surface",
        "reason",
        "blind to the person",
    )
    return {word.removesuffix(" per trade"): _only(checks, word) for word in words}


def _only(checks: tuple[Check, ...], word: str) -> Check:
    (check,) = (check for check in checks if word in check.what)
    return check


def examples_of(market: Market) -> Examples:
    """Trades as `huika evaluate` would hold them, without densities."""
    rows = len(market)
    return Examples(
        columns=dict(market.columns),
        trade_id=np.arange(rows).astype(str),
        seller_id=np.arange(rows) % 900,
        card_type=market.columns["card_type"],
        face_value_fen=market.face_value_fen,
        issued_face_fen=np.zeros(rows, dtype=np.int64),
        submitted_at=market.submitted_at * 1000,
        offered_rate=market.offered_rate,
        offer_density=np.full(rows, np.nan),
        offer_centre=np.full(rows, np.nan),
        decision=np.full(rows, None),
        let_through=np.full(rows, np.nan),
        accepted=market.accepted,
        decided_at=market.submitted_at * 1000,
        resale_rate=market.resale_rate,
        resold_at=market.resold_at * 1000,
        fraud=np.full(rows, np.nan),
        fraud_known_at=np.full(rows, -1),
        label_source=np.full(rows, None),
    )


@cache
def newer() -> Examples:
    """Trades after those the test models were fitted on."""
    return examples_of(make_market(**NEWER))


@cache
def good() -> Contender:
    return contender(fitted_model(), newer(), SETTINGS)


@cache
def figures() -> Mapping[str, float]:
    """Those of the good model, with coverage and calibration right on their aims."""
    found = evaluate_discount(
        model=fitted_model(),
        columns=newer().columns,
        face_value_fen=newer().face_value_fen,
        outcomes=outcomes_of(newer()),
        costs=Costs(),
        policy=PricePolicy(),
    )
    aims = {"range_coverage_90": 0.9, "range_coverage_90_worst_type": 0.87, "acceptance_ece": 0.01}
    return {**found.to_dict(), **aims}


def checked(
    challenger: Contender | None = None,
    *,
    champion: Contender | None = None,
    fairness: Fairness = FAIR,
    **changed: float,
) -> dict[str, Check]:
    """Checks of a challenger against a champion, the good model each by default; ``changed`` figures are its own."""
    old, new = champion or good(), challenger or good()
    return found(
        discount_checks(
            champion=old,
            challenger=new,
            values=values_of({"champion": old, "challenger": new}),
            figures=(figures(), {**figures(), **changed}),
            fairness=fairness,
        )
    )


def greedy() -> Contender:
    """The good model, but it shows four points less, because it believes that sellers take that as gladly."""
    one = good()
    curve = replace(one.known.curve, location=one.known.curve.location - 0.04)
    offers = replace(one.offers, rate=one.offers.rate - 0.04, centre_rate=one.offers.centre_rate - 0.04)
    return replace(one, known=replace(one.known, curve=curve), offers=offers)


def test_the_same_model_again_is_no_worse() -> None:
    """Equal models gain exactly nothing, which is enough."""
    checks = checked()
    assert "gain 0.0000" in checks["profit"].what
    assert not [check for check in checks.values() if check.verdict is Verdict.FAILED]


def test_a_greedy_challenger_fails_on_profit_although_it_believes_in_it() -> None:
    """Rates four points too low lose sellers; trades that neither model saw say so, whatever the model believes."""
    checks = checked(greedy())
    assert checks["profit"].verdict is Verdict.FAILED
    assert checks["acceptance log loss"].verdict is Verdict.FAILED


def test_a_better_challenger_passes_on_profit() -> None:
    """Against a greedy champion the good model gains, with its whole interval."""
    checks = checked(champion=greedy())
    assert checks["profit"].verdict is Verdict.PASSED
    assert checks["acceptance log loss"].verdict is Verdict.PASSED


@cache
def cheap() -> Contender:
    """The good model on a log of offers drawn three points lower than those of the test market."""
    market = make_market(**{**NEWER, "rows": 12_000})
    rate = np.maximum(market.offered_rate - 0.03, 0.001)
    fuel = market.columns["card_category"] == "fuel"
    chance = 1 / (1 + np.exp(-(rate - market.accept_at) / np.where(fuel, 0.014, 0.026)))
    accepted = np.random.default_rng(4).random(len(rate)) < chance
    log = replace(
        examples_of(market),
        offered_rate=rate,
        offer_density=market.offer_density,
        accepted=accepted.astype(np.float64),
        resale_rate=np.where(accepted, market.resale_expected, np.nan),
    )
    return contender(fitted_model(), log, SETTINGS)


def moved(move: float) -> Contender:
    """A challenger that offers what that log offered before the draw, and ``move``."""
    centre = make_market(**{**NEWER, "rows": 12_000}, jitter=0.0).offered_rate - 0.03
    rate = np.maximum(centre + move, 0.001)
    offers = replace(cheap().offers, rate=rate, centre_rate=rate, no_offer=np.zeros(len(rate), dtype=bool))
    return replace(cheap(), offers=offers)


def test_off_policy_gain_is_judged_where_the_log_supports_the_rates() -> None:
    """Where everything was offered three points too low, a point more pays and one less costs; the log shows both."""
    raised, cut = (checked(moved(move), champion=cheap())["gain over the logged"] for move in (0.01, -0.01))
    assert raised.verdict is Verdict.PASSED, raised.what
    assert cut.verdict is Verdict.FAILED, cut.what


def test_what_the_log_cannot_say_is_neither_passed_nor_failed_and_a_proof_not_made_stops() -> None:
    """A log without densities or one without answers: the check says why it is not judged, and the proof of value stops
    a promotion until a person says otherwise."""
    plain = checked()["gain over the logged"]
    assert (plain.verdict, plain.stops) == (Verdict.NOT_JUDGED, True)
    assert "no offer of this log was drawn" in plain.what
    assert str(plain).startswith("not judged: ")
    silent = checked(replace(good(), seen=replace(newer(), accepted=np.full(len(newer()), np.nan))))
    for word in ("profit", "gain over the logged", "acceptance log loss", "acceptance calibration"):
        assert silent[word].verdict is Verdict.NOT_JUDGED, word
    assert silent["profit"].stops
    assert not silent["acceptance log loss"].stops


def test_rates_beyond_the_log_are_judged_by_their_first_step() -> None:
    """Four points up, where everything was offered three points too low: the whole was never offered to anybody, and
    the first step toward it pays; the check says that it is of the first step alone. Four points down it costs."""
    up, down = (checked(moved(move), champion=cheap())["gain over the logged"] for move in (0.04, -0.04))
    assert up.verdict is Verdict.PASSED, up.what
    assert "of the first step toward its prices alone (of the whole overlap is 0.0%" in up.what
    assert down.verdict is Verdict.FAILED, down.what


def test_a_first_model_is_judged_against_the_log_and_the_price_list_and_for_fairness() -> None:
    """Worse prices than the log's fail a first model, better ones pass, and a log without draws proves nothing; an
    unexplained difference between people fails it whatever it earns."""
    verdicts = [
        found_first(first_checks(values_of({"model": one}), FAIR))
        for one in (moved(-0.01), moved(0.01), good())
    ]
    assert verdicts == [Verdict.FAILED, Verdict.PASSED, Verdict.NOT_JUDGED]
    unfair = replace(FAIR, unexplained=1, worst=(Unexplained("t-17", 250),))
    assert first_checks(values_of({"model": good()}), unfair)[-1].verdict is Verdict.FAILED


def found_first(checks: tuple[Check, ...]) -> Verdict:
    return _only(checks, "gain over the logged").verdict


@pytest.mark.parametrize(
    ("word", "changed"),
    [
        ("acceptance calibration", {"acceptance_ece": 0.06}),
        ("resale error", {"resale_mae": 0.05}),
        ("coverage of the 90 %", {"range_coverage_90": 0.85}),
        ("coverage of the 90 %", {"range_coverage_90": 0.95}),
        ("worst card type", {"range_coverage_90_worst_type": 0.79}),
        ("surface", {"surface_violations": 1.0}),
    ],
)
def test_each_figure_out_of_bounds_fails_its_check_alone(word: str, changed: Mapping[str, float]) -> None:
    """One bad figure fails one check, and the text holds the figure."""
    checks = checked(**changed)
    assert [name for name, check in checks.items() if check.verdict is Verdict.FAILED] == [word]


def test_one_unexplained_difference_between_people_fails_the_release() -> None:
    """A single trade whose price looks at the person is enough; its number and amount are in the text."""
    unfair = replace(FAIR, unexplained=1, worst=(Unexplained("t-17", 250),))
    check = checked(fairness=unfair)["blind to the person"]
    assert check.verdict is Verdict.FAILED
    assert "t-17 ¥2.50" in check.what


def test_an_offer_without_a_reason_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every offer has its reasons; one without fails."""

    def forgetful(**asked):
        return [(), *([("x",)] * (len(newer()) - 1))]

    monkeypatch.setattr(module, "reasons_of_all", forgetful)
    check = checked()["reason"]
    assert check.verdict is Verdict.FAILED
    assert check.what.startswith("1 of 4,000")


def test_too_few_resales_of_every_type_are_not_judged_by_type() -> None:
    """Without a type of 300 resales its coverage is not judged."""
    check = checked(range_coverage_90_worst_type=float("nan"))["worst card type"]
    assert check.verdict is Verdict.NOT_JUDGED


def test_chance_alone_makes_a_calibration_error() -> None:
    """True probabilities show an error too, the larger the fewer decisions there are."""
    rng = np.random.default_rng(0)
    few, many = (error_by_chance(np.full(rows, 0.5), rng=rng) for rows in (500, 50_000))
    assert many < 0.02 < few


def test_a_model_of_a_still_log_can_be_compared() -> None:
    """A challenger fitted without price movement answers all checks with finite figures."""
    checks = checked(contender(model_without_jitter(), newer(), SETTINGS))
    assert "nan" not in checks["profit"].what

"""The shape of reservation rates: a distribution whose logarithm is concave, whatever its bend."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from models.discount.link import (
    LEAST_SHARE,
    MIN_TYPE_ROWS,
    MOST_BEND,
    MOST_FLOOR,
    PLAIN,
    Link,
    Links,
    fit_link,
    fit_links,
    least_share,
)

BENDS = np.exp(np.linspace(-np.log(MOST_BEND), np.log(MOST_BEND), 7))
LINKS = [Link(alpha=alpha, beta=beta) for alpha, beta in itertools.product(BENDS, BENDS)]
MOVED = Link(alpha=2.0, beta=0.7, stretch=1.3, shift=-0.4)
SCORES = np.linspace(-12.0, 12.0, 2_401)
ROUNDING = 1e-9


def name_of(link: Link) -> str:
    return f"alpha={link.alpha:.2f},beta={link.beta:.2f}"


def concave_logarithm(link: Link) -> bool:
    """Whether F'/F never rises."""
    probability, slope = link.with_slope(SCORES)
    inside = (probability > 1e-6) & (probability < 1 - 1e-6)
    return bool(np.all(np.diff(slope[inside] / probability[inside]) <= ROUNDING))


def decisions(link: Link, *, rows: int, floor: float) -> dict[str, np.ndarray]:
    """Scores around the middle, floors and decisions of sellers with that link."""
    rng = np.random.default_rng(3)
    scores = rng.normal(0.0, 2.5, rows)
    probability = floor + (1 - floor) * link.probability(scores)
    accepted = (rng.random(rows) < probability).astype(np.float64)
    return {"scores": scores, "floor": np.full(rows, floor), "accepted": accepted}


@pytest.mark.parametrize("link", [*LINKS, MOVED], ids=name_of)
def test_shape_rises_strictly_from_zero_to_one(link: Link) -> None:
    """A higher score is always more likely, until the probability is 0 or 1 to machine precision."""
    probability = link.probability(SCORES)
    inside = (probability > 1e-12) & (probability < 1 - 1e-9)
    assert np.all(np.diff(probability[inside]) > 0)
    assert np.all(np.diff(probability) >= 0)
    assert link.probability(np.array([-400.0]))[0] < 1e-20
    assert link.probability(np.array([400.0]))[0] == 1.0


@pytest.mark.parametrize("link", [link for link in LINKS if max(link.alpha, link.beta) >= 0.999], ids=name_of)
def test_logarithm_is_concave(link: Link) -> None:
    """F'/F never rises unless both tails are heavier than the logistic curve's."""
    assert concave_logarithm(link)


@pytest.mark.parametrize(
    "truth",
    [Link(), Link(alpha=4.0, beta=0.4), Link(alpha=0.4, beta=4.0), Link(alpha=0.3, beta=0.4, stretch=2.5)],
    ids=name_of,
)
def test_fitted_logarithm_is_concave_from_the_least_share(truth: Link) -> None:
    """Whatever the sellers are like: else the best rate could fall as they expect more."""
    link = fit_link(**decisions(truth, rows=8_000, floor=0.01), prior=PLAIN)
    least = least_share(float(link.alpha), float(link.beta))
    assert LEAST_SHARE <= least < 0.5
    probability, slope = Link(link.alpha, link.beta).with_slope(SCORES)
    for floor in (0.0, MOST_FLOOR):
        inside = (probability >= least + 1e-3) & (probability < 1 - 1e-6)
        assert np.all(np.diff(slope[inside] / (probability[inside] + floor)) <= ROUNDING)


@pytest.mark.parametrize("link", [*LINKS, MOVED], ids=name_of)
def test_score_is_the_inverse(link: Link) -> None:
    """The score of a probability has that probability."""
    for probability in (0.01, 0.1, 0.5, 0.9, 0.99):
        assert link.probability(np.array([link.score(probability)]))[0] == pytest.approx(
            probability, rel=1e-6
        )


@pytest.mark.parametrize("link", [*LINKS, MOVED], ids=name_of)
def test_slope_is_the_derivative(link: Link) -> None:
    """The derivative equals a central difference, and the probability comes with it."""
    step = 1e-5
    probability, slope = link.with_slope(SCORES)
    difference = (link.probability(SCORES + step) - link.probability(SCORES - step)) / (2 * step)
    np.testing.assert_allclose(slope, difference, atol=1e-7)
    assert np.array_equal(probability, link.probability(SCORES))


def test_plain_shape_is_the_logistic_curve() -> None:
    """Without a bend, F is the logistic curve."""
    np.testing.assert_allclose(Link().probability(SCORES), 1 / (1 + np.exp(-SCORES)))


@pytest.mark.parametrize(
    "truth",
    [Link(alpha=2.5, beta=0.7), Link(alpha=1.0, beta=2.5, stretch=0.8, shift=-0.5), MOVED],
    ids=name_of,
)
def test_fit_finds_the_shape_behind_the_decisions(truth: Link) -> None:
    """The fitted curve lies within two points of the true one, and both of its tails are about as steep.

    A tail's steepness is stretch times alpha or beta; what each of them is by itself, decisions hardly tell.
    """
    found = fit_link(**decisions(truth, rows=20_000, floor=0.02), prior=PLAIN)
    middle = np.linspace(-4, 4, 81)
    assert np.abs(found.probability(middle) - truth.probability(middle)).max() < 0.02
    for tail in ("alpha", "beta"):
        steepness = getattr(found, tail) * found.stretch / (getattr(truth, tail) * truth.stretch)
        assert 0.7 < steepness < 1.4


def test_few_decisions_hardly_bend_the_shape() -> None:
    """A few dozen decisions leave the prior more than half of the say."""
    truth = Link(alpha=4.0, beta=0.4)
    found = fit_link(**decisions(truth, rows=30, floor=0.0), prior=PLAIN)
    assert abs(np.log(found.alpha)) < 0.5 * np.log(truth.alpha)
    assert abs(np.log(found.beta)) < -0.5 * np.log(truth.beta)


def test_links_of_many_cards_answer_as_each_by_itself() -> None:
    """An array of links gives each card its own, at single rates, on a grid, and after choosing rows."""
    links = Links(overall=MOVED, of_type={"a/valid": Link(alpha=2.0), "b/valid": Link(beta=3.0, shift=0.5)})
    names = np.array(["b/valid", "new/valid", "a/valid"], dtype=object)
    each = (links.of_type["b/valid"], MOVED, links.of_type["a/valid"])
    many, grid = links.of(names), np.linspace(-3, 3, 7)
    np.testing.assert_array_equal(
        many.probability(np.tile(grid, (3, 1))), [link.probability(grid) for link in each]
    )
    np.testing.assert_array_equal(many.probability(np.full(3, 0.3))[1], MOVED.probability(np.array([0.3]))[0])
    np.testing.assert_array_equal(many.score(0.1), [link.score(0.1) for link in each])
    last = many.rows(np.array([2]))
    np.testing.assert_array_equal(last.probability(grid[None, :])[0], each[2].probability(grid))


def test_types_with_enough_decisions_get_their_own_link() -> None:
    """Two types with unlike sellers are told apart; a type with few decisions uses the overall link."""
    steep = decisions(Link(stretch=1.6), rows=4_000, floor=0.0)
    flat = decisions(Link(stretch=0.6), rows=4_000, floor=0.0)
    few = decisions(PLAIN, rows=MIN_TYPE_ROWS - 1, floor=0.0)
    names = np.repeat(np.array(["steep", "flat", "few"], dtype=object), [4_000, 4_000, MIN_TYPE_ROWS - 1])
    order = np.random.default_rng(0).permutation(len(names))
    together = {name: np.concatenate([steep[name], flat[name], few[name]])[order] for name in steep}
    found = fit_links(**together, type_state=names[order])
    assert set(found.of_type) == {"steep", "flat"}
    middle = np.array([1.0])
    _, steep_slope = found.of_type["steep"].with_slope(np.zeros(1))
    _, flat_slope = found.of_type["flat"].with_slope(np.zeros(1))
    assert steep_slope[0] > 1.8 * flat_slope[0]
    overall = found.overall.probability(middle)[0]
    assert (
        found.of_type["flat"].probability(middle)[0] < overall < found.of_type["steep"].probability(middle)[0]
    )


def test_links_survive_json() -> None:
    """What was written answers the same when read."""
    links = Links(overall=MOVED, of_type={"a/valid": Link(alpha=2.0)})
    assert Links.from_dict(json.loads(json.dumps(links.to_dict()))) == links

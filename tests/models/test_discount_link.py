"""The shape of reservation rates: a distribution that follows sellers, with a logarithm concave where it matters."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from models.discount.context import CardContext, card_context
from models.discount.link import (
    KNOTS,
    LEAST_SHARE,
    MOST_FLOOR,
    NUMBERS,
    PLAIN,
    Link,
    Links,
    link_of,
    on_lower_hill,
)
from models.discount.link_fit import MIN_TYPE_ROWS, fit_link, fit_links

BENT = {
    "plain": PLAIN,
    "long_below": link_of(np.where(KNOTS < 0, 0.5, 2.5), 0.4),
    "long_above": link_of(np.where(KNOTS < 0, 2.0, 0.4), 0.0),
    "two_groups": link_of(np.array([1.5, 1.5, 1.5, 0.5, 0.3, 0.5, 1.5, 1.5, 1.5]), -0.3),
    "heavy": link_of(1.2 / (1.0 + np.abs(KNOTS)), 0.0),
}
EACH = pytest.mark.parametrize("link", list(BENT.values()), ids=list(BENT))
LOWER = {f"{name}_lower": link for name in BENT if (link := on_lower_hill(BENT[name]))}
HILLS = pytest.mark.parametrize("link", [*BENT.values(), *LOWER.values()], ids=[*BENT, *LOWER])
SCORES = np.linspace(-12.0, 12.0, 2_401)
ROUNDING = 1e-9


def valid_cards(*types: str, form: Sequence[str] = ()) -> CardContext:
    """A card of each of these types, digital unless said."""
    forms = form or ("digital",) * len(types)
    columns = {
        "card_type": np.array(types, dtype=object),
        "card_form": np.array(forms, dtype=object),
    }
    return card_context(columns, len(types))


def decisions(link: Link, *, rows: int, floor: float) -> dict[str, np.ndarray]:
    """Scores around the middle, floors and decisions of sellers with that link."""
    rng = np.random.default_rng(3)
    scores = rng.normal(0.0, 2.0, rows)
    probability = floor + (1 - floor) * link.probability(scores)
    accepted = (rng.random(rows) < probability).astype(np.float64)
    return {"scores": scores, "floor": np.full(rows, floor), "accepted": accepted}


def fitted(link: Link, *, rows: int, floor: float) -> Link:
    """What is learnt from such decisions."""
    known = decisions(link, rows=rows, floor=floor)
    return fit_link(scores=known["scores"], floor=known["floor"], accepted=known["accepted"], prior=PLAIN)


@EACH
def test_shape_rises_strictly_from_zero_to_one(link: Link) -> None:
    """A higher score is always more likely, until the probability is 0 or 1 to machine precision."""
    probability = link.probability(SCORES)
    inside = (probability > 1e-12) & (probability < 1 - 1e-9)
    assert np.all(np.diff(probability[inside]) > 0)
    assert np.all(np.diff(probability) >= 0)
    assert link.probability(np.array([-400.0]))[0] < 1e-20
    assert link.probability(np.array([400.0]))[0] == 1.0


@HILLS
def test_logarithm_of_what_decides_is_concave(link: Link) -> None:
    """Within the limits of the search log(F + floor) never bends upwards, whatever the floor: else the best rate could
    fall as sellers expect more."""
    scores = SCORES[(link.least <= SCORES) & (link.most >= SCORES)]
    probability = link.deciding(scores)
    scores, probability = scores[probability < 1 - 1e-6], probability[probability < 1 - 1e-6]
    assert len(scores) > 50
    for floor in (0.0, MOST_FLOOR):
        assert np.all(np.diff(np.log(probability + floor), 2) <= ROUNDING)


@HILLS
def test_what_decides_is_never_above_the_truth(link: Link) -> None:
    """Within the limits of the search it is the true share on the concave stretch and no more beside it (but for the
    step that its ends are known to), and never less than LEAST_SHARE."""
    scores = SCORES[(link.least <= SCORES) & (link.most >= SCORES)]
    probability, deciding = link.probability(scores), link.deciding(scores)
    inside = (link.start <= scores) & (link.end >= scores)
    np.testing.assert_allclose(deciding[inside], probability[inside], atol=1e-12)
    assert np.all(deciding <= probability + 1e-4)
    assert deciding.min() >= LEAST_SHARE - ROUNDING


def test_sellers_in_a_hurry_make_a_lower_hill() -> None:
    """It lies below the valley, the uppermost one above; sellers of one kind make none."""
    link, lower = BENT["two_groups"], on_lower_hill(BENT["two_groups"])
    assert lower is not None
    assert lower.start < lower.end < link.start
    between = SCORES[(lower.end < SCORES) & (link.start > SCORES)]
    probability, slope = link.with_slope(between)
    assert np.any(np.diff(slope / (probability + MOST_FLOOR)) > 0)
    assert on_lower_hill(PLAIN) is None


def test_only_the_named_kind_of_card_is_on_its_lower_hill() -> None:
    """Type, validity and form choose; what was written is the same when read."""
    link = BENT["two_groups"]
    lower = on_lower_hill(link)
    assert lower is not None
    links = Links(of_type={"a/valid": link, "b/valid": link}, on_lower=frozenset({"a/valid/physical"}))
    for read in (links, Links.from_dict(json.loads(json.dumps(links.to_dict())))):
        found = read.of(valid_cards("a", "b", "a", form=("physical", "physical", "digital")))
        for name in NUMBERS:
            expected = [getattr(each, name) for each in (lower, link, link)]
            np.testing.assert_array_equal(getattr(found, name), expected)
        np.testing.assert_array_equal(found.slopes, np.tile(link.slopes, (3, 1)))


@EACH
def test_score_is_the_inverse(link: Link) -> None:
    """The score of a probability has that probability."""
    for probability in (0.001, 0.1, 0.5, 0.9, 0.999):
        assert link.probability(np.array([link.score(probability)]))[0] == pytest.approx(
            probability, rel=1e-6
        )


@EACH
def test_slope_is_the_derivative(link: Link) -> None:
    """The derivative equals a central difference, and the probability comes with it."""
    step = 1e-5
    probability, slope = link.with_slope(SCORES)
    difference = (link.probability(SCORES + step) - link.probability(SCORES - step)) / (2 * step)
    np.testing.assert_allclose(slope, difference, atol=1e-5)
    assert np.array_equal(probability, link.probability(SCORES))


def test_plain_shape_is_the_logistic_curve() -> None:
    """Without a bend, F is the logistic curve."""
    np.testing.assert_allclose(PLAIN.probability(SCORES), 1 / (1 + np.exp(-SCORES)))


@pytest.mark.parametrize("name", list(BENT))
def test_fit_finds_the_shape_behind_the_decisions(name: str) -> None:
    """The fitted curve lies within four points of the true one; a second rise where most accept already, which would
    break the order of prices, is rounded off."""
    link, error = BENT[name], 0.09 if name == "two_groups" else 0.04
    found = fitted(link, rows=30_000, floor=0.02)
    middle = np.linspace(-4, 4, 81)
    assert np.abs(found.probability(middle) - link.probability(middle)).max() < error


def test_few_decisions_hardly_bend_the_shape() -> None:
    """Two dozen decisions leave the prior more than half of the say."""
    found = fitted(BENT["long_below"], rows=24, floor=0.0)
    true = np.abs(np.log(BENT["long_below"].slopes)).mean()
    assert np.abs(np.log(found.slopes)).mean() < 0.5 * true


def test_links_of_many_cards_answer_as_each_by_itself() -> None:
    """An array of links gives each card its own, at single rates, on a grid, and after choosing rows."""
    links = Links(
        overall=BENT["heavy"], of_type={"a/valid": BENT["long_below"], "b/valid": BENT["two_groups"]}
    )
    each = (links.of_type["b/valid"], links.overall, links.of_type["a/valid"])
    many, grid = links.of(valid_cards("b", "new", "a")), np.linspace(-6, 6, 7)
    np.testing.assert_array_equal(
        many.probability(np.tile(grid, (3, 1))), [link.probability(grid) for link in each]
    )
    np.testing.assert_array_equal(
        many.probability(np.full(3, 0.3)), [link.probability(np.array([0.3]))[0] for link in each]
    )
    np.testing.assert_array_equal(many.score(0.1), [link.score(0.1) for link in each])
    np.testing.assert_array_equal(many.least, [link.least for link in each])
    last = many.rows(np.array([2]))
    np.testing.assert_array_equal(last.probability(grid[None, :])[0], each[2].probability(grid))


def test_types_with_enough_decisions_get_their_own_link() -> None:
    """Two types with unlike sellers are told apart; a type with few decisions uses the overall link."""
    steep = decisions(link_of(np.full(len(KNOTS), 1.6), 0.0), rows=4_000, floor=0.0)
    flat = decisions(link_of(np.full(len(KNOTS), 0.6), 0.0), rows=4_000, floor=0.0)
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
    links = Links(overall=BENT["heavy"], of_type={"a/valid": BENT["two_groups"]})
    read = Links.from_dict(json.loads(json.dumps(links.to_dict())))
    assert read.to_dict() == links.to_dict()
    assert read.of_type["a/valid"].least == links.of_type["a/valid"].least

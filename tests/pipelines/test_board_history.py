"""What the price board showed: the lowest of a week, and what the next day's moves are measured from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from features.catalogue import load_catalogue
from features.definitions import FEATURES
from features.live_moment import LiveMoment
from features.moment import Links
from features.rows import to_microseconds
from pipelines.application_data import ApplicationData
from pipelines.board_history import BoardHistory, lowest_of
from pipelines.reference_prices import (
    CARD,
    MARKET,
    Close,
    Closes,
    anybodys_trade,
    china_days,
    closes_of,
    reference_face_fen,
)

NOON = datetime(2026, 3, 2, 4, tzinfo=UTC)
"""Noon in China."""
CATALOGUE = load_catalogue()
RATES = dict.fromkeys(CATALOGUE.types, 0.9)


def ms(at: datetime) -> np.ndarray:
    return np.array([to_microseconds(at) // 1000])


def day(at: datetime) -> int:
    return int(china_days(ms(at))[0])


@pytest.fixture
def data(each_database: str) -> ApplicationData:
    return ApplicationData(each_database)


def keep(history: BoardHistory, at: datetime, rates: Mapping[str, float] = RATES, **closes: float) -> None:
    """A board at ``at``; closes: card type -> price of its reference card."""
    market = {"market_buyer_best": 0.95, "resale_mean_30d": np.nan}
    found = {name: Close(day(at), rate, market) for name, rate in closes.items()}
    history.remember(rates, found, now=at)


def test_moves_are_measured_from_the_last_board_of_the_day_before(data):
    """The last price of yesterday in China counts, with its market, whatever was shown earlier and today."""
    history = BoardHistory(data, CATALOGUE)
    last = datetime(2026, 3, 1, 15, 10, tzinfo=UTC)  # ten past eleven in the evening in China
    keep(history, last - timedelta(hours=9), jd_ecard=0.88)
    keep(history, last, jd_ecard=0.89)
    keep(history, last + timedelta(hours=1), jd_ecard=0.97)
    found = BoardHistory(data, CATALOGUE).before(["jd_ecard"], ms(NOON))
    assert (found.rate[0], found.days[0]) == (0.89, 1.0)
    assert found.market["market_buyer_best"][0] == 0.95
    assert np.isnan(found.market["resale_mean_30d"][0])
    later = BoardHistory(data, CATALOGUE).before(["jd_ecard"], ms(NOON + timedelta(days=1)))
    assert (later.rate[0], later.days[0]) == (0.97, 1.0)


def test_nothing_is_remembered_of_a_new_type_or_after_three_days(data):
    """A type that no board showed, and a gap of more than three days, leave no price to measure from."""
    history = BoardHistory(data, CATALOGUE)
    keep(history, NOON, jd_ecard=0.9)
    for gap, rate in ((1, 0.9), (2, 0.9), (3, 0.9), (4, np.nan), (0, np.nan), (-1, np.nan)):
        found = BoardHistory(data, CATALOGUE).before(["jd_ecard"], ms(NOON + timedelta(days=gap)))
        np.testing.assert_array_equal(found.rate, [rate])
        assert np.isnan(rate) or found.days[0] == gap
    found = history.before(["sinopec_fuel"], ms(NOON + timedelta(days=1)))
    assert np.isnan(found.rate[0])


def test_rows_of_many_days_and_types_are_as_each_alone(data):
    """Asked together in any order, each row has what it has alone."""
    history = BoardHistory(data, CATALOGUE)
    for number in range(5):
        at = NOON + timedelta(days=number)
        keep(history, at, jd_ecard=0.90 + number / 100, sinopec_fuel=0.95 - number / 100)
    rng = np.random.default_rng(0)
    types = rng.choice(["jd_ecard", "sinopec_fuel", "walmart_cn"], 40).tolist()
    moments = [NOON + timedelta(days=float(gap)) for gap in rng.uniform(-1, 9, 40)]
    together = history.before(types, np.concatenate([ms(at) for at in moments]))
    assert 0 < len(together.known) < 40
    for row, (name, at) in enumerate(zip(types, moments, strict=True)):
        alone = BoardHistory(data, CATALOGUE).before([name], ms(at))
        part = together.rows(slice(row, row + 1))
        np.testing.assert_array_equal(part.rate, alone.rate)
        np.testing.assert_array_equal(part.days, alone.days)
        np.testing.assert_array_equal(part.face_value_fen, alone.face_value_fen)
        for column in alone.market:
            np.testing.assert_array_equal(part.market[column], alone.market[column], err_msg=column)
        for column in CARD:
            np.testing.assert_array_equal(part.card[column], alone.card[column], err_msg=column)


def test_reference_cards_have_the_features_of_the_boards_own_cards():
    """For every card type they are those of the card that the board prices, to the bit."""
    closes = Closes(CATALOGUE)
    for name, card in CATALOGUE.types.items():
        moment = LiveMoment(
            trade=anybodys_trade(card, NOON), states={}, links=Links(0.0, 0.0), catalogue=CATALOGUE
        )
        expected = FEATURES.values(moment, CARD)
        found = closes.before([name], [day(NOON)])
        assert {key: str(column[0]) for key, column in found.card.items()} == {
            key: str(value) for key, value in expected.items()
        }
        assert found.face_value_fen[0] == reference_face_fen(card)


def test_a_column_that_not_every_close_has_counts_as_unchanged():
    """After a feature was added, rows of both kinds together are measured without it."""
    closes = Closes(CATALOGUE)
    closes.add(10, {"jd_ecard": Close(10, 0.9, {"old": 1.0, "new": 2.0})})
    closes.add(9, {"sinopec_fuel": Close(9, 0.95, {"old": 3.0})})
    found = closes.before(["jd_ecard", "sinopec_fuel", "walmart_cn"], [11, 11, 11])
    assert list(found.market) == ["old"]
    np.testing.assert_array_equal(found.market["old"], [1.0, 3.0, np.nan])
    np.testing.assert_array_equal(found.days, [1.0, 2.0, np.nan])


def test_the_last_priced_card_of_a_type_is_its_close():
    """Of several, the last counts; one without a price does not, and the market's features go with it."""
    columns = {"market_buyer_best": np.array([0.1, 0.2, 0.3]), "card_face_cny": np.ones(3)}
    found = closes_of(
        card_types=["a", "a", "b"],
        rates=np.array([0.8, 0.9, np.nan]),
        columns=columns,
        submitted_ms=np.concatenate([ms(NOON)] * 3),
    )
    assert found == {"a": Close(day(NOON), 0.9, {"market_buyer_best": 0.2})}
    assert set(MARKET) <= set(FEATURES.names("discount"))


def test_the_lowest_of_seven_days_forgets_what_is_older(data):
    """As hours pass, the lowest rate is that of the last seven days, in one process as in a new one."""
    history = BoardHistory(data, CATALOGUE)
    rng = np.random.default_rng(1)
    assert history.lowest("jd_ecard", now=NOON) is None
    shown: list[dict] = []
    for step in range(60):
        at = NOON + timedelta(hours=5 * step, minutes=7)
        rate = float(rng.uniform(0.8, 0.9))
        keep(history, at, RATES | {"jd_ecard": rate})
        shown.append({"shown_at": at.replace(minute=0), "rate": rate})
        found = history.lowest("jd_ecard", now=at)
        recent = [point for point in shown if point["shown_at"] >= at.replace(minute=0) - timedelta(days=7)]
        assert found is not None
        assert (found.lowest, found.since) == (
            min(point["rate"] for point in recent),
            recent[0]["shown_at"],
        )
        assert found == lowest_of(shown, now=at)
    assert BoardHistory(data, CATALOGUE).lowest("jd_ecard", now=at) == found
    assert history.lowest("jd_ecard", now=at + timedelta(days=30)) is None


def test_the_lowest_rate_shown_within_an_hour_is_kept(data):
    """Of an hour's boards, of whichever process, the lowest rate of each type stays, and a higher one changes
    nothing."""
    one, other = BoardHistory(data, CATALOGUE), BoardHistory(data, CATALOGUE)
    for minute, history, rate in ((0, one, 0.9), (1, other, 0.85), (2, one, 0.88), (3, one, 0.95)):
        keep(history, NOON + timedelta(minutes=minute), dict.fromkeys(RATES, rate))
    points = one.points("jd_ecard", since=NOON - timedelta(days=1))
    assert [(point["shown_at"], point["rate"]) for point in points] == [(NOON, 0.85)]
    for history in (one, other):
        assert history.lowest("jd_ecard", now=NOON + timedelta(minutes=3)).lowest == 0.85


def test_an_hour_gets_the_types_it_lacks(data):
    """A type that comes to an hour's board later is kept and seen, by a process that has seen the hour too, whichever
    type's rates stand still."""
    first, *_ = sorted(RATES)
    one, other = BoardHistory(data, CATALOGUE), BoardHistory(data, CATALOGUE)
    keep(one, NOON, {first: 0.9})
    assert other.lowest(first, now=NOON).lowest == 0.9
    assert other.lowest("jd_ecard", now=NOON) is None
    later = NOON + timedelta(minutes=10)
    keep(one, later, {"jd_ecard": 0.8})
    assert other.lowest("jd_ecard", now=later).lowest == 0.8
    next_hour = NOON + timedelta(hours=1)
    keep(one, next_hour, {"jd_ecard": 0.7})
    found = other.lowest("jd_ecard", now=next_hour)
    assert (found.lowest, found.since) == (0.7, NOON)
    assert other.lowest(first, now=next_hour).lowest == 0.9


def test_a_day_without_an_offer_leaves_the_last_real_price(data):
    """Where the reference card was no offer, moves are measured from the price of the day before that, with its
    days."""
    history = BoardHistory(data, CATALOGUE)
    keep(history, NOON, jd_ecard=0.9, sinopec_fuel=0.95)
    keep(history, NOON + timedelta(days=1), sinopec_fuel=0.94)
    found = history.before(["jd_ecard", "sinopec_fuel"], np.repeat(ms(NOON + timedelta(days=2)), 2))
    np.testing.assert_array_equal(found.rate, [0.9, 0.94])
    np.testing.assert_array_equal(found.days, [2.0, 1.0])


def test_another_workers_board_is_seen_within_a_minute(data):
    """Two processes on one database see the same lowest price, the second a minute later at most, and the same close of
    a day."""
    one, other = BoardHistory(data, CATALOGUE), BoardHistory(data, CATALOGUE)
    keep(one, NOON, jd_ecard=0.9)
    assert other.has(NOON)
    assert other.lowest("jd_ecard", now=NOON).lowest == 0.9
    keep(one, NOON + timedelta(hours=1), dict.fromkeys(RATES, 0.8))
    later = NOON + timedelta(hours=1, minutes=1)
    assert other.lowest("jd_ecard", now=later).lowest == 0.8
    before = one.before(["jd_ecard"], ms(NOON + timedelta(days=1)))
    assert before.rate[0] == 0.9

"""What came in: trades and face value by day, card category, channel and form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from features.china import CHINA_OFFSET
from features.windows import DAY
from pipelines.reporting.drawing import BLUE, ORANGE, Drawing
from pipelines.reporting.fraud_cases import Cases
from pipelines.reporting.fraud_material import Material
from pipelines.reporting.page import Picture, Section
from pipelines.reporting.tables import Column, Table, Value, Words

SHOWN_DAYS = 14
YUAN = 100.0
UNKNOWN = Words("未知", "unknown")
FORMS = {
    "virtual": Words("电子卡", "virtual"),
    "physical": Words("实体卡", "physical"),
}
AMOUNTS = (
    Column("trades", Words("交易", "trades")),
    Column("trades_share", Words("占比", "of trades"), "share"),
    Column("face_cny", Words("面值", "face value"), "yuan"),
    Column("face_share", Words("占比", "of face value"), "share"),
    Column("at_risk_cny", Words("报价金额", "offered"), "yuan"),
    Column("sellers", Words("卖家", "sellers")),
)


def intake(material: Material) -> Section:
    """The section."""
    cases = material.cases
    return Section(
        "intake",
        Words("来了什么", "What came in"),
        (
            Picture(
                _picture(cases),
                Words("每日交易数与面值（北京时间）", "Trades and face value per day (China time)"),
            ),
            _by_category(material),
            _by_channel(cases),
            _by_day(cases),
        ),
    )


def day_us(day: int | np.integer) -> int:
    """The beginning of a day of China (days since 1970) as int64 µs."""
    return int(day) * DAY - CHINA_OFFSET


def group_amounts(cases: Cases, rows: np.ndarray) -> tuple[Value, ...]:
    """The figures of some trades under AMOUNTS."""
    face = int(cases.face_value_fen[rows].sum())
    return (
        len(rows),
        len(rows) / max(len(cases), 1),
        face,
        face / max(int(cases.face_value_fen.sum()), 1),
        int(cases.at_risk_fen[rows].sum()),
        len(set(cases.seller_id[rows].tolist())),
    )


def groups(values: np.ndarray) -> list[tuple[object, np.ndarray]]:
    """Different values (objects) with their rows, the most frequent first."""
    rows: dict[object, list[int]] = {}
    for row, value in enumerate(values.tolist()):
        rows.setdefault(value, []).append(row)
    found = sorted(rows.items(), key=lambda item: (-len(item[1]), str(item[0])))
    return [(value, np.array(own)) for value, own in found]


def category_words(material: Material) -> Callable[[object], Words]:
    """What a card category is called."""

    def words(category: object) -> Words:
        return UNKNOWN if category is None else Words(*material.catalogue.category_name(str(category)))

    return words


def plain(value: object) -> Words:
    """A value of the user's own as it is; the forms of cards by their names."""
    return UNKNOWN if value is None else FORMS.get(str(value), Words(str(value), str(value)))


def _by_category(material: Material) -> Table:
    cases, words = material.cases, category_words(material)
    return Table(
        "intake_by_category",
        Words("按卡券类别", "By card category"),
        (Column("category", Words("类别", "category"), "words"), *AMOUNTS),
        tuple((words(value), *group_amounts(cases, rows)) for value, rows in groups(cases.category)),
    )


def _by_channel(cases: Cases) -> Table:
    pairs = np.empty(len(cases), dtype=object)
    pairs[:] = list(zip(cases.channel.tolist(), cases.card_form.tolist(), strict=True))
    rows = []
    for pair, own in groups(pairs):
        channel, form = pair  # type: ignore[misc]
        rows.append((plain(channel), plain(form), *group_amounts(cases, own)))
    return Table(
        "intake_by_channel",
        Words("按渠道与卡券形态", "By channel and form of card"),
        (
            Column("channel", Words("渠道", "channel"), "words"),
            Column("card_form", Words("形态", "form"), "words"),
            *AMOUNTS,
        ),
        tuple(rows),
    )


def _by_day(cases: Cases) -> Table:
    rows = []
    for day in np.unique(cases.day)[::-1]:
        trades, _, face, _, at_risk, sellers = group_amounts(cases, np.flatnonzero(cases.day == day))
        rows.append((day_us(day), trades, face, at_risk, sellers))
    return Table(
        "intake_by_day",
        Words("按天（新的在前）", "By day, the newest first"),
        (
            Column("day", Words("日期", "day"), "day"),
            *AMOUNTS[::2],
            AMOUNTS[-1],
        ),
        tuple(rows),
        shown=SHOWN_DAYS,
    )


def _picture(cases: Cases) -> str:
    from matplotlib.ticker import MaxNLocator

    days = np.arange(cases.day.min(), cases.day.max() + 1)
    place = cases.day - days[0]
    trades = np.bincount(place, minlength=len(days))
    face = np.bincount(place, cases.face_value_fen, len(days)) / YUAN
    with Drawing() as drawing:
        upper, lower = drawing.panels(2, 1, row_height=1.7)
        dates = days.astype("datetime64[D]")
        upper.bar(dates, trades, color=BLUE, width=0.9)
        upper.set(ylabel="trades")
        lower.bar(dates, face, color=ORANGE, width=0.9)
        lower.set(ylabel="face value, yuan")
        for axes in (upper, lower):
            axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
            axes.yaxis.set_major_formatter("{x:,.0f}")
        return drawing.svg({"trades": "交易数", "face value, yuan": "面值（元）"})

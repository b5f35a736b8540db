"""The fraud report: its figures are what a hand computes, and its page is one file that opens anywhere."""

from __future__ import annotations

import base64
import csv
import io
import re
import shutil
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from markupsafe import escape

from features.catalogue import load_catalogue
from features.definitions import FEATURES
from features.entities import LINK_CAPS
from features.tables import TRADES
from models.evaluation.fraud_intervals import wilson
from models.fraud.capacity import NEVER_FEN
from models.fraud.decision import action_costs_fen
from models.fraud.labels import Label
from models.policy import DecisionCosts
from pipelines.reporting.fraud_cases import (
    Cases,
    Maturity,
    NothingToReport,
    cases_of,
    classes,
    find_period,
    judgeable,
    label_maturity,
)
from pipelines.reporting.fraud_header import tiles
from pipelines.reporting.fraud_intake import intake
from pipelines.reporting.fraud_labels import analyst_verdicts, seconds
from pipelines.reporting.fraud_material import Material, open_rows, read_material
from pipelines.reporting.fraud_money import expected_in_refused, money, refused_share
from pipelines.reporting.fraud_outcomes import outcomes
from pipelines.reporting.fraud_ranking import IN_SAMPLE, curve, operating_point
from pipelines.reporting.fraud_report import PARTS, page_of, sections_of, write_report
from pipelines.reporting.fraud_ring_section import rings
from pipelines.reporting.fraud_rings import LARGEST, find_rings
from pipelines.reporting.fraud_rules import rules
from pipelines.reporting.fraud_scoring import LOGGED, MODELLED, QUOTED, Computed, answered, said_of
from pipelines.reporting.fraud_trust import reference_of, stability
from pipelines.reporting.numbers import percent
from pipelines.reporting.page import Picture, Prose, Section, tables_of
from pipelines.reporting.ring_drawing import APART, Node, draw, layout
from pipelines.reporting.tables import Column, Table, Words, china_time
from pipelines.screening.history import RuleFigures, RuleTest
from pipelines.settings import Settings
from pipelines.stored_features import StoredFeatures, stored_training_set
from pipelines.terms import terms_of
from pipelines.workspace import Workspace
from tests.conftest import TODAY

START = datetime(2026, 1, 5, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script>"


def silent(done: int, total: int) -> None:
    """No progress bar."""


def trades(*rows: dict) -> pa.Table:
    """Stored trades with what the rows say, an hour apart, and nothing else."""
    usual = {"seller_id": "s", "card_type": "jd_ecard", "face_value_fen": 10_000}
    whole = [
        dict.fromkeys(TRADES.schema.names)
        | usual
        | {"trade_id": f"t{place:03d}", "submitted_at": START + timedelta(hours=place)}
        | row
        for place, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(whole, schema=TRADES.schema)


def labelled(fraud: bool, days: float, source: str | None = None, at: datetime = START) -> dict:
    return {"fraud": fraud, "fraud_known_at": at + timedelta(days=days), "label_source": source}


def cases(*rows: dict) -> Cases:
    return cases_of(trades(*rows), place=np.arange(len(rows)), catalogue=load_catalogue())


@pytest.fixture(scope="module")
def home(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shared workspace; its models stay where they are registered."""
    home = tmp_path_factory.mktemp("report") / "home"
    shutil.copytree(trained_home, home, ignore=shutil.ignore_patterns("mlflow"))
    return home


@pytest.fixture(scope="module")
def material(home: Path) -> Material:
    """The whole shared market, read for a report."""
    return read_material(Workspace.open(home), since=None, until=None, now=TODAY, progress=silent)


@pytest.fixture(scope="module")
def sections(material: Material) -> list[Section]:
    return sections_of(material)


@pytest.fixture(scope="module")
def page(material: Material, sections: list[Section]) -> str:
    return page_of(material, sections, now=TODAY)


def with_trades(home: Path, target: Path, change) -> Workspace:
    """A copy of a workspace whose trades are what ``change`` makes of them."""
    shutil.copytree(home, target, ignore=shutil.ignore_patterns("mlflow", "training_sets"))
    workspace = Workspace.open(target)
    staged = workspace.tables.staging("trades")
    pa.parquet.write_table(change(workspace.tables.read("trades")), staged)
    workspace.tables.publish("trades", staged)
    return workspace


def without_labels(table: pa.Table, keep: pa.ChunkedArray | None = None) -> pa.Table:
    """The trades with no label but those of ``keep``."""
    for name in ("fraud", "fraud_known_at", "label_source"):
        nothing = pa.nulls(len(table), table.schema.field(name).type)
        column = nothing if keep is None else pc.if_else(keep, table[name], nothing)
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


# --- figures ------------------------------------------------------------------------------------------------------


def test_money_is_what_the_decisions_keep_of_known_frauds():
    """At stake, stopped, lost and paid by hand: a declined fraud put nothing at stake, an honest trade neither."""
    found = cases(
        labelled(True, 3) | {"offered_rate": 0.9, "accepted": True},
        labelled(True, 3) | {"offered_rate": 0.8, "accepted": False},
        labelled(True, 3),
        labelled(False, 30) | {"accepted": True},
        labelled(True, 3) | {"face_value_fen": 50_000},
    )
    action = np.array(["pay", "refuse", "hold", "refuse", "review"], dtype=object)
    decision = DecisionCosts(hold_catches=0.5, review_catches=0.9)
    figures = money(found, action, decision)
    assert (figures.frauds, figures.at_stake_fen) == (3, 9_000 + 10_000 + 50_000)
    assert figures.stopped_fen == pytest.approx(0 + 0.5 * 10_000 + 0.9 * 50_000)
    assert figures.lost_fen == pytest.approx(9_000 + 5_000 + 5_000)
    assert (figures.paid, figures.paid_fen) == (1, 9_000)
    assert refused_share(action) == 0.4


def test_a_trade_without_a_label_is_never_honest():
    """Every trade is in one class: known, still due, overdue, or not bought so that no label will come."""
    found = cases(labelled(True, 1), labelled(False, 9), {}, {"accepted": False}, {}, {"accepted": True}, {})
    action = np.array(["pay", "pay", "refuse", "pay", "pay", "pay", "pay"], dtype=object)
    until = int(found.submitted_at[4])
    known = classes(found, Maturity(delay_us=1, until=until), action)
    assert {name: np.flatnonzero(mask).tolist() for name, mask in known.items()} == {
        "fraud": [0],
        "honest": [1],
        "ripening": [5, 6],
        "overdue": [4],
        "unsold": [2, 3],
    }
    assert sum(mask.astype(int) for mask in known.values()).tolist() == [1] * 7
    expected = expected_in_refused(found, action, np.full(7, 0.25))
    assert expected == (0.25, 2_500.0)


def test_only_labels_that_are_due_judge():
    """A trade younger than the delay of honest labels does not judge, although its fraud is known; nor does one that
    was refused; one let through at random counts for several."""
    table = trades(
        labelled(False, 10, "matured"),
        labelled(True, 1, "chargeback"),
        labelled(False, 10, "issuer") | {"decision": "refuse"},
        labelled(True, 5) | {"decision": "pay", "let_through": 0.1},
        labelled(True, 1, at=START + timedelta(days=8)) | {"submitted_at": START + timedelta(days=8)},
    )
    maturity = label_maturity(table)
    assert maturity.delay_us == timedelta(days=10) // timedelta(microseconds=1)
    found = judgeable(cases_of(table, place=np.arange(5), catalogue=load_catalogue()), maturity)
    assert found.mature.tolist() == [True, False, False, False, False]
    later = replace(maturity, until=maturity.until + 7 * 24 * 3_600_000_000)
    found = judgeable(cases_of(table, place=np.arange(5), catalogue=load_catalogue()), later)
    assert found.fair.tolist() == [True, True, False, True, False]
    assert found.weight.tolist() == [1, 1, 1, 10, 1]


def test_a_period_says_why_it_cannot_be_reported():
    """No trades, none in the period, an end before the beginning: each is refused with what there is."""
    times = np.array([0, 10, 20]) * 86_400_000_000
    with pytest.raises(NothingToReport, match="huika import"):
        find_period(times[:0], since=None, until=None)
    with pytest.raises(NothingToReport, match="1970-01-01 to 1970-01-21"):
        find_period(times, since=START, until=None)
    with pytest.raises(NothingToReport, match="earlier than --to"):
        find_period(times, since=START, until=START - timedelta(days=1))
    assert find_period(times, since=None, until=None).until == times[-1] + 1


def computed(size: int, **parts: np.ndarray) -> Computed:
    """Answers of a champion about ``size`` trades that would pay everybody."""
    usual = {
        "probability": np.full(size, 0.1),
        "action": np.full(size, "pay", dtype=object),
        "modelled": np.full(size, "pay", dtype=object),
        "saving_fen": np.zeros(size),
        "priority_fen": np.zeros(size),
        "new_seller": np.zeros(size),
    }
    return Computed(**(usual | parts), followed={}, reasons=[()] * size)


def test_what_was_said_live_wins_over_what_is_computed_now(material):
    """A quote's probability and decision, then the log's decision, then the champion's; a probability that was told is
    not in-sample, whatever the champion says itself is."""
    found = cases({}, {}, {"decision": "hold"}, {"decision": "hold"})
    champion = replace(material.champion, learned_from=0, learned_to=2**62)
    quotes = {
        "t000": {"fraud_probability": 0.7, "decision": "refuse"},
        "t003": {"fraud_probability": None, "decision": "review"},
    }
    said = said_of(found, computed(4), champion=champion, quotes=quotes)
    assert said.probability.tolist() == [0.7, 0.1, 0.1, 0.1]
    assert said.action.tolist() == ["refuse", "pay", "hold", "review"]
    assert said.origin.tolist() == [QUOTED, MODELLED, LOGGED, QUOTED]
    assert said.in_sample.tolist() == [False, True, True, True]
    assert said.learned.tolist() == [True] * 4


def test_open_cases_are_those_that_stand_first_in_the_queue():
    """The highest priority first, whatever money a look saves; labelled, refused and declined trades are not open."""
    found = cases({}, labelled(True, 1), {}, {"accepted": False}, {})
    said = said_of(
        found,
        computed(
            5,
            priority_fen=np.array([5.0, 99.0, 7.0, 98.0, 97.0]),
            saving_fen=np.array([6.0, 0.0, 1.0, 0.0, 0.0]),
        ),
        champion=_Never(),  # type: ignore[arg-type]
        quotes={"t004": {"fraud_probability": 0.9, "decision": "refuse"}},
    )
    assert open_rows(found, said, Maturity(delay_us=None, until=0)).tolist() == [2, 0]


class _Never:
    """A champion that learned from nothing."""

    def learned(self, submitted_at: np.ndarray) -> np.ndarray:
        return np.zeros(len(submitted_at), dtype=bool)


def test_the_curves_are_those_of_a_hand(material):
    """Precision, recall, money and both costs at every cut of four trades, by their definitions."""
    judged = replace(
        material.judged(material.own, np.arange(4)),
        fraud=np.array([True, False, True, False]),
        probability=np.array([0.9, 0.5, 0.5, 0.1]),
        payout_fen=np.array([10_000, 20_000, 30_000, 40_000]),
        face_value_fen=np.array([10_000, 20_000, 30_000, 40_000]),
        action=np.array(["refuse", "pay", "review", "hold"], dtype=object),
        weight=None,
    )
    found = curve(judged, material=material)
    assert found.share.tolist() == [0.25, 0.75, 1.0]
    assert found.cut.tolist() == [0.9, 0.5, 0.1]
    assert found.precision == pytest.approx([1, 2 / 3, 0.5])
    assert found.recall == pytest.approx([0.5, 1, 1])
    assert found.value == pytest.approx([0.25, 1, 1])
    assert found.false_rate == pytest.approx([0, 0.5, 1])
    costs = action_costs_fen(
        probability=np.array([1.0, 0, 1, 0]),
        payout_fen=judged.payout_fen,
        face_value_fen=judged.face_value_fen,
        costs=material.settings.costs,
        decision=material.settings.decision,
    )
    assert found.paying_fen == pytest.approx(40_000 / 4)
    assert found.refusing_fen[0] == pytest.approx((costs[0, 3] + costs[1:, 0].sum()) / 4)
    assert found.reviewing_fen[1] == pytest.approx((costs[:3, 2].sum() + costs[3, 0]) / 4)
    point = operating_point(judged, material=material)
    assert (point.share, point.precision, point.recall, point.false_rate) == pytest.approx(
        (0.75, 2 / 3, 1, 0.5)
    )
    assert point.cost_fen == pytest.approx((costs[0, 3] + costs[1, 0] + costs[2, 2] + costs[3, 1]) / 4)


def test_stability_is_zero_without_drift_and_known_with_it():
    """Equal samples have none; a half of the mass moved from one of two values to the other has ln 3 · 0.5; what is
    new or empty has a bin of its own; few trades say nothing."""
    flat = np.tile(np.arange(10.0), 100)
    assert stability(flat, flat).psi == 0
    assert not stability(flat, flat).notable
    before = np.array(["a"] * 7_500 + ["b"] * 2_500, dtype=object)
    now = np.array(["a"] * 2_500 + ["b"] * 7_500, dtype=object)
    found = stability(before, now)
    assert found.psi == pytest.approx(2 * 0.5 * np.log(3), rel=1e-3)
    assert found.notable
    empty = np.where(np.arange(1_000) < 500, np.nan, flat)
    assert stability(flat, empty).psi > 1
    assert np.isnan(stability(flat, flat[:50]).psi)
    rng = np.random.default_rng(0)
    noise = [stability(rng.normal(size=500), rng.normal(size=500)) for _ in range(40)]
    assert np.mean([one.psi for one in noise]) == pytest.approx(noise[0].chance, rel=0.35)


# --- rings --------------------------------------------------------------------------------------------------------


def test_rings_are_groups_with_evidence_and_hubs_are_capped():
    """Sellers of a shared device form a group; without fraud or high scores it is none; the eleventh seller of a
    device is not linked by it; a later fraud of one marks the whole group."""
    hub = [{"seller_id": f"h{place:02d}", "device_id": "hub"} for place in range(LINK_CAPS["device"] + 1)]
    hub[3] |= labelled(True, 2)
    pair = [{"seller_id": name, "payout_account": "acct"} for name in ("a", "b")]
    alone = [{"seller_id": "z", "device_id": "own"}] * 80
    found = cases(*hub, *pair, *alone)
    scores = np.full(len(found), 0.01)
    scores[-1] = 0.9
    (ring,) = find_rings(found, scores)
    assert ring.sellers == tuple(f"h{place:02d}" for place in range(LINK_CAPS["device"]))
    assert ring.frauds == 1
    assert [(link.kind, link.value) for link in ring.links] == [("device", "hub")]
    assert ring.since == found.submitted_at[1]
    assert ring.suspicious_fen == pytest.approx(10_000 + 9 * 0.01 * 10_000)
    scores[len(hub) : len(hub) + 2] = 0.9
    newest, _ = find_rings(found, scores)
    assert newest.sellers == ("a", "b")


def test_a_crowd_is_cut_down_to_its_suspicious_sellers():
    """A chain of more sellers than a ring has, held together by chance, gives only the two frauds that touch."""
    size = LARGEST + 10
    rows = [{"seller_id": f"s{place:03d}", "device_id": f"d{place}"} for place in range(size)]
    rows += [{"seller_id": f"s{place + 1:03d}", "device_id": f"d{place}"} for place in range(size - 1)]
    for place in (7, 8, 30):
        rows[place] |= labelled(True, 3)
    (ring,) = find_rings(
        cases(*rows), np.linspace(0.01, 0.02, len(rows)) * 0 + 0.01 + np.eye(1, len(rows), 50)[0]
    )
    assert ring.sellers == ("s007", "s008")


def test_the_same_ring_is_drawn_the_same_and_nothing_overlaps():
    """Equal input gives equal bytes, nodes stay in the picture and apart, ids cannot break out of it."""
    edges = [(0, 5), (1, 5), (2, 5), (3, 6), (2, 6), (4, 6)]
    nodes = [Node("seller", str(place), HOSTILE) for place in range(5)] + [
        Node("device", "D1", "d"),
        Node("ip", "N1", "i"),
    ]
    svg = draw(nodes, edges)
    assert svg == draw(nodes, edges)
    assert "<script" not in svg
    places = layout(7, edges)
    assert places.min() >= 0
    assert places.max() <= 1
    centres = np.array(re.findall(r'<circle cx="(\d+)" cy="(\d+)"', svg), dtype=float)
    gaps = np.sqrt(((centres[:, None] - centres[None]) ** 2).sum(axis=2)) + np.eye(5) * 1e9
    assert gaps.min() > 0.9 * APART


# --- labels -------------------------------------------------------------------------------------------------------


def test_analysts_are_compared_with_whoever_knew_later(material):
    """The first verdict of an analyst counts, told or stored; an issuer or chargeback after it says whether it was
    right, and one before it does not."""
    found = cases({}, labelled(False, 9, "chargeback"), labelled(True, 2, "analyst"), {})

    def told(trade: str, kind: str, day: int, source: str) -> dict:
        body = {"source": source}
        return {"trade_id": trade, "kind": kind, "known_at": START + timedelta(days=day), "body": body}

    events = [
        told("t003", "fraud_cleared", 1, "issuer"),
        told("t000", "fraud_confirmed", 2, "analyst"),
        told("t001", "fraud_confirmed", 2, "analyst"),
        told("t003", "fraud_cleared", 3, "analyst"),
        told("t000", "fraud_confirmed", 8, "issuer"),
    ]
    small = replace(material, cases=found, events=events)
    verdicts = analyst_verdicts(small)
    assert {row: label.fraud for row, label in verdicts.items()} == {0: True, 1: True, 2: True, 3: False}
    assert all(isinstance(label, Label) for label in verdicts.values())
    later = seconds(small, verdicts)
    assert [(one.row, one.analyst, one.outside) for one in later] == [(0, True, True), (1, True, False)]


# --- tables -------------------------------------------------------------------------------------------------------


def test_a_table_is_written_as_a_spreadsheet_reads_it():
    """A byte order mark, money in yuan, times of China, both languages, nothing for nothing; no id is a formula."""
    columns = (
        Column("seller_id", Words("卖家", "seller"), "text"),
        Column("reason", Words("原因", "reason"), "words"),
        Column("at_risk_cny", Words("金额", "money"), "yuan"),
        Column("share", Words("占比", "share"), "share"),
        Column("first", Words("首笔", "first"), "time"),
    )
    rows = (("=1+1", Words("甲", "a"), 12_345, 0.25, 0), ("b", Words("乙", "b"), 5, np.nan, None))
    table = Table("small", Words("小表", "small"), columns, rows, (False, True))
    assert table.csv.startswith(b"\xef\xbb\xbf")
    read = list(csv.reader(io.StringIO(table.csv.decode("utf-8-sig"))))
    assert read == [
        ["seller_id", "reason_zh", "reason_en", "at_risk_cny", "share", "first", "few"],
        ["'=1+1", "甲", "a", "123.45", "0.25", "1970-01-01T08:00:00+08:00", "0"],
        ["b", "乙", "b", "0.05", "", "", "1"],
    ]


# --- the page -----------------------------------------------------------------------------------------------------


def test_the_page_stands_alone(page):
    """One file: no script, nothing fetched from anywhere, a policy that forbids it, small enough to mail, printable."""
    assert len(page.encode()) < 3_000_000
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert set(re.findall(r"""(?:src|href|action)=["']([^"'#]{1,12})""", page)) <= {"data:text/cs"}
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert set(re.findall(r"https?://[^\s\"'<>]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "@media print" in page


def test_the_page_has_every_section_in_both_languages(page, sections):
    """Each part has its heading in Chinese and English, and every picture its words."""
    assert len(sections) == len(PARTS) == 12
    for section in sections:
        assert f'id="{section.anchor}"' in page
        assert section.blocks, section.anchor
        for text in (section.words.zh, section.words.en):
            assert str(escape(text)) in page
    assert page.count("<svg") >= 7
    assert "样本内" in page
    assert "IN-SAMPLE" in page


def test_every_table_can_be_taken_along(page, material, sections, tmp_path):
    """The files, the links in the page and the rows are the same."""
    written = write_report(material, out=tmp_path / "r.html", folder=tmp_path / "csv", now=TODAY)
    tables = tables_of(sections)
    assert len(written) == 1 + len(tables)
    assert len({table.name for table in tables}) == len(tables)
    links = dict(re.findall(r'download="([^"]+)" href="data:text/csv;charset=utf-8;base64,([^"]+)"', page))
    for table in tables:
        data = (tmp_path / "csv" / f"{table.name}.csv").read_bytes()
        assert base64.b64decode(links[f"{table.name}.csv"]) == data == table.csv
        read = list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))
        assert len(read) == 1 + len(table.rows)
        assert f'id="table-{table.name}"' in page


def rows_of(sections: list[Section], name: str) -> list[dict[str, str]]:
    (table,) = (table for table in tables_of(sections) if table.name == name)
    return list(csv.DictReader(io.StringIO(table.csv.decode("utf-8-sig"))))


def test_what_came_in_adds_up_to_the_tables(material, sections, home):
    """Days, categories and channels each hold every trade and all face value once."""
    stored = Workspace.open(home).tables.read("trades")
    face = pc.sum(stored["face_value_fen"]).as_py()
    for name in ("intake_by_day", "intake_by_category", "intake_by_channel"):
        rows = rows_of(sections, name)
        assert sum(int(row["trades"]) for row in rows) == len(stored)
        assert sum(round(100 * float(row["face_cny"])) for row in rows) == face
    first = min(rows_of(sections, "intake_by_day"), key=lambda row: row["day"])
    times = stored["submitted_at"].to_pylist()
    day = china_time(material.cases.submitted_at[0]).date()
    assert first["day"] == day.isoformat()
    assert int(first["trades"]) == sum((time + timedelta(hours=8)).date() == day for time in times)


def test_an_axis_of_counts_has_evenly_spaced_whole_ticks(material):
    """Where no day has more than 10 trades, the ticks are as far apart as their numbers say: none is rounded."""
    day = material.cases.day
    rows = np.concatenate([np.flatnonzero(day == one)[:10] for one in np.unique(day)])
    own = {field.name: getattr(material.cases, field.name)[rows] for field in fields(Cases)}
    blocks = intake(replace(material, cases=Cases(**own))).blocks
    (picture,) = (block for block in blocks if isinstance(block, Picture))
    ticks = [int(tick) for tick in re.findall(r">(\d+)</text>", picture.svg.split("交易数")[0])]
    assert ticks[0] == 0
    assert len(set(np.diff(ticks))) == 1


def test_the_matrix_is_that_of_the_tables(material, sections, home):
    """Decisions by label, counted again from the stored trades."""
    stored = Workspace.open(home).tables.read("trades")
    fraud = np.array(stored["fraud"].to_pylist(), dtype=object)
    action = material.said.action
    total = {row["decision_en"]: row for row in rows_of(sections, "outcomes")}
    for name in ("pay", "hold", "review", "refuse"):
        own = action == name
        assert int(total[name]["trades"]) == own.sum()
        assert int(total[name]["fraud"]) == (own & (fraud == True)).sum()  # noqa: E712
        assert int(total[name]["honest"]) == (own & (fraud == False)).sum()  # noqa: E712
    known = sum(int(total["total"][name]) for name in ("fraud", "honest", "ripening", "overdue", "unsold"))
    assert known == len(stored)
    caught = {row["outcome_en"]: row for row in rows_of(sections, "caught_and_missed")}
    missed = int((material.cases.is_fraud & (action == "pay")).sum())
    line = caught["fraud, missed (simply paid)"]
    assert (int(line["trades"]), int(line["of_trades"])) == (missed, int((fraud == True).sum()))  # noqa: E712
    low, high = wilson(missed / int(line["of_trades"]), int(line["of_trades"]))
    assert (float(line["share_low"]), float(line["share_high"])) == pytest.approx((low, high), abs=1e-5)


def test_the_share_refused_is_held_against_the_setting(material):
    """``refuse_most_share`` is the target that tile, table and picture name; above it the tile is bad."""
    refused = refused_share(material.said.action)
    for most in (refused + 0.05, refused / 2):
        settings = Settings.model_validate({"decision": {"refuse_most_share": most}})
        own = replace(material, settings=settings)
        tile = next(tile for tile in tiles(own) if tile.words.en.startswith("refused"))
        assert (tile.words.en, tile.bad) == (f"refused (target ≤ {percent(most)})", refused > most)
        said = [str(row["what_en"]) for row in rows_of([outcomes(own)], "money")]
        assert f"trades refused (target: at most {percent(most)})" in said


def test_figures_that_judge_rest_on_due_labels_and_say_when_they_are_in_sample(material, sections):
    """Segments cover the judged trades, calibration bins too; a champion fitted on the whole period flatters, and the
    page says so; drift is then measured against the first week."""
    basis = material.told
    judged = int(basis.rows.sum())
    assert not basis.is_unseen or not material.said.in_sample[basis.rows].any()
    assert (material.cases.submitted_at[basis.rows] <= material.maturity.until).all()
    segments = rows_of(sections, "segments")
    assert int(segments[0]["judged"]) == judged
    for kind in ("seller", "category", "face value"):
        own = [row for row in segments if row["kind_en"] == kind]
        assert sum(int(row["judged"]) for row in own) == judged
        assert sum(int(row["trades"]) for row in own) == len(material.cases)
    assert sum(int(row["trades"]) for row in rows_of(sections, "calibration")) == judged
    reference = reference_of(material)
    assert reference.learned
    assert not (reference.rows & material.champion.learned(material.cases.submitted_at)).any()


def test_the_champions_own_answers_are_in_sample_where_it_was_fitted(material):
    """A trade whose score was recorded by an older model is unseen by that model, not by today's champion fitted on its
    time: calibration and segments judge what was told, everything of the champion's says that it is in-sample."""
    size, computed = len(material.cases), material.said.computed
    everything = np.ones(size, dtype=bool)
    older = replace(
        material.said,
        probability=np.where(np.isfinite(computed), computed / 2, 0.01),
        recorded=everything,
        learned=everything,
        origin=np.full(size, QUOTED, dtype=object),
        action=np.full(size, "pay", dtype=object),
    )
    champion = replace(
        material.champion, learned_from=0, learned_to=int(material.cases.submitted_at.max()) // 1000
    )
    quoted = replace(material, said=older, champion=champion)
    assert quoted.told.is_unseen
    assert not quoted.own.is_unseen
    assert not quoted.own.unseen.any()
    told, own = quoted.judged(quoted.told), quoted.judged(quoted.own)
    assert (told.probability == older.probability[quoted.told.rows]).all()
    assert (told.action == "pay").all()
    assert (own.probability == computed[quoted.own.rows]).all()
    assert (own.action == older.modelled[quoted.own.rows]).all()
    written = sections_of(quoted)
    assert [row["basis_en"] for row in rows_of(written, "ranking_metrics")] == [IN_SAMPLE.en]
    assert {float(row["in_sample_share"]) for row in rows_of(written, "score_drift")} == {1.0}
    titles = {table.name: table.words.en for table in tables_of(written)}
    for name in ("outcomes_by_champion", "caught_and_missed", "money", "outcomes_by_week"):
        assert f"{size:,} in-sample" in titles[name], name
    for name in ("reasons", "open_cases"):
        assert "it flatters" in titles[name], name
    assert "it flatters" not in titles["outcomes"]
    text = page_of(quoted, written, now=TODAY)
    assert f"IN-SAMPLE: {size:,} trades" in text
    assert "IN-SAMPLE: the figures below" in text


def test_trades_without_an_offer_are_decided_as_when_they_are_scored(home, material):
    """Their thresholds are those for the face value, beside others with an offer; all keep their place."""
    workspace = Workspace.open(home)
    some = np.arange(0, len(material.cases), 40)
    own = {field.name: getattr(material.cases, field.name)[some] for field in fields(Cases)}
    mixed = replace(Cases(**own), priced=np.arange(len(some)) % 2 == 0)
    never = (NEVER_FEN,) * 3
    model = replace(
        material.champion.model, thresholds=replace(material.champion.model.thresholds, unpriced=never)
    )
    found = answered(
        mixed,
        champion=replace(material.champion, model=model),
        features=StoredFeatures(
            workspace=workspace,
            built=stored_training_set(workspace, progress=silent),
            names=FEATURES.names(),
            former=tuple(material.champion.pins.values()),
        ),
        terms=terms_of(workspace),
        progress=silent,
    )
    np.testing.assert_array_equal(found.probability, material.said.computed[some])
    assert (found.modelled[mixed.priced] == material.said.modelled[some][mixed.priced]).all()
    assert (found.modelled[~mixed.priced] == "pay").all()
    assert (material.said.modelled[some][~mixed.priced] != "pay").any()


def test_what_the_trial_of_rules_says_of_itself_is_shown(material):
    """Each note stands as an alarm above the table."""
    figures = RuleFigures(None, 3, 1, 1, 10_000, 2, 1, 5_000.0)
    found = RuleTest(10, 1, 2, 10_000, (figures,), figures, "1", ("first note", "second note"))
    blocks = rules(replace(material, rules=found)).blocks
    alarms = [block.words for block in blocks if isinstance(block, Prose) and block.alarm]
    assert [("first" in words.en, "second" in words.en) for words in alarms] == [(True, False), (False, True)]
    assert isinstance(blocks[-1], Table)


def test_open_cases_come_with_reasons_and_signals(material, sections):
    """At most fifty, without labels, in the order of the queue, each with what moved the model."""
    rows = rows_of(sections, "open_cases")
    assert 0 < len(rows) <= 50
    priorities = [float(row["review_priority"]) for row in rows]
    assert priorities == sorted(priorities, reverse=True)
    place = {trade: row for row, trade in enumerate(material.cases.trade_id.tolist())}
    for row in rows:
        assert material.cases.is_open[place[row["trade_id"]]]
        assert row["reasons_zh"]
        assert row["reasons_en"]
        assert float(row["probability"]) == pytest.approx(
            material.said.computed[place[row["trade_id"]]], rel=1e-4
        )
    assert any("+" in row["signals_en"] for row in rows)


def test_ids_that_are_code_stay_text(material, page):
    """A seller or device named like a script is shown as letters, in tables and drawings."""
    sellers, devices = (
        np.where(column == column, HOSTILE + column.astype(str), column).astype(object)
        for column in (material.cases.seller_id, material.cases.device_id)
    )
    hostile = replace(material, cases=replace(material.cases, seller_id=sellers, device_id=devices))
    text = page_of(hostile, [*sections_of(hostile)], now=TODAY)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert rings(hostile).blocks


def test_a_period_without_labels_or_fraud_says_so(home, tmp_path):
    """Nothing is judged that cannot be; the page says what is missing and what to do."""
    bare = with_trades(home, tmp_path / "bare", without_labels)
    since = TODAY - timedelta(days=20)
    none = read_material(bare, since=since, until=None, now=TODAY, progress=silent)
    text = page_of(none, sections_of(none), now=TODAY)
    assert "No trade of this period has a label" in text
    assert "ranking and calibration cannot be judged" in text
    assert "nothing to compare" in text
    honest = with_trades(
        home,
        tmp_path / "honest",
        lambda table: without_labels(table, pc.invert(pc.fill_null(table["fraud"], False))),
    )
    clean = read_material(honest, since=None, until=TODAY - timedelta(days=60), now=TODAY, progress=silent)
    text = page_of(clean, sections_of(clean), now=TODAY)
    assert "No trade of this period is known to be fraud" in text
    assert not clean.told.can_rank
    assert not clean.own.can_rank


def test_a_handful_of_trades_make_a_page(home):
    """A few trades are reported, and what they cannot tell is not told."""
    last = read_material(
        Workspace.open(home), since=TODAY - timedelta(hours=10), until=None, now=TODAY, progress=silent
    )
    assert 0 < len(last.cases) < 30
    text = page_of(last, sections_of(last), now=TODAY)
    assert "too few trades to compare" in text


def test_without_a_model_there_is_no_report(own_tables):
    """The refusal names the command that helps."""
    with pytest.raises(NothingToReport, match="huika train fraud"):
        read_material(own_tables, since=None, until=None, now=TODAY, progress=silent)

"""Receipts and the tax export say what the ledger says; the docs' worked example is the books' own."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipelines.application_data import ApplicationData
from pipelines.recycling import bookings
from pipelines.recycling.accounts import CHART, seller
from pipelines.recycling.ledger import balances, correction, post, transfers_of
from pipelines.recycling.ledger_model import Transfer
from pipelines.recycling.ledger_tables import make_ledger_tables
from pipelines.recycling.receipts import NotSettled, ReceiptFacts, receipt_pdf, trade_amounts, yuan
from pipelines.recycling.tax_export import QuarterError, quarter_of, seller_quarters, write_export
from pipelines.recycling.taxes import TaxFileError, load_rates

DOCS = (Path(__file__).parents[2] / "docs" / "books.md").read_text(encoding="utf-8")
PAID_AT = datetime(2026, 10, 3, 6, 30, tzinfo=UTC)
FACTS = ReceiptFacts(
    trade_id="t-1",
    quote_id="q-20261003-000001",
    seller_ref="s-1001",
    card_zh="京东E卡",
    card_en="JD E-card",
    face_value_fen=50_000,
    law_version="3f9c2a7be115",
    leaf_hash="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    platform_zh="回卡示例平台",
    platform_en="Huika example platform",
    verify_url="https://example.com/evidence/t-1",
)


def example() -> list[tuple[str, list[Transfer]]]:
    """The worked example of docs/books.md: each step by its name there."""
    trade = "t-1"
    return [
        ("fund", bookings.fund(transfer_id="fund-1", channel="alipay", amount_fen=100_000)),
        (
            "freeze_payout",
            bookings.freeze_payout(
                transfer_id="t-1/freeze", trade_id=trade, channel="alipay", amount_fen=46_000
            ),
        ),
        (
            "settle_payout",
            bookings.settle_payout(
                transfer_id="t-1/settle",
                frozen_id="t-1/freeze",
                trade_id=trade,
                seller_ref="s-1001",
                price_fen=46_000,
                payout_fen=44_000,
            ),
        ),
        (
            "charge_fee",
            bookings.charge_fee(transfer_id="t-1/fee", trade_id=trade, seller_ref="s-1001", amount_fen=1_500),
        ),
        (
            "charge_logistics",
            bookings.charge_logistics(
                transfer_id="t-1/ship", trade_id=trade, seller_ref="s-1001", amount_fen=500
            ),
        ),
        (
            "confirm_payout",
            bookings.confirm_payout(
                transfer_id="t-1/paid",
                trade_id=trade,
                channel="alipay",
                seller_ref="s-1001",
                amount_fen=44_000,
            ),
        ),
        (
            "sell_card",
            bookings.sell_card(
                transfer_id="t-1/sold",
                trade_id=trade,
                channel="alipay",
                cost_fen=46_000,
                proceeds_fen=48_005,
            ),
        ),
        (
            "split_revenue",
            bookings.split_revenue(
                transfer_id="t-1/split",
                trade_id=trade,
                amount_fen=2_005,
                partner_ref="p-7",
                partner_bps=1_000,
            ),
        ),
        (
            "set_aside_tax",
            bookings.set_aside_tax(transfer_id="t-1/vat", trade_id=trade, kind="vat", amount_fen=35),
        ),
    ]


@pytest.fixture
def data(each_database: str) -> ApplicationData:
    data = ApplicationData(each_database)
    with data.transaction() as connection:
        make_ledger_tables(connection)
    return data


@pytest.fixture
def books(data):
    """A transaction on the books of the worked example."""
    with data.transaction() as connection:
        for _, transfers in example():
            post(connection, transfers, now=PAID_AT)
        yield connection


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the table below a heading of the docs."""
    section = DOCS.split(f"\n### {heading}\n", 1)[1]
    lines = re.search(r"((?:^\|.*\n)+)", section, re.MULTILINE)
    assert lines is not None
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|\n").split("|")] for line in lines[0].splitlines()
    ]
    return rows[2:]


def test_the_docs_example_moves_money_as_it_says(books):
    """Every line of the worked example is a transfer of the books, with its accounts and amount, in its order."""
    said = [(row[0], row[1], row[2], row[3]) for row in rows_of("The transfers")]
    posted = [
        (row["reason"], row["debit"], row["credit"], yuan(row["amount_fen"])) for row in transfers_of(books)
    ]
    assert said == posted


def test_the_docs_balances_are_the_books(books):
    """What each account holds in the end, to the fen."""
    assert {row[0]: row[1] for row in rows_of("What is held in the end")} == {
        row.name: yuan(row.fen) for row in balances(books)
    }


def test_the_docs_name_every_account():
    """The chart of accounts stands in the docs with both names."""
    said = {row[0].partition(":")[0]: (row[1], row[2]) for row in rows_of("The chart")}
    assert said == {heading.code: (heading.zh, heading.en) for heading in CHART.values()}


def test_a_receipts_amounts_add_up(books):
    """Price less fees, logistics and tax is what was paid and what is owed still, corrections counted."""
    amounts = trade_amounts(books, trade_id="t-1", seller_ref="s-1001")
    assert (amounts.price_fen, amounts.fee_fen, amounts.logistics_fen) == (46_000, 1_500, 500)
    assert (amounts.tax_fen, amounts.paid_fen, amounts.owed_fen) == (0, 44_000, 0)
    post(books, correction(books, "t-1/fee"), now=PAID_AT)
    corrected = trade_amounts(books, trade_id="t-1", seller_ref="s-1001")
    assert (corrected.fee_fen, corrected.owed_fen) == (0, 1_500)


def test_there_is_no_receipt_before_the_money_arrived(data):
    """Neither for an unknown trade, nor for a bought card whose payout is not confirmed, nor for another seller."""
    with data.transaction() as connection:
        for name, transfers in example():
            for whose in ("s-1001", "s-2"):
                with pytest.raises(NotSettled):
                    receipt_pdf(connection, ReceiptFacts(**{**FACTS.__dict__, "seller_ref": whose}))
            if name == "confirm_payout":
                break
            post(connection, transfers, now=PAID_AT)


def test_the_same_books_give_the_same_receipt(books):
    """The PDF is the same to the byte, so its hash can be evidence; it is one small page."""
    first = receipt_pdf(books, FACTS)
    assert first == receipt_pdf(books, FACTS)
    assert first.startswith(b"%PDF-")
    assert len(first) < 60_000
    assert len(re.findall(rb"/Type /Page\b", first)) == 1


def test_a_receipt_reads_as_it_should(books, tmp_path):
    """A reader's text has both languages, every amount and every reference; odd characters stay text."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed")
    odd = ReceiptFacts(**{**FACTS.__dict__, "card_en": "Ben & <Jerry>"})
    path = tmp_path / "receipt.pdf"
    path.write_bytes(receipt_pdf(books, odd))
    done = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, check=True)
    text = re.sub(r"\s+", "", done.stdout.decode())
    for said in (
        "电子回执", "Electronicreceipt", "京东E卡", "Ben&<Jerry>", FACTS.quote_id, FACTS.law_version,
        FACTS.leaf_hash, "s-1001", "¥460.00", "¥-15.00", "¥-5.00", "¥440.00", "支付宝", "2026-10-0314:30:00",
    ):  # fmt: skip
        assert said in text, said


def test_the_qr_code_holds_what_proves_the_trade(books, tmp_path):
    """Scanned from the page as a picture: trade, quote, amount paid, evidence leaf and where to check it."""
    if shutil.which("pdftoppm") is None:
        pytest.skip("pdftoppm is not installed")
    import zxingcpp
    from PIL import Image

    (tmp_path / "receipt.pdf").write_bytes(receipt_pdf(books, FACTS))
    command = ["pdftoppm", "-png", "-r", "150", tmp_path / "receipt.pdf", tmp_path / "page"]
    subprocess.run(command, check=True)
    picture = Image.open(next(tmp_path.glob("page*.png")))
    found = zxingcpp.read_barcodes(picture)
    assert len(found) == 1
    assert found[0].text.splitlines() == [
        "huika-receipt-1",
        "trade t-1",
        f"quote {FACTS.quote_id}",
        "paid_fen 44000",
        f"leaf {FACTS.leaf_hash}",
        "verify https://example.com/evidence/t-1",
    ]


def test_quarters_are_of_the_calendar_in_china():
    """A booking at midnight in China belongs to the new quarter, whatever the day in UTC."""
    start, end = quarter_of("2026Q4")
    assert start == datetime(2026, 9, 30, 16, tzinfo=UTC)
    assert end == datetime(2026, 12, 31, 16, tzinfo=UTC)
    assert quarter_of("2026Q1")[1] == quarter_of("2026Q2")[0]
    for wrong in ("2026Q5", "2026", "26Q1", "2026q1"):
        with pytest.raises(QuarterError):
            quarter_of(wrong)


def test_the_tax_export_counts_each_seller_once(books, tmp_path):
    """Trades, income, what was taken back, fees, tax and payouts of the quarter; other quarters do not count."""
    other = bookings.settle_payout(
        transfer_id="u", frozen_id="u/f", trade_id="t-2", seller_ref="=s-2", price_fen=900, payout_fen=900
    )
    frozen = bookings.freeze_payout(transfer_id="u/f", trade_id="t-2", channel="alipay", amount_fen=900)
    post(books, frozen, now=PAID_AT)
    post(books, other, now=PAID_AT)
    tax = bookings.set_aside_tax(
        transfer_id="u/t", trade_id="t-2", kind="income", amount_fen=10, seller_ref="=s-2"
    )
    post(books, tax, now=PAID_AT)
    post(books, correction(books, "u/t"), now=PAID_AT)
    post(books, correction(books, "u/buy"), now=PAID_AT)
    rows = {row.seller_ref: row for row in seller_quarters(books, "2026Q4")}
    first, second = rows["s-1001"], rows["=s-2"]
    assert (first.trades, first.income_fen, first.net_fen) == (1, 46_000, 46_000)
    assert (first.fees_fen, first.tax_set_aside_fen, first.paid_fen) == (2_000, 0, 44_000)
    assert (second.trades, second.income_fen, second.taken_back_fen, second.net_fen) == (1, 900, 900, 0)
    assert second.tax_set_aside_fen == 0
    assert seller_quarters(books, "2026Q3") == []
    write_export(tmp_path / "tax.csv", list(rows.values()), quarter="2026Q4")
    with (tmp_path / "tax.csv").open(encoding="utf-8-sig", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["seller_ref"] for row in read] == ["'=s-2", "s-1001"]
    assert {row["quarter"] for row in read} == {"2026Q4"}
    assert read[1]["income_fen"] == "46000"


def test_the_tax_export_agrees_with_the_accounts(books):
    """Income less fees, tax and payouts of all quarters is what the seller is owed now."""
    row = next(row for row in seller_quarters(books, "2026Q4") if row.seller_ref == "s-1001")
    held = next(item for item in balances(books) if item.name == seller("s-1001").name)
    assert row.net_fen - row.fees_fen - row.tax_set_aside_fen - row.paid_fen == held.fen


def test_tax_rates_are_dated_cited_and_off(tmp_path):
    """As shipped nothing is set aside; a workspace switches a rate on for its days, and what does not divide stays."""
    shipped = load_rates()
    day = date(2026, 10, 3)
    assert shipped.set_aside(day=day, revenue_fen=3_505, payout_fen=44_000) == []
    assert all(rate.source_zh and rate.source_en for rate in shipped.rates)
    own = tmp_path / "taxes.toml"
    own.write_text(
        '[[rate]]\nname = "platform_vat_small_taxpayer"\nmode = "on"\nkind = "vat"\nof = "revenue"\n'
        'rate_bps = 100\nfrom = 2026-01-01\nuntil = 2026-10-03\nsource_zh = "税务局答复"\nsource_en = "a ruling"\n'
    )
    rates = load_rates(own)
    found = rates.set_aside(day=day, revenue_fen=3_599, payout_fen=44_000)
    assert [(item.kind, item.of, item.amount_fen) for item in found] == [("vat", "revenue", 35)]
    assert rates.set_aside(day=date(2026, 10, 4), revenue_fen=3_599, payout_fen=0) == []
    assert rates.set_aside(day=day, revenue_fen=99, payout_fen=0) == []
    assert rates.version != shipped.version
    assert len(rates.rates) == len(shipped.rates)


@pytest.mark.parametrize("text", ["[[rate]]\nname = 'x'\n", "[[rate", "[[rate]]\nrate_bps = -1\n"])
def test_a_wrong_tax_file_is_named(tmp_path, text):
    """The file and what is wrong with it."""
    path = tmp_path / "taxes.toml"
    path.write_text(text)
    with pytest.raises(TaxFileError, match=re.escape(str(path))):
        load_rates(path)


def test_the_books_import_no_model():
    """The money's modules load none of the models' libraries, nor the service's."""
    import sys

    names = "ledger, ledger_audit, accounts, bookings, payouts, payout_http, reconciling, receipts, taxes, tax_export"
    heavy = ("lightgbm", "sklearn", "mlflow", "feast", "bentoml", "great_expectations", "pandas")
    code = f"import sys\nfrom pipelines.recycling import {names}\nprint([n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_database_has_no_float_for_money():
    """Every amount of the books is a whole number in its column."""
    from pipelines.recycling.ledger_tables import ledger_accounts, ledger_transfers
    from pipelines.recycling.payout_tables import payout_breaks, payouts

    for table in (ledger_accounts, ledger_transfers, payouts, payout_breaks):
        assert not any(isinstance(column.type, sa.Numeric) for column in table.columns)

"""``huika books``: the ledger seen, audited, reconciled and exported from the command line."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipelines.application_data import ApplicationData
from pipelines.recycling import bookings
from pipelines.recycling.ledger import post
from pipelines.recycling.ledger_tables import ledger_accounts, make_ledger_tables
from pipelines.recycling.payout_tables import make_payout_tables
from pipelines.recycling.payouts import Accepted, Payout, Unknown, create_payout
from pipelines.workspace import Workspace
from serving.cli import main
from tests.pipelines.payout_desk import LoneDesk

NOW = datetime(2026, 10, 3, 6, 30, tzinfo=UTC)


class Provider:
    """Pays what is below 1,000 fen; of the rest nobody knows."""

    def submit(self, *, payout_id, channel, account_ref, amount_fen, name_ref):
        return Accepted(f"ref-{payout_id}", paid=True) if amount_fen < 1_000 else Unknown("timeout")

    def query(self, payout_id, *, channel, amount_fen):
        return Unknown("timeout")

    def statement(self, day, *, channel):
        return []


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace with two trades of one seller: 9.00 yuan paid, 12.00 yuan nobody knows."""
    home = tmp_path / "home"
    data = ApplicationData(Workspace.open(home).application_url)
    desk = LoneDesk(Provider(), lambda: NOW, transaction=data.transaction)
    with data.transaction() as connection:
        make_ledger_tables(connection)
        make_payout_tables(connection)
        post(connection, bookings.fund(transfer_id="start", channel="bank", amount_fen=100_000), now=NOW)
    for trade, fen in (("t-1", 900), ("t-2", 1_200)):
        names = {"frozen_id": f"{trade}/f", "trade_id": trade, "seller_ref": "s-1"}
        with data.transaction() as connection:
            frozen = bookings.freeze_payout(
                transfer_id=f"{trade}/f", trade_id=trade, channel="bank", amount_fen=fen
            )
            bought = bookings.settle_payout(transfer_id=f"{trade}/s", price_fen=fen, payout_fen=fen, **names)
            post(connection, [*frozen, *bought], now=NOW)
            order = Payout(f"p-{trade}", trade, "s-1", "bank", "account-ref", "name-ref", fen)
            create_payout(connection, order, now=NOW)
        desk.advance(f"p-{trade}")
    return home


def ask(capsys, home: Path, *words: str) -> tuple[int, str]:
    """Exit code, and all that was printed."""
    with pytest.raises(SystemExit) as end:
        main(["books", words[0], "--home", str(home), *words[1:]])
    printed = capsys.readouterr()
    return int(end.value.code or 0), printed.out + printed.err


def test_show_has_balances_and_what_is_open(capsys, home):
    """Headings in both languages, the payout nobody knows about, and the sum of the books."""
    code, text = ask(capsys, home, "show")
    assert code == 0
    for said in (
        "平台资金 platform cash",
        "979.00",
        "payout p-t-2: unknown (timeout), 12.00 by bank",
        "sum: 0.00",
    ):
        assert said in text
    code, text = ask(capsys, home, "show", "--json")
    told = json.loads(text)
    assert told["books_sum_fen"] == 0
    assert {row["heading"]: row["balance_fen"] for row in told["headings"]}["seller"] == 1_200
    assert [row["state"] for row in told["open_payouts"]] == ["unknown"]


def test_account_lists_its_transfers(capsys, home):
    """What it holds, and each transfer with the other side; a name without a heading is refused."""
    code, text = ask(capsys, home, "account", "seller:s-1")
    assert code == 0
    assert "balance 12.00, available 12.00" in text
    assert text.count("buy_card") == 2
    code, text = ask(capsys, home, "account", "seller:s-1", "--json", "--last", "1")
    assert [row["transfer_id"] for row in json.loads(text)["transfers"]] == ["t-2/s/buy"]
    code, text = ask(capsys, home, "account", "nothing")
    assert code == 1
    assert "no such account" in text


def test_fund_books_a_payment_once(capsys, home):
    """Money comes in once under its id; another amount under the id, or what is no amount, is refused."""
    words = ("fund", "1,234.05", "--channel", "ecny", "--id", "bank-1")
    assert "into ecny, 1,234.05 yuan: booked" in ask(capsys, home, *words)[1]
    assert "nothing was changed" in ask(capsys, home, *words)[1]
    assert "balance 1,234.05" in ask(capsys, home, "account", "cash:ecny")[1]
    for wrong in ("1234.06", "0", "-5", "1.005", "much", "NaN"):
        words = ("fund", "--channel", "ecny", "--id", "bank-1", "--", wrong)
        code, text = ask(capsys, home, *words)
        assert code == 1, text


def test_audit_passes_and_fails(capsys, home):
    """Clean books exit with 0; a changed balance is named and exits with 1."""
    assert ask(capsys, home, "audit")[0] == 0
    data = ApplicationData(Workspace.open(home).application_url)
    with data.transaction() as connection:
        chosen = sa.update(ledger_accounts).where(ledger_accounts.c.name == "cash:bank")
        connection.execute(chosen.values(debits_posted=ledger_accounts.c.debits_posted + 1))
    code, text = ask(capsys, home, "audit")
    assert code == 1
    assert "cash:bank: debits_posted is kept as 1,000.01 and adds up to 1,000.00" in text
    code, text = ask(capsys, home, "audit", "--json")
    assert (code, '"books_sum_fen": 1' in text) == (1, True)


def test_reconcile_exits_with_what_does_not_agree(capsys, home, tmp_path):
    """A statement that agrees exits with 0; one that does not names each payout, and show lists them after."""
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("payout_id,provider_ref,amount_cny\np-t-1,r,9.00\n")
    bad.write_text("payout_id,provider_ref,amount_cny\np-t-1,r,9.00\nx,r,5\np-t-2,r,12.00\n")
    words = ("--channel", "bank", "--day", "2026-10-03")
    code, text = ask(capsys, home, "reconcile", str(bad), *words)
    assert code == 1
    assert "x: 我方无此打款 not in our books: ours 0.00, theirs 5.00" in text
    assert "p-t-2: 对方已付、我方未记为已付" in text
    assert "break 2026-10-03 bank x: missing_here" in ask(capsys, home, "show")[1]
    code, text = ask(capsys, home, "reconcile", str(good), *words)
    assert (code, "1 payouts agree, 9.00 yuan" in text) == (0, True)
    assert "break" not in ask(capsys, home, "show")[1]
    assert ask(capsys, home, "reconcile", str(good), "--channel", "cash", "--day", "2026-10-03")[0] == 2
    assert ask(capsys, home, "reconcile", str(good), "--channel", "bank", "--day", "3.10.")[0] == 1
    good.write_text("nothing\n")
    assert "amount_fen" in ask(capsys, home, "reconcile", str(good), *words)[1]


def test_a_break_is_settled_by_two_people(capsys, home, tmp_path):
    """Named, proposed, not by the same person twice, booked by the second: the cash is what the provider says, and the
    same statement opens nothing again; with other figures only the difference is booked."""
    statement, words = tmp_path / "bad.csv", ("--channel", "bank", "--day", "2026-10-03")
    statement.write_text("payout_id,provider_ref,amount_cny\np-t-1,r,9.00\nx/1,r,5\np-t-2,r,12.00\n")
    assert ask(capsys, home, "reconcile", str(statement), *words)[0] == 1
    code, text = ask(capsys, home, "breaks")
    assert (code, "2 open breaks" in text) == (1, True)
    name = "bank/2026-10-03/missing_here/x/1"

    def settle(by: str, to: str = "suspense", which: str = name) -> str:
        return ask(capsys, home, "resolve-break", which, "--to", to, "--reason", "found", "--by", by)[1]

    assert "a second person must say the same" in settle("anna")
    assert "somebody else must agree" in settle("anna")
    assert "a second person must say the same" in settle("ben", to="losses")  # another proposal
    assert "booked and closed" in settle("anna", to="losses")
    assert "no open break" in settle("ben", to="losses")
    assert "its next look books it" in settle("anna", which="bank/2026-10-03/state_differs/p-t-2")
    assert "balance 5.00" in ask(capsys, home, "account", "losses")[1]
    before = ask(capsys, home, "account", "cash:bank")[1]
    assert ask(capsys, home, "reconcile", str(statement), *words)[0] == 1  # of p-t-2
    assert name not in ask(capsys, home, "breaks")[1]
    statement.write_text("payout_id,provider_ref,amount_cny\np-t-1,r,9.00\nx/1,r,7\n")
    ask(capsys, home, "reconcile", str(statement), *words)
    settle("anna", to="losses")
    settle("ben", to="losses")
    assert "balance 7.00" in ask(capsys, home, "account", "losses")[1]
    assert before != ask(capsys, home, "account", "cash:bank")[1]
    assert ask(capsys, home, "audit")[0] == 0


def test_export_tax_writes_one_row_per_seller(capsys, home, tmp_path):
    """The quarter's sums by seller reference; a quarter written otherwise, or no workspace, is refused."""
    target = tmp_path / "tax.csv"
    code, text = ask(capsys, home, "export-tax", str(target), "--quarter", "2026Q4")
    assert (code, "1 sellers, 2 trades, 21.00 yuan" in text) == (0, True)
    with target.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["seller_ref"], row["net_fen"], row["paid_fen"]) for row in rows] == [("s-1", "2100", "900")]
    assert ask(capsys, home, "export-tax", str(target), "--quarter", "2026")[0] == 1
    assert "no workspace" in ask(capsys, tmp_path / "none", "audit")[1]

"""The ledger under random use, beside a model in plain Python that knows only the list of what was posted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy.pool import StaticPool

from pipelines.recycling import ledger
from pipelines.recycling.ledger_audit import audit, books_sum
from pipelines.recycling.ledger_model import SUMS, Account, Kind, LedgerRefusal, Transfer
from pipelines.recycling.ledger_tables import ledger_accounts, ledger_transfers, make_ledger_tables

NOW = datetime(2026, 10, 3, tzinfo=UTC)
ACCOUNTS = (
    Account("cash", "debit"),
    Account("transit", "debit"),
    Account("owed", "credit"),
    Account("capital", "credit"),
    Account("suspense", "both"),
)
SIDES = st.tuples(st.sampled_from(ACCOUNTS), st.sampled_from(ACCOUNTS)).filter(
    lambda both: both[0] != both[1]
)
AMOUNTS = st.integers(1, 60)


class Model:
    """What was posted, in order; every question is answered from that list alone."""

    def __init__(self, posted: Sequence[Transfer] = ()) -> None:
        self.posted = list(posted)

    def find(self, transfer_id: str | None) -> Transfer | None:
        return next((item for item in self.posted if item.transfer_id == transfer_id), None)

    def ends(self, pending_id: str) -> list[Transfer]:
        return [item for item in self.posted if item.pending_id == pending_id]

    def sums(self) -> dict[str, dict[str, int]]:
        """Account -> its four sums."""
        found: dict[str, dict[str, int]] = {}
        for item in self.posted:
            begun = item if item.pending_id is None else self.find(item.pending_id)
            assert begun is not None
            assert begun.debit is not None
            assert begun.credit is not None
            part = {"posted": "posted", "settle": "posted", "pending": "pending"}.get(item.kind)
            if item.kind == "pending" and self.ends(item.transfer_id):
                part = None
            for side, account in (("debits", begun.debit), ("credits", begun.credit)):
                sums = found.setdefault(account.name, dict.fromkeys(SUMS, 0))
                if part is not None:
                    sums[f"{side}_{part}"] += item.amount_fen
        return found

    def beyond_limit(self) -> bool:
        sums = self.sums()
        for account in ACCOUNTS:
            held = sums.get(account.name)
            if held is None or account.stays_on == "both":
                continue
            other = "debit" if account.stays_on == "credit" else "credit"
            taken = held[f"{other}s_posted"] + held[f"{other}s_pending"]
            if taken > held[f"{account.stays_on}s_posted"]:
                return True
        return False

    def expects(self, transfers: Sequence[Transfer]) -> str:
        """What posting must answer: an outcome or a refusal's name. Posts where it must be posted."""
        begun = {item.transfer_id for item in (*self.posted, *transfers) if item.kind == "pending"}
        if any(item.pending_id is not None and item.pending_id not in begun for item in transfers):
            return "UnknownPending"
        if len({item.transfer_id for item in transfers}) < len(transfers):
            return "IdReused"
        known = [self.find(item.transfer_id) for item in transfers]
        if any(old not in (None, new) for old, new in zip(known, transfers, strict=True)):
            return "IdReused"
        if any(known):
            return "exists" if all(known) else "PartlyPosted"
        tried = Model(self.posted)
        for item in transfers:
            refusal = tried.refusal(item)
            if refusal:
                return refusal
        self.posted = tried.posted
        return "posted"

    def refusal(self, item: Transfer) -> str | None:
        """Why one new transfer cannot be posted; otherwise it is."""
        pending = self.find(item.pending_id)
        if item.pending_id is not None:
            if self.ends(item.pending_id):
                return "PendingEnded"
            if pending is None:
                return "UnknownPending"
            if item.amount_fen > pending.amount_fen:
                return "AbovePending"
        self.posted.append(item)
        return "Overdraft" if self.beyond_limit() else None


def bare_tables(connection: sa.Connection) -> None:
    """The ledger's tables without a single constraint or trigger: only the program stands in the way."""
    bare = sa.MetaData()
    for table in (ledger_accounts, ledger_transfers):
        columns = [
            sa.Column(column.name, column.type, primary_key=column.primary_key) for column in table.columns
        ]
        sa.Table(table.name, bare, *columns)
    bare.create_all(connection)


class LedgerMachine(RuleBasedStateMachine):
    """Random posting; what the ledger says and holds is what the model says and holds."""

    guarded = True

    def __init__(self) -> None:
        super().__init__()
        self.engine = sa.create_engine("sqlite://", poolclass=StaticPool)
        self.connection = self.engine.connect()
        make_ledger_tables(self.connection) if self.guarded else bare_tables(self.connection)
        self.connection.commit()
        self.model = Model()
        self.count = 0

    def teardown(self) -> None:
        self.connection.close()
        self.engine.dispose()

    def fresh(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def do(self, transfers: Sequence[Transfer]) -> None:
        expected = self.model.expects(transfers)
        try:
            said = ledger.post(self.connection, transfers, now=NOW)
        except LedgerRefusal as refusal:
            said = type(refusal).__name__
        self.connection.commit()
        assert said == expected, (transfers, said, expected)

    def pendings(self) -> list[Transfer]:
        return [item for item in self.model.posted if item.kind == "pending"]

    @rule(fen=st.integers(50, 200), account=st.sampled_from(ACCOUNTS[:2]))
    def money_comes_in(self, fen: int, account: Account) -> None:
        self.do([Transfer(self.fresh(), "fund", fen, account, ACCOUNTS[3])])

    @rule(fen=AMOUNTS, sides=SIDES)
    def move(self, fen: int, sides: tuple[Account, Account]) -> None:
        self.do([Transfer(self.fresh(), "move", fen, *sides)])

    @rule(fen=AMOUNTS)
    def freeze(self, fen: int) -> None:
        self.do([Transfer(self.fresh(), "freeze", fen, ACCOUNTS[1], ACCOUNTS[0], kind="pending")])

    @rule(fen=AMOUNTS, sides=SIDES)
    def freeze_anywhere(self, fen: int, sides: tuple[Account, Account]) -> None:
        self.do([Transfer(self.fresh(), "freeze", fen, *sides, kind="pending")])

    @precondition(lambda self: self.pendings())
    @rule(data=st.data(), more=st.sampled_from((-10, -1, 0, 0, 0, 1)))
    def settle(self, data: st.DataObject, more: int) -> None:
        pending = data.draw(st.sampled_from(self.pendings()))
        fen = max(1, pending.amount_fen + more)
        self.do([Transfer(self.fresh(), "settle", fen, kind="settle", pending_id=pending.transfer_id)])

    @precondition(lambda self: self.pendings())
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        pending = data.draw(st.sampled_from(self.pendings()))
        self.do([Transfer(self.fresh(), "void", kind="void", pending_id=pending.transfer_id)])

    @precondition(lambda self: self.model.posted)
    @rule(data=st.data())
    def settle_what_is_not_pending(self, data: st.DataObject) -> None:
        other = data.draw(st.sampled_from([item.transfer_id for item in self.model.posted] + ["nothing"]))
        self.do([Transfer(self.fresh(), "settle", 1, kind="settle", pending_id=other)])

    @precondition(lambda self: self.model.posted)
    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        self.do([data.draw(st.sampled_from(self.model.posted))])

    @precondition(lambda self: self.model.posted)
    @rule(data=st.data(), part=st.sampled_from(("amount_fen", "reason", "trade_id")))
    def again_with_another_body(self, data: st.DataObject, part: str) -> None:
        old = data.draw(st.sampled_from(self.model.posted))
        changed = old.amount_fen + 1 if part == "amount_fen" and old.kind != "void" else "other"
        self.do([replace(old, **{"reason" if isinstance(changed, str) else part: changed})])

    @rule(fen=AMOUNTS, first=st.sampled_from(("settle", "void")), second=st.sampled_from(("settle", "void")))
    def ended_twice_at_once(self, fen: int, first: Kind, second: Kind) -> None:
        """A freeze and two ends of it in one call."""
        sides = (ACCOUNTS[1], ACCOUNTS[0])
        frozen = Transfer(self.fresh(), "freeze", fen, *sides, kind="pending")
        name = frozen.transfer_id
        ends = [
            Transfer(self.fresh(), "end", 1 if kind == "settle" else 0, kind=kind, pending_id=name)
            for kind in (first, second)
        ]
        self.do([frozen, *ends])

    @rule(amounts=st.lists(AMOUNTS, min_size=2, max_size=3), data=st.data(), repeat=st.booleans())
    def linked(self, amounts: list[int], data: st.DataObject, repeat: bool) -> None:
        """Several at once: moves, a freeze with its own settle, sometimes one that was posted before."""
        items = [Transfer(self.fresh(), "linked", fen, *data.draw(SIDES)) for fen in amounts[:-1]]
        frozen = Transfer(self.fresh(), "freeze", amounts[-1], ACCOUNTS[1], ACCOUNTS[0], kind="pending")
        ends = Transfer(self.fresh(), "settle", amounts[0], kind="settle", pending_id=frozen.transfer_id)
        items += [frozen, ends]
        if repeat and self.model.posted:
            items.append(data.draw(st.sampled_from(self.model.posted)))
        self.do(items)

    @invariant()
    def books_are_right(self) -> None:
        """The sum is zero, the audit finds nothing, nobody is overdrawn, and each pending transfer ended once."""
        assert books_sum(self.connection) == 0
        assert audit(self.connection).clean
        ends = [row["pending_id"] for row in ledger.transfers_of(self.connection) if row["pending_id"]]
        assert len(ends) == len(set(ends))
        assert not self.model.beyond_limit()

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert [row["transfer_id"] for row in ledger.transfers_of(self.connection)] == [
            item.transfer_id for item in self.model.posted
        ]
        held = {
            row.name: {part: getattr(row, part) for part in SUMS} for row in ledger.balances(self.connection)
        }
        nothing = dict.fromkeys(SUMS, 0)
        expected = self.model.sums()
        assert all(sums == expected.get(name, nothing) for name, sums in held.items())
        assert set(expected) <= set(held)


class BareLedgerMachine(LedgerMachine):
    """The same without the database's own guards."""

    guarded = False

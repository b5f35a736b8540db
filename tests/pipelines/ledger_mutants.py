"""The ledger with one known mistake each: what a careless change could do to it. Used by the machine's tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipelines.recycling import ledger
from pipelines.recycling.ledger_model import Overdraft, PendingEnded

Patches = dict[str, Callable[..., Any]]

_check_pending, _move, _posted_before, _ended = (
    ledger._check_pending,
    ledger._move,
    ledger._posted_before,
    ledger._ended,
)


def _ends_are_not_looked_up() -> Patches:
    """Settled again after a settle, voided again after a void."""
    return {"_ended": lambda connection, pending_ids: set()}


def _only_settles_end() -> Patches:
    """A void is forgotten, so what was voided can be settled."""

    def ended(connection: Any, pending_ids: Sequence[str]) -> set[str]:
        found = _ended(connection, pending_ids)
        kinds = {row["pending_id"]: row["kind"] for row in ledger.transfers_of(connection)}
        return {name for name in found if kinds[name] == "settle"}

    return {"_ended": ended}


def _only_voids_end() -> Patches:
    """A settle is forgotten, so what was settled can be voided."""

    def ended(connection: Any, pending_ids: Sequence[str]) -> set[str]:
        found = _ended(connection, pending_ids)
        kinds = {row["pending_id"]: row["kind"] for row in ledger.transfers_of(connection)}
        return {name for name in found if kinds[name] == "void"}

    return {"_ended": ended}


def _ended_in_the_same_call() -> Patches:
    """Two linked transfers end one pending transfer."""

    def check(line: Any, pendings: Mapping[str, Any], ended: set[str]) -> None:
        _check_pending(line, pendings, set(ended))

    return {"_check_pending": check}


def _settled_above_pending() -> Patches:
    """More is settled than was frozen."""

    def check(line: Any, pendings: Mapping[str, Any], ended: set[str]) -> None:
        _check_pending(replace(line, amount_fen=1), pendings, ended)

    return {"_check_pending": check}


def _ids_are_not_compared() -> Patches:
    """Another body under a known id passes for the same."""

    def posted_before(connection: Any, lines: Sequence[Any]) -> bool:
        found = ledger._stored(connection, {line.transfer_id for line in lines})
        return bool(found) and len(found) == len(lines)

    return {"_posted_before": posted_before}


def _ids_are_not_known() -> Patches:
    """A repeated transfer is posted again."""
    return {"_posted_before": lambda connection, lines: False}


def _overdrafts_pass() -> Patches:
    """The limit of an account is not looked at."""

    def move(balances: dict[str, Any], line: Any, pendings: Mapping[str, Any]) -> None:
        free = {name: replace(held, stays_on="both") for name, held in balances.items()}
        _move(free, line, pendings)
        balances |= {name: replace(held, stays_on=balances[name].stays_on) for name, held in free.items()}

    return {"_move": move}


def _pending_is_free() -> Patches:
    """What is frozen can be spent again: pending sums do not count against the limit."""

    def move(balances: dict[str, Any], line: Any, pendings: Mapping[str, Any]) -> None:
        try:
            _move(balances, line, pendings)
        except Overdraft:
            if any(balances[name].fen < 0 for name in (line.debit, line.credit)):
                raise

    return {"_move": move}


def _one_side_only() -> Patches:
    """The credit is not posted."""

    def move(balances: dict[str, Any], line: Any, pendings: Mapping[str, Any]) -> None:
        kept = balances[line.credit]
        _move(balances, line, pendings)
        balances[line.credit] = kept

    return {"_move": move}


def _remainder_stays_frozen() -> Patches:
    """A settle of less than was frozen frees only what was settled."""

    def move(balances: dict[str, Any], line: Any, pendings: Mapping[str, Any]) -> None:
        small = {name: replace(held, amount_fen=line.amount_fen) for name, held in pendings.items()}
        _move(balances, line, small)

    return {"_move": move}


def _ends_are_counted_by_account() -> Patches:
    """With two freezes on one account one can be settled twice: only the account's pending sum is looked at."""

    def move(balances: dict[str, Any], line: Any, pendings: Mapping[str, Any]) -> None:
        if line.pending_id is not None:
            frozen = pendings[line.pending_id].amount_fen
            if balances[line.debit].debits_pending < frozen:
                raise PendingEnded(line.transfer_id)
        _move(balances, line, pendings)

    def check(line: Any, pendings: Mapping[str, Any], ended: set[str]) -> None:
        _check_pending(line, pendings, set())

    return {"_move": move, "_check_pending": check}


def _first_of_linked_only() -> Patches:
    """Linked transfers after the first are lost."""
    insert = ledger._insert
    return {"_insert": lambda connection, lines, *, now: insert(connection, lines[:1], now=now)}


MUTANTS: dict[str, Callable[[], Patches]] = {
    make.__name__.strip("_"): make
    for make in (
        _ends_are_not_looked_up,
        _only_settles_end,
        _only_voids_end,
        _ended_in_the_same_call,
        _settled_above_pending,
        _ids_are_not_compared,
        _ids_are_not_known,
        _overdrafts_pass,
        _pending_is_free,
        _one_side_only,
        _remainder_stays_frozen,
        _ends_are_counted_by_account,
        _first_of_linked_only,
    )
}
"""Name -> what to put in the place of functions of :mod:`pipelines.recycling.ledger`."""

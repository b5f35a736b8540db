"""``huika books breaks`` and ``resolve-break``: what a statement does not agree with, settled by two people."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from serving.commands.books_parts import opened_books, print_table, table_of, yuan_of
from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal


class TargetName(StrEnum):
    """Where the difference goes."""

    suspense = "suspense"
    losses = "losses"


def breaks(home: Home = DEFAULT_HOME) -> None:
    """What statements do not agree with and nobody settled; exits with 1 while there is any."""
    from pipelines.recycling.break_resolving import break_id_of, proposals
    from pipelines.recycling.reconciling import BREAK_NAMES, open_breaks

    with opened_books(home) as connection:
        found, proposed = open_breaks(connection), proposals(connection)
    table = table_of("break", "is", "ours ¥", "theirs ¥", "proposed")
    for row in found:
        name = break_id_of(row).text
        said = proposed.get(name)
        told = f"to {said['target']} by {said['proposed_by']}: {said['reason']}" if said else ""
        words = " ".join(BREAK_NAMES[row["kind"]])
        table.add_row(name, words, yuan_of(row["ours_fen"]), yuan_of(row["theirs_fen"]), told)
    print_table(table)
    if found:
        raise Refusal(f"{len(found):,} open breaks")


def resolve_break(
    name: Annotated[str, typer.Argument(help="As `huika books breaks` lists it.")],
    to: Annotated[TargetName, typer.Option("--to", help="Where the difference goes.")],
    reason: Annotated[str, typer.Option("--reason", help="What was found out.")],
    by: Annotated[str, typer.Option("--by", help="Who says so; the second person must be another one.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Propose how to settle a break, or agree as the second person: then the correction is booked and it is closed."""
    from pipelines.recycling.break_resolving import BreakId, BreakRefused, settle_break
    from pipelines.recycling.ledger_model import LedgerRefusal

    if not by.strip() or not reason.strip():
        raise Refusal("say who settles it, and why")
    try:
        with opened_books(home) as connection:
            now, which = datetime.now(UTC), BreakId.parse(name)
            done = settle_break(connection, which, target=to.value, reason=reason, by=by, now=now)
    except (BreakRefused, LedgerRefusal) as refusal:
        raise Refusal(str(refusal)) from None
    print(f"{name}: " + ("booked and closed" if done else "proposed; a second person must say the same"))

"""``huika recycling disputes``, ``answer`` and ``judge``: what people do about complaints from a shell."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.recycling.opening import Recycling

By = Annotated[str, typer.Option("--by", help="Who says so.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes into the evidence.")]


class VerdictName(StrEnum):
    """What a complaint can come to."""

    for_trade = "for_trade"
    against_trade = "against_trade"


def list_disputes(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Disputes that are not decided, the most pressing first, with what a rule will do when."""
    from rich.table import Table

    from pipelines.recycling.dispute_tables import open_disputes
    from pipelines.recycling.disputes import respondent
    from serving.output import console

    with flow_of(home).engine.connect() as connection:
        found = open_disputes(connection)
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=1, default=str))
        return
    table = Table("submission", "complaint", "by", "who must answer", "answer by", "decide by", "proposed")
    for row in found:
        waits = "" if row["answered_at"] else respondent(row)
        limits = (f"{row[name]:%F %H:%M}" for name in ("answer_by", "decide_by"))
        table.add_row(row["submission_id"], row["kind"], row["complainant"], waits, *limits, row["proposed"])
    console().print(table)


def answer(submission_id: str, by: By, reason: Reason, home: Home = DEFAULT_HOME) -> None:
    """Answer a complaint, for the platform or on a seller's word."""
    done = decided(
        lambda: flow_of(home).disputes.answer(submission_id, by=by, reason=reason, as_seller=False)
    )
    print(f"{submission_id}: answered; decided by {done['due_at']:%F %H:%M} UTC")


def judge(
    submission_id: str,
    verdict: VerdictName,
    by: By,
    reason: Reason,
    award: Annotated[
        str, typer.Option(help="In yuan, to a seller who is right; what was claimed without it.")
    ] = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Decide a complaint; a large one needs a second person who says the same."""
    from serving.commands.books_parts import fen_of

    fen, disputes = fen_of(award) if award else None, flow_of(home).disputes
    done = decided(
        lambda: disputes.judge(submission_id, verdict=verdict.value, by=by, reason=reason, award_fen=fen)
    )
    waits = done["state"] == "disputed"
    print(f"{submission_id}: " + ("waits for a second person" if waits else done["state"]))


def decided(work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What came of a person's decision. Raises Refusal where it could not be made."""
    from pipelines.recycling.people import DecisionRefused
    from pipelines.recycling.states import ForbiddenMove
    from pipelines.recycling.trades import MovedMeanwhile, UnknownSubmission

    try:
        return work()
    except (DecisionRefused, ForbiddenMove, MovedMeanwhile) as refusal:
        raise Refusal(str(refusal)) from None
    except UnknownSubmission as unknown:
        raise Refusal(f"there is no submission {unknown}") from None


def flow_of(home: Path) -> Recycling:
    """The flow of a workspace, for people's decisions alone."""
    from pipelines.recycling.opening import PricingElsewhere, open_recycling
    from pipelines.workspace import Workspace

    workspace = Workspace.open(home)
    return open_recycling(workspace, pricing=PricingElsewhere(), clock=lambda: datetime.now(UTC))

"""What `huika recycling` writes and deletes: receipts, drafts for counsel, and what its time is over."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.explaining import Explained
    from pipelines.recycling.opening import Recycling
    from pipelines.workspace import Workspace

SubmissionId = Annotated[str, typer.Argument(help="The submission's id.")]


def receipt(
    submission_id: SubmissionId,
    out: Annotated[Path, typer.Argument(help="PDF file to write.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Write the receipt of a paid trade."""
    from pipelines.recycling.receipts import NotSettled
    from pipelines.recycling.trade_receipts import trade_receipt
    from pipelines.recycling.trades import UnknownSubmission

    _, opened = _opened(home)
    try:
        content = trade_receipt(opened, submission_id)
    except UnknownSubmission:
        raise Refusal(f"there is no submission {submission_id}") from None
    except NotSettled as error:
        raise Refusal(str(error)) from None
    _write(out, content)
    print(f"{out}: receipt of {submission_id}")


def suspicious(
    submission_id: SubmissionId,
    out: Annotated[Path, typer.Argument(help="A .json or .html file to write.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Draft a suspicious-transaction report for counsel. Nothing is sent; never show it to whoever sells."""
    from pipelines.recycling.trades import UnknownSubmission
    from pipelines.reporting.suspicious import draft_report

    if out.suffix not in (".json", ".html"):
        raise Refusal("the draft is written as .json or .html")
    workspace, opened = _opened(home)
    book = opened.flow.book
    with opened.engine.connect() as connection:
        try:
            explained = _explained(workspace, book.read(connection, submission_id)["quote_id"])
            draft = draft_report(connection, book, submission_id, explained=explained, now=datetime.now(UTC))
        except UnknownSubmission:
            raise Refusal(f"there is no submission {submission_id}") from None
    text = (
        draft.as_html()
        if out.suffix == ".html"
        else json.dumps(draft.as_json(), ensure_ascii=False, indent=1)
    )
    _write(out, text.encode())
    print(f"{out}: draft for counsel 供法务审阅的草稿, sent to nobody")


def purge(
    before: Annotated[
        datetime | None,
        typer.Option(help="Only what is older than this day as well.", formats=["%Y-%m-%d"]),
    ] = None,
    really: Annotated[
        bool, typer.Option("--really", help="Delete it; without this it is only counted.")
    ] = False,
    by: Annotated[str, typer.Option("--by", help="Who deletes, for the vault's audit.")] = "retention",
    home: Home = DEFAULT_HOME,
) -> None:
    """Destroy card secrets of ended trades, what evidence leaves said, heard callbacks and old calls of providers,
    after their days. Counts only, unless --really."""
    from pipelines.recycling.retention import overdue
    from pipelines.recycling.retention import purge as purge_found

    workspace, opened = _opened(home)
    now, limit = datetime.now(UTC), None if before is None else before.replace(tzinfo=UTC)
    found = overdue(opened, workspace.settings.recycling, now=now, before=limit)
    if really:
        purge_found(opened, found, actor=by, now=now)
    print(
        f"{len(found.card_ids):,} card secrets of trades ended before {found.secrets_before:%F}, "
        f"{found.payloads:,} evidence payloads from before {found.evidence_before:%F}, "
        f"{found.callbacks:,} heard callbacks, {found.calls:,} providers' calls: "
        + ("deleted 已删除" if really else "would be deleted; --really does it 试运行，未删除")
    )


def _explained(workspace: Workspace, quote_id: str) -> Explained | None:
    from pipelines.explaining import NothingToExplain
    from pipelines.explaining_trades import explain_trade

    try:
        return explain_trade(workspace, quote_id)
    except NothingToExplain:
        return None


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from error


def _opened(home: Path) -> tuple[Workspace, Recycling]:
    from pipelines.recycling.opening import PricingElsewhere, open_recycling
    from pipelines.workspace import Workspace

    workspace = Workspace.open(home)
    return workspace, open_recycling(workspace, pricing=PricingElsewhere(), clock=lambda: datetime.now(UTC))

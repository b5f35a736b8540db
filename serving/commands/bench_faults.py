"""``huika bench faults``: what clients see, and what is lost, while parts of a running service are killed, stopped or
filled up."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands.bench_drills import (
    CUT,
    NOT_ANSWERED,
    Drill,
    Stage,
    faketime_library,
    possible,
    seconds_until,
    wait_for,
)
from serving.commands.bench_load import Address, Answered, Load, healthy_at, longest_gap
from serving.commands.bench_losses import Losses, losses
from serving.commands.bench_stage import FILES, SERVERS, staged, trained
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.workspace import Workspace

HEALTHY_SECONDS = 300.0
SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class Row:
    """One drill's figures. faults: 5xx and missing answers beside those that the drill allows; healthy: seconds after
    the fault's end, None for never; ended: whether a worker of its start is gone."""

    drill: Drill
    answers: list[Answered]
    gap: float
    healthy: float | None
    lost: Losses
    ended: bool = False

    @property
    def faults(self) -> Counter[str]:
        """What the service could have answered better, by status and code."""
        return Counter(_label(item) for item in self.answers if _is_fault(item, self.drill))

    @property
    def complaints(self) -> list[str]:
        """All that should not be, in words; none of a drill that proved what it is for."""
        felt = {name for item in self.answers for name in (item.code, *item.degraded)}
        wrong = {
            "nobody felt the fault: nothing is proved": bool(self.drill.felt) and self.drill.felt not in felt,
            "a worker ended": self.ended and not self.drill.ends,
            "lost, changed or twice": bool(self.lost.total),
            "never whole again": self.drill.heals and self.healthy is None,
        }
        named = [f"FAULT {count} × {label}" for label, count in self.faults.items()]
        return [*named, *(words for words, is_so in wrong.items() if is_so)]


def bench_faults(
    storage: Annotated[
        str, typer.Option(help="servers (PostgreSQL and Redis), files (SQLite), or both.")
    ] = "both",
    trades: Annotated[int, typer.Option(help="Trades of the synthetic market.", min=2_000)] = 4_000,
    per_second: Annotated[float, typer.Option(help="Requests a second.", min=1)] = 20.0,
    workers: Annotated[int, typer.Option(help="Workers of the service.", min=2)] = 2,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only drills whose name contains this; may be given more than once."),
    ] = None,
    faketime: Annotated[
        str, typer.Option(help="libfaketime's file, if Debian's package is not installed.")
    ] = "",
    market: Annotated[
        Path | None, typer.Option(help="Keep the trained workspace here, and use it again.")
    ] = None,
) -> None:
    """Drills under load: databases killed and stopped, workers and service killed, disk full, clock turned, models
    damaged. Fails where something acknowledged was lost, or a fault was passed on that need not have been."""
    kinds = [SERVERS, FILES] if storage == "both" else [storage]
    if not set(kinds) <= {SERVERS, FILES}:
        raise Refusal(f"--storage is {SERVERS}, {FILES} or both")
    bad = 0
    with tempfile.TemporaryDirectory(prefix="huika-bench-") as folder:
        root = Path(folder)
        root.chmod(0o755)  # the database's account must get in
        origin, library = trained(market or root / "trained", trades), faketime or faketime_library()
        for kind in kinds:
            with staged(root, origin, kind=kind, workers=workers, library=library) as stage:
                rows = _drill_all(stage, per_second=per_second, only=only or [""])
                _print(rows, kind, stage)
                bad += _unequal_features(stage.workspace) + sum(bool(row.complaints) for row in rows)
    if bad:
        raise Refusal("a drill found a fault of ours")


def _drill_all(stage: Stage, *, per_second: float, only: Sequence[str]) -> list[Row]:
    from pipelines.application_data import ApplicationData

    address = Address(stage.service.url, _key(stage.workspace))
    load = Load(address, per_second=per_second)
    load.start()
    rows: list[Row] = []
    try:
        time.sleep(3)
        for drill in possible(stage):
            if any(part in drill.name for part in only):
                rows.append(_drilled(drill, stage, load))
                _tell(rows[-1])
    finally:
        load.stop()
    data = ApplicationData(stage.workspace.application_url)
    last = losses(load.acknowledged, data=data, address=address)
    stage.service.stop()
    print(
        f"{len(load.acknowledged.quotes):,} quotes and {len(load.acknowledged.events):,} events acknowledged in all; "
        f"asked again over HTTP and in the database: {last}"
    )
    return [*rows[:-1], _with(rows[-1], last)] if rows else rows


def _key(workspace: Workspace) -> str:
    """A key that may ask for quotes and tell every kind of event."""
    from serving.api.access.roles import Role
    from serving.commands.access import make_key

    roles = [Role.PRICING_CLIENT, Role.OPERATOR]
    return make_key(workspace, name="bench", roles=roles, now=datetime.now(UTC))


def _drilled(drill: Drill, stage: Stage, load: Load) -> Row:
    """Hurt, wait, heal, and wait until quotes are whole again."""
    from pipelines.application_data import ApplicationData

    began, workers = time.monotonic(), stage.service.worker_ids()
    drill.hurt(stage)
    time.sleep(drill.seconds)
    drill.heal(stage)
    healed = time.monotonic()
    since = began if drill.seconds <= 1 else healed

    def healthy() -> float | None:
        return healthy_at(load.within(began, time.monotonic()), since)

    if drill.heals:
        wait_for(healthy, seconds=HEALTHY_SECONDS)
    time.sleep(SETTLE_SECONDS)
    ended, found = time.monotonic(), healthy()
    answers = load.within(began, ended)
    data = ApplicationData(stage.workspace.application_url)
    return Row(
        drill=drill,
        answers=answers,
        gap=longest_gap(answers, began, ended),
        healthy=None if found is None else found - since,
        lost=losses(load.acknowledged, data=data, address=None),
        ended=not set(workers) <= set(stage.service.worker_ids()),
    )


def _with(row: Row, lost: Losses) -> Row:
    return replace(row, lost=lost)


def _label(item: Answered) -> str:
    return f"{item.status} {item.code}" if item.status else f"{NOT_ANSWERED} ({item.code})"


def _is_fault(item: Answered, drill: Drill) -> bool:
    code = item.code if item.status else NOT_ANSWERED
    allowed = drill.allowed & CUT if item.what == "score" else drill.allowed
    return (item.status >= 500 or not item.status) and code not in allowed


def _unequal_features(workspace: Workspace) -> int:
    """Values that quotes were answered from and that training will see otherwise."""
    from features.definitions import FEATURES
    from pipelines.consistency import check_consistency

    found = check_consistency(workspace, registry=FEATURES, newest=20_000, progress=lambda done, total: None)
    print(f"features of {found.quotes:,} quotes computed again from the tables: {found.faults} differ\n")
    return found.faults


def _tell(row: Row) -> None:
    """A line as soon as a drill is over."""
    print(f"  {'; '.join([f'{row.drill.name}: {len(row.answers)} requests', *row.complaints])}", flush=True)


def _print(rows: Sequence[Row], kind: str, stage: Stage) -> None:
    from rich.table import Table

    from serving.output import console

    title = {SERVERS: "PostgreSQL and Redis", FILES: "SQLite"}[kind]
    columns = ("drill", "requests", "2xx", "degraded", "4xx", "5xx and no answer", "could be served")
    table = Table(
        *columns, "gap s", "healthy s", "lost", "twice", title=f"{title}, {stage.service.workers} workers"
    )
    for row in rows:
        table.add_row(*_cells(row))
    console().print(table)
    if stage.disk is None:
        print(
            "no disk could be filled (it takes root and a loop device): files were kept from growing instead"
        )
    if stage.faketime is None:
        print("the clock was not turned: libfaketime is not installed (Debian: apt-get install faketime)")


def _cells(row: Row) -> list[Any]:
    by_class = Counter(item.status // 100 for item in row.answers)
    bad = Counter(_label(item) for item in row.answers if item.status >= 500 or not item.status)
    refused = Counter(_label(item) for item in row.answers if item.status // 100 == 4)
    return [
        row.drill.name,
        str(len(row.answers)),
        str(by_class[2]),
        str(sum(bool(item.degraded) for item in row.answers)),
        "\n".join(f"{count} × {label}" for label, count in refused.items()) or "0",
        "\n".join(f"{count} × {label}" for label, count in bad.items()) or "0",
        str(sum(row.faults.values())),
        f"{row.gap:.1f}",
        seconds_until(row.healthy, 0.0) if row.drill.heals else "-",
        str(row.lost.quotes + row.lost.events + row.lost.changed + row.lost.keys),
        str(row.lost.duplicates),
    ]

"""What is done to a running service: each drill hurts one part for a while, and heals it as a supervisor would."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from serving.commands.bench_disk import SmallDisk
from serving.commands.bench_servers import PostgresServer, Process
from serving.commands.bench_service import Service, limit_files

if TYPE_CHECKING:
    from pipelines.workspace import Workspace

DISK_FULL_BYTES = 4096
"""No file may grow beyond this while a disk counts as full that cannot be filled."""
CLOCK_JUMP = timedelta(minutes=10)
NOT_RECORDED, AWAY = "not_recorded", "storage_unavailable"
NOT_ANSWERED, CUT = "no answer", frozenset({"no answer"})
STORE_AWAY = "feature_store_unavailable"


@dataclass
class Stage:
    """Everything a drill can reach. faketime: libfaketime's file, disk: that of the workspace; each None where it is
    not there."""

    workspace: Workspace
    service: Service
    postgres: PostgresServer | None
    redis: Process | None
    faketime: str | None
    disk: SmallDisk | None = None
    _kept: dict[Path, bytes] = field(default_factory=dict)

    @property
    def sqlite(self) -> Path | None:
        """The application database's file, None where it is on a server."""
        return self.workspace.home / "huika.db" if self.postgres is None else None

    def kill_worker(self) -> None:
        os.kill(self.service.worker_ids()[0], signal.SIGKILL)

    def restart_service(self) -> None:
        self.service.kill()
        self._start_again()

    def restart_parent(self) -> None:
        self.service.kill_parent()
        self._start_again()

    def _start_again(self) -> None:
        """Until the new workers answer: those of a killed parent answer on for a moment before they end."""
        self.service.start()
        self.service.await_ready()

    def fill_disk(self) -> None:
        if self.disk is None:
            limit_files(self.service.worker_ids(), DISK_FULL_BYTES)
        else:
            self.disk.fill()

    def empty_disk(self) -> None:
        if self.disk is None:
            limit_files(self.service.worker_ids(), None)
        else:
            self.disk.free()

    def fill_database_disk(self) -> None:
        assert self.postgres is not None
        self.postgres.process.limit_files(DISK_FULL_BYTES)

    def empty_database_disk(self) -> None:
        assert self.postgres is not None
        self.postgres.process.kill()  # it has ended already, or is about to
        self.postgres.process.start()

    def restart_with_clock(self, by: timedelta) -> None:
        """Start the service again on a machine whose clock is off."""
        assert self.faketime is not None
        self.service.stop()
        off = {"LD_PRELOAD": self.faketime, "FAKETIME": f"{by.total_seconds():+.0f}"}
        self.service.more = off if by else {}
        self.service.start()
        self.service.await_ready()

    def damage_models(self) -> None:
        """Turn the bits of some bytes in the middle of every model file of the workspace, and end a worker."""
        for path in model_files(self.workspace):
            self._kept[path] = path.read_bytes()
            path.write_bytes(damaged(self._kept[path]))
        self.kill_worker()

    def mend_models(self) -> None:
        for path, content in self._kept.items():
            path.write_bytes(content)
        self._kept.clear()


@dataclass(frozen=True)
class Drill:
    """One fault. seconds: how long it lasts. needs: the part of the stage it is done to. allowed: codes of problems
    beside which every 5xx is a fault of ours; fraud scores need nothing stored and are only spared a cut connection.
    felt: a problem's code, or what quotes do without, that somebody must have been answered: else the drill proves
    nothing. ends: whether processes of the service end in it. heals: whether quotes are to be whole again without
    anybody's help."""

    name: str
    hurt: Callable[[Stage], None]
    heal: Callable[[Stage], None]
    seconds: float
    needs: str = ""
    allowed: frozenset[str] = frozenset()
    felt: str = ""
    ends: bool = False
    heals: bool = True


def _nothing(stage: Stage) -> None:
    """No fault."""


def _postgres(work: str) -> Callable[[Stage], None]:
    return lambda stage: getattr(stage.postgres.process, work)()  # pyright: ignore[reportOptionalMemberAccess]


def _redis(work: str) -> Callable[[Stage], None]:
    return lambda stage: getattr(stage.redis, work)()


_UNSTORED = frozenset({NOT_RECORDED, AWAY})

DRILLS = (
    Drill("no fault", _nothing, _nothing, 8),
    Drill("database killed", _postgres("kill"), _postgres("start"), 6, "postgres", _UNSTORED, NOT_RECORDED),
    Drill("database hangs", _postgres("pause"), _postgres("resume"), 8, "postgres", _UNSTORED),
    Drill("Redis killed, back empty", _redis("kill"), _redis("start"), 6, "redis", felt=STORE_AWAY),
    Drill("Redis hangs", _redis("pause"), _redis("resume"), 8, "redis", felt=STORE_AWAY),
    Drill("worker killed", Stage.kill_worker, _nothing, 1, allowed=CUT, ends=True),
    Drill("service killed", Stage.restart_service, _nothing, 1, allowed=CUT, ends=True),
    Drill("its first process killed", Stage.restart_parent, _nothing, 1, allowed=CUT, ends=True),
    Drill("disk full", Stage.fill_disk, Stage.empty_disk, 12, "sqlite", _UNSTORED, NOT_RECORDED),
    Drill("disk full beside servers", Stage.fill_disk, Stage.empty_disk, 8, "postgres"),
    Drill(
        "database's disk full",
        Stage.fill_database_disk,
        Stage.empty_database_disk,
        6,
        "postgres",
        _UNSTORED,
        NOT_RECORDED,
    ),
    Drill(
        "clock ahead, then right",
        lambda stage: stage.restart_with_clock(CLOCK_JUMP),
        lambda stage: stage.restart_with_clock(timedelta(0)),
        8,
        "faketime",
        CUT,
        ends=True,
    ),
    Drill("models damaged", Stage.damage_models, Stage.mend_models, 20, allowed=CUT, ends=True, heals=False),
    Drill("worker killed after mending", Stage.kill_worker, _nothing, 1, allowed=CUT, ends=True),
)


def possible(stage: Stage) -> Iterator[Drill]:
    """The drills that can be done on this stage."""
    for drill in DRILLS:
        if not drill.needs or getattr(stage, drill.needs) is not None:
            yield drill


def model_files(workspace: Workspace) -> list[Path]:
    """The registered files of models, all below the workspace."""
    return sorted(path for path in workspace.artifacts.rglob("data/*/*.txt") if path.is_file())


def damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(byte ^ 1 for byte in content[middle : middle + 8]) + content[middle + 8 :]


def faketime_library() -> str | None:
    """The file of libfaketime, where Debian's package put it; None where it is not installed."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return str(found[0]) if found else None


def seconds_until(moment: float | None, since: float) -> str:
    return "never" if moment is None else f"{max(0.0, moment - since):.1f}"


def wait_for(check: Callable[[], object], *, seconds: float) -> None:
    """Wait until a check holds, or as long as given."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not check():
        time.sleep(0.25)

"""Workspaces that benchmarks work on: of a synthetic market that ends now, or a copy of one that is there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from serving.refusals import Refusal

MARKET_SEED = 7
LOCKS = ("*.lock",)


@contextmanager
def market(trades: int) -> Iterator[Path]:
    """A temporary folder with the files of a synthetic market that ends now."""
    from pipelines.demo import make_market

    with tempfile.TemporaryDirectory(prefix="huika-bench-") as folder:
        make_market(Path(folder), trades=trades, seed=MARKET_SEED, until=datetime.now(UTC))
        yield Path(folder)


def import_market(folder: Path) -> Path:
    """A workspace beside the market's files that holds them."""
    from pipelines import demo
    from pipelines.workspace import Workspace

    home = folder / "home"
    demo.import_market(Workspace.open(home), folder, now=datetime.now(UTC))
    return home


@contextmanager
def trained_home(*, home: Path | None, trades: int) -> Iterator[Path]:
    """A trained workspace to do anything with: a copy of ``home``, or of a synthetic market. Raises Refusal."""
    if home is None:
        with market(trades) as folder:
            made = import_market(folder)
            _train(made)
            yield made
        return
    with tempfile.TemporaryDirectory(prefix="huika-bench-") as folder:
        yield copied(home, Path(folder) / "home")


def copied(home: Path, target: Path) -> Path:
    """A copy of a workspace whose data are all inside it. Raises Refusal."""
    from pipelines.workspace import Workspace

    if not home.exists():
        raise Refusal(f"no workspace at {home}")
    storage = Workspace.open(home).settings.storage
    if storage.application_url or storage.online_url:
        raise Refusal(
            f"{home} keeps its data elsewhere ([storage]); quotes of a benchmark do not belong there"
        )
    shutil.copytree(home, target, ignore=shutil.ignore_patterns(*LOCKS))
    return target


def _train(home: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from serving.cli import main; main()",
        "train",
        "all",
        "--home",
        str(home),
    ]
    found = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if found.returncode:
        raise Refusal(f"training ended with status {found.returncode}")

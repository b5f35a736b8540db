"""``huika canary``: let the challenger answer a share of the sellers, look at it, stop it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.canary_data import CanaryData
    from pipelines.workspace import Workspace

canary = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="A share of the sellers is answered by the challenger; a breach of a limit ends that by itself.",
)

Why = Annotated[str, typer.Option("--why", help="Kept with the change.")]


@canary.command("start")
def start(
    share: Annotated[float, typer.Argument(help="Of the sellers, 0 to 1.", min=0.0, max=1.0)],
    why: Why = "started by hand",
    home: Home = DEFAULT_HOME,
) -> None:
    """Answer a share of the sellers by the challenger; running services follow within seconds."""
    workspace = _workspace(home)
    steps, candidate = _steps(workspace), _candidate(workspace)
    before = steps.current(candidate)
    if before is not None and before.author == "rollback":
        print(f"rolled back before: {before.why}")
    _write(steps, candidate, share, why)


@canary.command("stop")
def stop(why: Why = "stopped by hand", home: Home = DEFAULT_HOME) -> None:
    """Let the champions answer everybody again."""
    workspace = _workspace(home)
    _write(_steps(workspace), _candidate(workspace), 0.0, why)


@canary.command("status")
def status(home: Home = DEFAULT_HOME) -> None:
    """Show the share, why it is that, and how the challenger does on live quotes."""
    from pipelines.shadow_data import ShadowData, figures_of

    workspace = _workspace(home)
    steps, candidate = _steps(workspace), _candidate(workspace)
    step = steps.current(candidate)
    if step is None:
        print(f"{candidate}: share {workspace.settings.canary.share:g}, by huika.toml")
    else:
        print(
            f"{candidate}: share {step.share:g} since {step.at:%Y-%m-%d %H:%M} UTC ({step.author}: {step.why})"
        )
    paired = ShadowData.open(steps.data).paired(candidate, since=None if step is None else step.at)
    if len(paired):
        found = figures_of(paired)
        print(f"  {found.quotes:,} quotes answered by both since then")
        for side, refused in found.refused.items():
            print(
                f"  {side:<10} refuses {refused:.1%}, expects {found.profit_fen[side] / 100:.2f} CNY a quote"
            )
    if step is not None:
        earned = steps.realised_fen(candidate, since=step.at, costs=workspace.settings.costs)
        for side, values in earned.items():
            if len(values):
                print(
                    f"  {side:<10} earned {values.mean() / 100:.2f} CNY a trade, {len(values):,} outcomes known"
                )


def _write(steps: CanaryData, candidate: str, share: float, why: str) -> None:
    from pipelines.canary_data import OPERATOR, Step

    steps.write(Step(at=datetime.now(UTC), candidate=candidate, share=share, author=OPERATOR, why=why))
    print(f"{candidate}: share {share:g}; running services follow within seconds")


def _workspace(home: Path) -> Workspace:
    from pipelines.workspace import Workspace

    if not home.exists():
        raise Refusal(f"no workspace at {home}")
    return Workspace.open(home)


def _steps(workspace: Workspace) -> CanaryData:
    from pipelines.application_data import ApplicationData
    from pipelines.canary_data import CanaryData

    return CanaryData.open(ApplicationData(workspace.application_url))


def _candidate(workspace: Workspace) -> str:
    """The label of the challengers that the registry names. Raises Refusal without any."""
    from models.registry import CHALLENGER, CHAMPION
    from pipelines.shadow_data import MODELS, label_of
    from pipelines.wiring import model_registry

    aliases = model_registry(workspace).aliases()
    found = {name: aliases.get(name, {}) for name in MODELS}
    label = label_of(
        {
            name: carried.get(CHALLENGER)
            for name, carried in found.items()
            if carried.get(CHALLENGER) != carried.get(CHAMPION)
        }
    )
    if not label:
        raise Refusal("there is no challenger; `huika train` makes one beside the champion")
    return label

"""``huika models``, ``evaluate``, ``promote`` and ``rollback``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from models.registry import ModelRegistry


class Which(StrEnum):
    """One of the two models."""

    discount = "discount"
    fraud = "fraud"


Model = Annotated[Which, typer.Argument(help="discount or fraud", metavar="discount|fraud")]
HEADLINES = {
    "fraud": ("average_precision", "auc", "ece", "calibration_ratio", "cost_per_1000_fen"),
    "discount": ("acceptance_log_loss", "acceptance_ece", "resale_mae", "range_coverage_90", "profit_ratio"),
}
"""The figures shown in the list of models."""


def models(home: Home = DEFAULT_HOME) -> None:
    """List registered models with their aliases, where they come from and their figures on later trades; and how the
    newest challenger would have answered live quotes."""
    from rich.table import Table

    from serving.output import console, figure

    registry = _registry(home)
    for name in HEADLINES:
        versions = registry.versions(name)
        if not versions:
            continue
        table = Table(
            "version", "aliases", "data", "code", *HEADLINES[name], title=name, title_justify="left"
        )
        for item in versions:
            figures = [figure(item.metrics[key]) if key in item.metrics else "-" for key in HEADLINES[name]]
            tags = item.tags
            aliases = ", ".join(item.aliases)
            table.add_row(
                item.version,
                aliases,
                tags.get("data_fingerprint", ""),
                tags.get("code_version", ""),
                *figures,
            )
        console().print(table)
        for item in versions:
            if "absent_signals" in item.tags:
                print(f"v{item.version} had to do without 缺少的信号: {item.tags['absent_signals']}")
    _print_shadow(home)


def evaluate(which: Model, home: Home = DEFAULT_HOME) -> None:
    """Judge champion and challenger side by side on the newest trades that neither was fitted on.

    Prices are set beside those of the log and of the rate table, and asked for the same cards in the name of
    different people: they must not differ. MLflow keeps the figures, as a run of the experiment "evaluation".
    """
    from pipelines.training.comparing import NothingToCompare, compare, record
    from pipelines.workspace import Workspace

    workspace = Workspace.open(home)
    try:
        comparison = compare(workspace, name=which.value)
    except NothingToCompare as error:
        raise Refusal(str(error)) from error
    record(workspace, comparison)
    _print_comparison(comparison)


def promote(
    which: Model,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Promote although a check failed, or a proof of value could not be made; it is recorded.",
        ),
    ] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Make the challenger the champion if the newest trades prove that it is no worse; the old one is kept for
    rollback."""
    from models.registry import CHALLENGER, CHAMPION
    from pipelines.training.comparing import NothingToCompare, compare
    from pipelines.training.promoting import promote as move
    from pipelines.wiring import model_registry
    from pipelines.workspace import Workspace

    workspace = Workspace.open(home)
    registry = model_registry(workspace)
    champion = registry.find(which.value, CHAMPION)
    if champion is not None and registry.find(which.value, CHALLENGER) is None:
        raise Refusal(
            f"{which.value} version {champion.version} is champion already, and there is no challenger; "
            f"`huika train {which.value}` makes one"
        )
    try:
        comparison = compare(workspace, name=which.value)
    except NothingToCompare as error:
        raise Refusal(str(error)) from error
    _print_comparison(comparison)
    stopping = [str(check) for check in comparison.checks if check.stops]
    if stopping and not force:
        raise Refusal(f"not promoted: {'; '.join(stopping)} (--force promotes all the same)")
    version = move(registry, comparison, forced=bool(stopping))
    print(f"{which.value} version {version} is now champion{', by --force alone' if stopping else ''}")


def recalibrate(home: Home = DEFAULT_HOME) -> None:
    """Give the discount model's champion the resale ranges of resales newer than its training; run it daily."""
    from datetime import UTC, datetime

    from pipelines.training.recalibrating import CannotRecalibrate
    from pipelines.training.recalibrating import recalibrate as roll
    from pipelines.workspace import Workspace

    if not home.exists():
        raise Refusal(f"no workspace at {home}")
    try:
        found = roll(Workspace.open(home), now=datetime.now(UTC))
    except CannotRecalibrate as error:
        raise Refusal(str(error)) from error
    print(
        f"discount version {found.version.version} is now champion: ranges from {found.resales:,} newer resales, of "
        f"which the former 90 % range held {found.coverage_before:.1%}"
    )


def rollback(which: Model, home: Home = DEFAULT_HOME) -> None:
    """Bring the previous champion back; the present one becomes the challenger."""
    from models.registry import ModelNotFound
    from pipelines.training.promoting import rollback as move

    try:
        version = move(_registry(home), which.value)
    except ModelNotFound as error:
        raise Refusal(str(error)) from error
    print(f"{which.value} version {version} is champion again")


def _registry(home: Path) -> ModelRegistry:
    from pipelines.wiring import model_registry
    from pipelines.workspace import Workspace

    if not home.exists():
        raise Refusal(f"no workspace at {home}")
    return model_registry(Workspace.open(home))


def _print_shadow(home: Path) -> None:
    """The newest challenger against the champions on the quotes that both answered; nothing where there are none."""
    from pipelines.application_data import ApplicationData
    from pipelines.shadow_data import CANDIDATE, CHAMPION, ShadowData, figures_of
    from pipelines.workspace import Workspace

    answers = ShadowData.open(ApplicationData(Workspace.open(home).application_url))
    candidate = answers.latest()
    if candidate is None:
        return
    found = figures_of(answers.paired(candidate))
    refused, profit = found.refused, found.profit_fen
    print(f"challenger {candidate} in the shadow: {found.quotes:,} live quotes 影子对比")
    print(
        f"  rates       {found.rate_difference:+.4f} on average, {found.price_moves:.1%} half a point apart or more"
    )
    print(
        f"  decisions   {found.decision_changes:.1%} changed; scores correlate {found.score_correlation:.3f}"
    )
    print(f"  refused     {refused[CANDIDATE]:.1%} against {refused[CHAMPION]:.1%}")
    print(f"  expects     {profit[CANDIDATE] / 100:.2f} CNY a quote against {profit[CHAMPION] / 100:.2f}")


def _print_comparison(comparison) -> None:
    from rich.table import Table

    from serving.output import console, figure
    from serving.worth_lines import fraud_note, print_checks, print_worths

    title = f"{comparison.name}: {comparison.rows:,} trades since {comparison.since:%Y-%m-%d %H:%M} UTC"
    table = Table(
        "figure", *(f"{alias} v{version}" for alias, version in comparison.versions.items()), title=title
    )
    for name in comparison.figures[0]:
        table.add_row(name.replace("_", " "), *(figure(figures[name]) for figures in comparison.figures))
    console().print(table)
    for note in (*comparison.notes, *fraud_note(comparison.figures[0])):
        print(note)
    print_worths(comparison.values.worths)
    print_checks(comparison.checks)

"""``huika quote`` and ``huika score``: files of trades."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.answering import InputRefused

Input = Annotated[
    Path,
    typer.Argument(
        help="Parquet or CSV with the columns of trades, without outcomes.", exists=True, dir_okay=False
    ),
]
Output = Annotated[Path, typer.Argument(help="Where the answers go: Parquet, or CSV when it ends in .csv.")]
Mapping = Annotated[Path | None, typer.Option(help="TOML file: your columns -> ours.")]


def quote(input: Input, output: Output, mapping: Mapping = None, home: Home = DEFAULT_HOME) -> None:
    """Price and screen every row as of its own submitted_at, from what was known strictly before it."""
    _answer(input, output, mapping, home, needs=("discount", "fraud"))


def score(input: Input, output: Output, mapping: Mapping = None, home: Home = DEFAULT_HOME) -> None:
    """Score every row for fraud as of its own submitted_at, from what was known strictly before it."""
    _answer(input, output, mapping, home, needs=("fraud",))


def _answer(source: Path, target: Path, mapping: Path | None, home: Path, *, needs: tuple[str, ...]) -> None:
    from features.catalogue import workspace_catalogue
    from pipelines.champions import load_pair
    from pipelines.terms import terms_of
    from pipelines.training.collecting import collect_workspace
    from pipelines.wiring import model_registry
    from pipelines.workspace import Workspace
    from serving.progress import bar

    if target.suffix.lower() not in (".csv", ".parquet"):
        raise Refusal(f"{target}: answers are written as .csv or .parquet")
    workspace = Workspace.open(home)
    collect_workspace(workspace)
    models = load_pair(model_registry(workspace))
    if needs == ("fraud",) and models.fraud is None:
        raise Refusal("no fraud model yet; train one with `huika train fraud`")
    if models.discount is None and models.fraud is None:
        raise Refusal("no model yet; train with `huika train`")
    # What checks files takes longest to load: only who can be answered waits for it.
    from pipelines import answering
    from pipelines.training.import_problems import ImportProblem
    from pipelines.training.mapping import load_mapping

    try:
        rules = load_mapping(mapping)["trades"] if mapping else {}
        batch = answering.read_batch(
            source,
            mapping=rules,
            catalogue=workspace_catalogue(workspace.tables),
            now=datetime.now(UTC),
            priced=len(needs) > 1,
        )
    except ImportProblem as problem:
        raise Refusal(str(problem)) from problem
    except answering.InputRefused as problem:
        raise Refusal(_explain(problem)) from problem
    with bar("features") as progress:
        columns = answering.batch_features(workspace, batch, models=models, progress=progress)
    if needs == ("fraud",):
        answer = answering.score_batch
    else:
        answer, batch = answering.quote_batch, answering.with_market(workspace, batch)
    table = answer(batch, columns, models=models, terms=terms_of(workspace))
    answering.write_answers(table, target)
    _print_summary(table, target, models.degraded if len(needs) > 1 else ())
    if batch.unknown_types:
        print(
            f"unknown card types, scored without what a catalogue says: {', '.join(batch.unknown_types[:5])}"
        )


def _explain(problem: InputRefused) -> str:
    lines = [str(problem)]
    for result in problem.results:
        where = "; ".join(f"row {example.row}: {example.value}" for example in result.examples[:3])
        lines.append(f"  {result.rule.column or 'file'}: {result.rule.en} ({result.rule.code}) {where}")
    return "\n".join(lines)


def _print_summary(table: Any, target: Path, degraded: tuple[str, ...]) -> None:
    from pipelines.answering import NO_OFFER, OUTCOMES, outcomes

    counts = Counter(outcomes(table).tolist())
    names = [name for name in OUTCOMES if name != NO_OFFER or "no_offer" in table.column_names]
    shares = ", ".join(f"{name} {counts[name]:,}" for name in names)
    print(f"{len(table):,} rows answered in {target}: {shares}")
    for code in degraded:
        print(f"degraded: {code}")

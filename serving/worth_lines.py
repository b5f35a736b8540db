"""How the terminal tells what prices are worth, what has to be known beside the figures, and what became of the
checks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.training.discount_worth import Opinion, Worth
    from pipelines.training.promotion_checks import Check, Gain
    from pipelines.training.training import Trained

NAMES = {
    "log": "the log's offers 历史报价",
    "list": "rate table 价目表",
    "model": "this model 模型",
}

GUESSING = 0.5
"""AUC of a model that draws lots."""


def print_worths(worths: Sequence[Worth]) -> None:
    """Every policy's profit an offer, and why the log alone cannot judge where it cannot."""
    from rich.table import Table

    from serving.output import console

    if not worths:
        return
    table = Table("CNY per offer, 95 % interval 每单利润（元）", box=None, padding=(0, 2))
    for name in (
        "by the referee 裁判",
        "over the log",
        "by the log alone 离线评估",
        "over the log",
        "over the list",
    ):
        table.add_column(name, justify="right")
    notes: list[str] = []
    for worth in worths:
        name = NAMES.get(worth.name, worth.name)
        cells = [_gain(worth.by_referee), _gain(worth.referee_gain)]
        if worth.name == "log":
            cells[1] = "-"
        found = worth.over_log.value
        if found is None:
            notes.append(f"{name}: the log alone cannot judge it: {worth.over_log.refused}")
            cells += ["-", "-", "-"]
        else:
            star = "" if found.whole else " *"
            value = found.value
            cells.append(
                f"{value.value_fen / 100:z.2f} ({value.low / 100:z.2f} to {value.high / 100:z.2f}){star}"
            )
            cells += [_opinion(worth.over_log, worth.name == "log"), _opinion(worth.over_list, False)]
            if not found.whole:
                from pipelines.training.discount_worth import first_step_in_words

                notes.append(f"* {name}: {first_step_in_words(found)}")
        table.add_row(name, *cells)
    console().print(table)
    for note in notes:
        print(note)


def _gain(gain: Gain) -> str:
    return f"{gain.estimate:z.2f} ({gain.low:z.2f} to {gain.high:z.2f})"


def _opinion(opinion: Opinion, itself: bool) -> str:
    if opinion.value is None or itself:
        return "-"
    return _gain(opinion.gain) + ("" if opinion.value.whole else " *")


def fraud_note(figures: Mapping[str, float]) -> list[str]:
    """That a discount model's profit is told without fraud, where no label is old enough; nothing of a fraud model."""
    from models.evaluation.profit import COMPLETE_SHARE

    if figures.get("profit_labelled_rows", 1) > 0:
        return []
    return [
        "欺诈尚未计入利润 Fraud is not in these profit figures yet: "
        f"in no week {COMPLETE_SHARE:.0%} of the bought trades have a label."
    ]


def ranges_note(figures: Mapping[str, float]) -> list[str]:
    """That a discount model's resale ranges hold more or less than a promotion asks for, and what rolls them forward;
    nothing where they are as asked, where nothing was resold, and of a fraud model."""
    from pipelines.training.discount_checks import coverage_checks
    from pipelines.training.promotion_checks import Verdict, with_verdict
    from pipelines.training.recalibrating import LEAST_RESALES

    if "range_coverage_90" not in figures:
        return []
    failed = with_verdict(coverage_checks(figures), Verdict.FAILED)
    if not failed:
        return []
    return [
        f"出货区间失准 The resale ranges are off: {'; '.join(check.what for check in failed)}. `huika recalibrate`, "
        f"run daily, rolls the champion's forward, once {LEAST_RESALES} cards submitted after its training are resold."
    ]


def guessing_note(figures: Mapping[str, float]) -> list[str]:
    """That a fraud model is not shown to rank frauds better than chance does: the lower 95 % bound of its AUC on later
    trades is below a half, or there is none; nothing where it is, and of a discount model."""
    from models.evaluation.fraud import auc_error
    from pipelines.training.promotion_checks import NORMAL_95

    if "auc" not in figures:
        return []
    auc, frauds = figures["auc"], figures["frauds"]
    low = auc - NORMAL_95 * auc_error(auc, frauds=frauds, honest=figures["trades"] - frauds)
    if low >= GUESSING:
        return []
    bound = f"AUC {auc:.3f}, 95 % ≥ {low:.3f}" if math.isfinite(low) else "AUC -"
    return [
        f"欺诈模型未显示出优于猜测（{frauds:,.0f} 笔欺诈，{bound}）：请勿据其评分决策；在有更多标签、重新运行 "
        "`huika train fraud` 之前，只用报价和规则。",
        f"The fraud model is not seen to be better than guessing on these {frauds:,.0f} frauds ({bound}): do not act "
        "on its scores. Import more labels, then `huika train fraud` again; until then go by prices and rules only.",
    ]


def print_checks(checks: Sequence[Check]) -> None:
    """A line each, with what became of it in front."""
    for check in checks:
        print(f"{check.verdict:<10}  {check.what}")


def first_words(item: Trained) -> str:
    """Whether a first discount model goes live, and whether it is proven to be better than what is there."""
    from pipelines.training.promotion_checks import Verdict, with_verdict

    failed, open_ = (with_verdict(item.checks, verdict) for verdict in (Verdict.FAILED, Verdict.NOT_JUDGED))
    if failed:
        return f"It does not go live, it stays {item.alias}: {'; '.join(check.what for check in failed)}"
    if open_:
        return f"It goes live, but it is not proven: {'; '.join(check.what for check in open_)}"
    opinion = item.values.worths[-1].over_log.value
    what = "its prices are" if opinion and opinion.whole else "the first step toward its prices is"
    return f"It goes live: {what} proven to earn more than the log's offers and the rate table."

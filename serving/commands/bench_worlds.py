"""``huika bench worlds``: the discount model on synthetic markets of many shapes, against the best possible prices."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.refusals import Refusal

if TYPE_CHECKING:
    from models.discount.model import DiscountModel
    from pipelines.simulation import Market, World
    from pipelines.training.examples import Examples

START = date(2025, 11, 1)
JUDGED_DAYS = 30
USUAL = "logistic,skewed,mixed,shock,medium_table,confounded,high_fraud,no_jitter,no_jitter_skewed"


def bench_worlds(
    trades: Annotated[int, typer.Option(help="Trades of each market.", min=5_000)] = 230_000,
    days: Annotated[int, typer.Option(help="Days of each market; the last 30 judge.", min=60)] = 210,
    worlds: Annotated[str, typer.Option(help="Shapes, see pipelines/simulation/worlds.py.")] = USUAL,
    seed: Annotated[int, typer.Option(help="Seed of the first market; the next ones count up.")] = 201,
) -> None:
    """Fit the discount model on each market and price its last 30 days: share of the best possible profit."""
    from pipelines.simulation.worlds import world_of

    names = world_names(worlds)
    print("share of the best possible expected profit, 95 % interval over days")
    shares = []
    for place, name in enumerate(names):
        world = world_of(name, trades=trades, days=days, seed=seed + place, start=START)
        with tempfile.TemporaryDirectory(prefix="huika-bench-") as folder:
            found, figures = _judge(Path(folder), world)
        shares.append(found["model"][0])
        text = ", ".join(f"{what} {_share(*values)}" for what, values in found.items())
        print(f"{name} (seed {world.seed}): {text}; {figures}", flush=True)
    print(f"model over {len(shares)} worlds: mean {sum(shares) / len(shares):.1%}, worst {min(shares):.1%}")


def world_names(worlds: str) -> list[str]:
    """Names from a list with commas; raises Refusal for one that is not there."""
    from pipelines.simulation.worlds import WORLDS

    names = worlds.split(",")
    unknown = sorted(set(names) - set(WORLDS))
    if unknown:
        raise Refusal(f"no such world: {', '.join(unknown)}; there are {', '.join(WORLDS)}")
    return names


def _share(share: float, low: float, high: float) -> str:
    return f"{share:.1%} ({low:.1%} to {high:.1%})"


def _judge(folder: Path, world: World) -> tuple[dict[str, tuple[float, float, float]], str]:
    """Model, logged offers and rate table on the judged days: share of the oracle with its interval; and how far
    the model's probabilities and its expectation of its own profit came true."""
    import numpy as np
    import pyarrow as pa

    from models.policy import Costs, PricePolicy
    from pipelines.simulation import simulate
    from pipelines.simulation.oracle import profit_share, read_oracle

    market = simulate(world)
    model, judged = trained_on(market, world, folder)
    offers = model.price(
        columns=judged.columns,
        face_value_fen=judged.face_value_fen,
        submitted_at=judged.submitted_ms,
        costs=Costs(),
        policy=PricePolicy(),
    )
    trades = pa.table(
        {
            "face_value_fen": judged.face_value_fen,
            "submitted_at": pa.array(judged.submitted_at, pa.timestamp("us", "UTC")),
        }
    )
    oracle = read_oracle(market.oracle, pa.array(judged.trade_id))
    rates = {
        "model": np.where(offers.no_offer, np.nan, offers.rate),
        "logged offers": judged.offered_rate,
        "rate table": offers.table_rate,
    }
    found = {
        name: profit_share(oracle=oracle, trades=trades, rates=rate, costs=Costs())
        for name, rate in rates.items()
    }
    expected = float(offers.expected_profit_fen[~offers.no_offer].sum())
    text = f"acceptance ECE {_ece(model, judged):.4f}, expected over true profit of its offers "
    shares = {name: _with_interval(share) for name, share in found.items()}
    return shares, f"{text}{expected / found['model'].policy_fen:.3f}"


def _ece(model: DiscountModel, judged: Examples) -> float:
    """Calibration error of acceptance at the logged rates."""
    import numpy as np

    from models.evaluation.calibration import expected_calibration_error

    decided = np.isfinite(judged.accepted) & np.isfinite(judged.offered_rate)
    curve = model.acceptance_curve(columns=judged.columns, rows=len(judged))
    probability = curve.probability(judged.offered_rate)[decided]
    return expected_calibration_error(probability=probability, outcome=judged.accepted[decided])


def trained_on(market: Market, world: World, folder: Path) -> tuple[DiscountModel, Examples]:
    """A model of what was known JUDGED_DAYS before the end, and the trades of those days with all outcomes."""
    import numpy as np

    from features.definitions import FEATURES
    from pipelines import demo as parts
    from pipelines.settings import Settings
    from pipelines.simulation import write
    from pipelines.training.discount import fit
    from pipelines.training.examples import stored_examples
    from pipelines.workspace import Workspace

    write(market, folder / "market")
    workspace = Workspace.open(folder / "home")
    parts.import_market(workspace, folder / "market", now=datetime.now(UTC))
    first = datetime.combine(world.start - timedelta(days=1), datetime.min.time(), UTC)
    examples = stored_examples(workspace, model="discount", since=first)
    since_us = int(judged_from(world).timestamp() * 1e6)
    model = fit(examples.known_before(since_us), registry=FEATURES, settings=Settings())
    return model, examples.rows(np.flatnonzero(examples.submitted_at >= since_us))


def judged_from(world: World) -> datetime:
    """The moment from which a world's trades judge."""
    first = world.start + timedelta(days=world.days - JUDGED_DAYS)
    return datetime.combine(first, datetime.min.time(), UTC)


def _with_interval(found: Any) -> tuple[float, float, float]:
    """The share, and the 95 % interval of its ratio over resampled days."""
    import numpy as np

    rng = np.random.default_rng(0)
    days = len(found.days)
    weight = rng.multinomial(days, np.full(days, 1 / days), size=1_000)
    shares = (weight @ found.policy_by_day_fen) / (weight @ found.oracle_by_day_fen)
    low, high = np.quantile(shares, [0.025, 0.975])
    return found.share, float(low), float(high)

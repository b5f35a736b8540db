"""``huika bench off-policy``: does the value of a policy, found from a log alone, agree with the truth?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from serving.refusals import Refusal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from models.evaluation.off_policy import OffPolicyValue, Pricing
    from models.policy import Costs
    from pipelines.simulation import Market
    from pipelines.simulation.oracle import Oracle

START = dt.date(2025, 9, 1)
FIRST_SEED = 501
MOVE, STEP, FAR = 0.01, 0.04, 0.05
"""The judged policy moves each card type's rates by up to the first; one that would move them by up to the second is
judged by its first step, within what was offered; the last is too far for any log."""
KNOWN, ESTIMATED = "centres known", "centres estimated"
FIRST_STEP = ", first step of a policy that goes too far"


@dataclass(frozen=True)
class Verdict:
    """One log and one policy, judged in one way. Fen per offer: the true values of the target, of the logged
    offers and of the best policy. found: None where the estimate was refused. refuses_far: whether a policy
    that goes too far was."""

    centres: str
    world: str
    target_fen: float
    logged_fen: float
    best_fen: float
    found: OffPolicyValue | None
    refuses_far: bool


def bench_off_policy(
    trades: Annotated[
        int, typer.Option(help="Trades of each log; the later half is judged.", min=2_000)
    ] = 40_000,
    days: Annotated[int, typer.Option(help="Days of each log.", min=20)] = 60,
    logs: Annotated[int, typer.Option(help="Logs in all, shared among the worlds.", min=1)] = 30,
    worlds: Annotated[
        str, typer.Option(help="Kinds of markets, as in pipelines.simulation.worlds.")
    ] = "logistic,skewed,mixed",
) -> None:
    """Judge a known change of prices from drawn offers and an imperfect model of acceptance; compare with the
    truth: bias, error, how often the interval holds it, and whether far rates are refused."""
    names = worlds.split(",")
    verdicts: list[Verdict] = []
    for number in range(logs):
        world = names[number % len(names)]
        verdicts += _judged(world, trades=trades, days=days, seed=FIRST_SEED + number)
        print(f"log {number + 1}: {world}; {_line(verdicts[-4:])}", flush=True)
    for centres in (KNOWN, ESTIMATED, KNOWN + FIRST_STEP, ESTIMATED + FIRST_STEP):
        own = [verdict for verdict in verdicts if verdict.centres == centres]
        for name in names if len(names) > 1 else ():
            print(f"{centres}, {name}: {_summary([verdict for verdict in own if verdict.world == name])}")
        print(f"{centres}: {_summary(own)}")
    refused = sum(verdict.refuses_far for verdict in verdicts)
    print(f"the policies that go too far: {refused} of {len(verdicts)} estimates of the whole refused")


def _judged(world: str, *, trades: int, days: int, seed: int) -> list[Verdict]:
    """The verdicts on one log, with its centres known and with estimated ones."""
    from pipelines.simulation import WorldError, simulate
    from pipelines.simulation.worlds import world_of

    try:
        known = world_of(world, trades=trades, days=days, seed=seed, start=START)
    except WorldError as error:
        raise Refusal(str(error)) from None
    return _Case.of(simulate(known), seed).verdicts(world)


@dataclass(frozen=True)
class _Case:
    """A log's answered offers (n rows) with what the bench needs of them; ``later``: the judged half."""

    oracle: Oracle
    face_fen: np.ndarray
    columns: dict[str, np.ndarray]
    offered: np.ndarray
    density: np.ndarray
    accepted: np.ndarray
    policy: np.ndarray
    centre: np.ndarray
    day: np.ndarray
    seller: np.ndarray
    later: np.ndarray
    seed: int

    @classmethod
    def of(cls, market: Market, seed: int) -> _Case:
        import numpy as np
        import pyarrow.compute as pc

        from pipelines.simulation.oracle import face_values_fen, read_oracle

        answered = pc.is_valid(market.trades["accepted"])
        trades, truth = market.trades.filter(answered), market.oracle.filter(answered)
        day = trades["submitted_at"].cast("date32").cast("int32").to_numpy()
        centre = truth["offer_centre"].to_numpy()
        return cls(
            oracle=read_oracle(market.oracle, trades["trade_id"]),
            face_fen=face_values_fen(trades).astype(np.float64),
            columns=_columns(trades, market.market, day),
            offered=trades["offered_rate"].to_numpy(),
            density=trades["offer_density"].to_numpy(),
            accepted=trades["accepted"].cast("float64").to_numpy(),
            policy=centre - truth["trader_move"].to_numpy(),
            centre=centre,
            day=day,
            seller=trades["seller_id"].to_numpy(),
            later=day > np.median(day),
            seed=seed,
        )

    def verdicts(self, world: str) -> list[Verdict]:
        import numpy as np

        from models.evaluation.first_step import support_of
        from models.evaluation.off_policy import estimated_centre
        from pipelines.simulation.oracle import best_rate

        kind = np.unique(self.columns["card_type"], return_inverse=True)[1]
        target = self.policy + MOVE * np.cos(2.4 * kind)
        estimated = estimated_centre(
            columns=self.columns, names=tuple(self.columns), offered_rate=self.offered, fold_by=self.day
        )
        model = _acceptance(self)
        best = self._truth(best_rate(oracle=self.oracle, face_value_fen=self.face_fen, costs=_costs()))
        logged, wide = self._truth(self.offered), self.policy + STEP * np.cos(2.4 * kind)
        found: list[Verdict] = []
        for centres, centre, guessed in ((KNOWN, self.centre, False), (ESTIMATED, estimated, True)):
            support = support_of(
                offered_rate=self.offered,
                density=self.density,
                centre=centre,
                estimated=np.full(len(wide), guessed),
            )
            step = support.nearest(wide)
            for name, rate, far in ((centres, target, target - FAR), (centres + FIRST_STEP, step, wide)):
                found.append(
                    Verdict(
                        centres=name,
                        world=world,
                        target_fen=self._truth(rate),
                        logged_fen=logged,
                        best_fen=best,
                        found=self._estimate(model, rate, centre),
                        refuses_far=self._estimate(model, far, centre) is None,
                    )
                )
        return found

    def _truth(self, rate: np.ndarray) -> float:
        """Mean expected profit of the later offers at these rates, fen."""
        from pipelines.simulation.oracle import expected_profit_fen

        profit = expected_profit_fen(
            oracle=self.oracle, face_value_fen=self.face_fen, rate=rate, costs=_costs()
        )
        return float(profit[self.later].mean())

    def _estimate(
        self, model: Callable[[np.ndarray], np.ndarray], target: np.ndarray, centre: np.ndarray
    ) -> OffPolicyValue | None:
        import numpy as np

        from models.evaluation.off_policy import OutsideSupport, off_policy_value

        rows = self.later
        try:
            return off_policy_value(
                target=self._pricing(target, model).rows(rows),
                logged=self._pricing(self.offered, model).rows(rows),
                density=self.density[rows],
                centre=centre[rows],
                accepted=self.accepted[rows],
                clusters=[self.day[rows], self.seller[rows]],
                rng=np.random.default_rng(self.seed),
            )
        except OutsideSupport:
            return None

    def _pricing(self, rate: np.ndarray, model: Callable[[np.ndarray], np.ndarray]) -> Pricing:
        """Economics from the truth, acceptance from the model: what is judged is the correction of the latter."""
        from models.evaluation.off_policy import Pricing

        costs, oracle = _costs(), self.oracle
        margin = oracle.resale_expected - oracle.logistics_share - rate * (1 + costs.capital_share)
        gain = self.face_fen * margin - costs.handling_fen
        loss = self.face_fen * (rate * costs.loss_given_fraud + oracle.logistics_share) + costs.handling_fen
        frauds = oracle.fraud_rate_screened * oracle.fraud_accepts
        return Pricing(rate=rate, acceptance=model(rate), profit_fen=gain, fixed_fen=-frauds * (gain + loss))


def _columns(trades: pa.Table, market: pa.Table, day: np.ndarray) -> dict[str, np.ndarray]:
    """What anyone could know of each card at its moment: the card, and every source's latest bid."""
    import numpy as np
    import pandas as pd

    expires = trades["expires_on"].cast("int32").to_numpy()
    columns = {
        "card_type": trades["card_type"].to_numpy(),
        "face_cny": trades["face_value_cny"].to_numpy(),
        "physical": (trades["card_form"].to_numpy() == "physical").astype(np.float64),
        "days_left": expires - day.astype(np.float64),
        "day": day.astype(np.float64),
    }
    at = pd.DataFrame({"card_type": columns["card_type"], "time": trades["submitted_at"].to_numpy()})
    quotes = market.select(["card_type", "side", "source", "rate"]).to_pandas()
    quotes["time"] = market["observed_at"].to_numpy()
    for (side, source), own in quotes.groupby(["side", "source"]):
        if side != "ask":
            found = pd.merge_asof(at, own, on="time", by="card_type", allow_exact_matches=False)
            columns[f"{side}:{source}"] = found["rate"].to_numpy()
    return columns


def _acceptance(case: _Case) -> Callable[[np.ndarray], np.ndarray]:
    """A pooled logit of few inputs, fitted on the earlier half: good on average, wrong for most cards."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    columns = case.columns
    bids = [column for name, column in columns.items() if name.startswith("competitor_bid")]
    rival = np.nanmax(np.where(np.isnan(bids), -1.0, bids), axis=0)
    rival = np.where(rival > 0, rival, np.mean(case.offered))
    left = np.nan_to_num(columns["days_left"], nan=1_000.0)

    def inputs(rate: np.ndarray) -> np.ndarray:
        gap = rate - rival
        return np.column_stack(
            [20 * rate, 20 * gap, columns["physical"], np.log(columns["face_cny"]), left < 0, left < 60]
        )

    logit = LogisticRegression(C=100.0, max_iter=2_000)
    logit.fit(inputs(case.offered)[~case.later], case.accepted[~case.later])
    return lambda rate: logit.predict_proba(inputs(rate))[:, 1]


def _costs() -> Costs:
    from models.policy import Costs

    return Costs()


def _line(verdicts: Sequence[Verdict]) -> str:
    parts = []
    for verdict in verdicts:
        found = verdict.found
        gain = verdict.target_fen - verdict.logged_fen
        parts.append(
            f"{verdict.centres}: refused"
            if found is None
            else f"{verdict.centres}: overlap {found.overlap:.1%}, value {found.value_fen:.0f} ({found.low:.0f} to "
            f"{found.high:.0f}; true {verdict.target_fen:.0f}), gain {found.gain_fen:+.0f} ({found.gain_low:+.0f} to "
            f"{found.gain_high:+.0f}; true {gain:+.0f})"
        )
    return "; ".join(parts)


def _summary(verdicts: Sequence[Verdict]) -> str:
    """Errors in points of the best policy's profit, over the logs that were not refused."""
    import numpy as np

    judged = [(verdict, verdict.found) for verdict in verdicts if verdict.found is not None]
    if not judged:
        return f"all {len(verdicts)} logs refused"
    best = np.array([verdict.best_fen for verdict, _ in judged])
    truth = np.array([verdict.target_fen for verdict, _ in judged])
    gain = truth - np.array([verdict.logged_fen for verdict, _ in judged])
    value_error = np.array([found.value_fen for _, found in judged]) - truth
    gain_error = np.array([found.gain_fen for _, found in judged]) - gain
    model_error = np.array([found.model_fen for _, found in judged]) - truth
    held = np.mean([found.low <= verdict.target_fen <= found.high for verdict, found in judged])
    gain_held = np.mean(
        [found.gain_low <= true <= found.gain_high for (_, found), true in zip(judged, gain, strict=True)]
    )
    overlap = min(found.overlap for _, found in judged)
    return (
        f"{len(judged)} of {len(verdicts)} logs, least overlap {overlap:.1%}; value {_errors(value_error, best)} "
        f"({value_error.mean() / truth.mean():+.1%} of the policy's value), interval holds it {held:.0%}; gain "
        f"{_errors(gain_error, best)}, interval holds it {gain_held:.0%}; model alone {_errors(model_error, best)}"
    )


def _errors(error: np.ndarray, best: np.ndarray) -> str:
    import numpy as np

    points = 100 * error / best
    spread = points.std(ddof=1) / np.sqrt(len(points)) if len(points) > 1 else float("nan")
    return f"bias {points.mean():+.2f} ± {spread:.2f} points, RMSE {np.sqrt(np.mean(points**2)):.2f}"

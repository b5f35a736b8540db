"""The rows that every server of a benchmark is asked about: as submissions for this service, and with the same rows'
features handed in for the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.commands.bench_asking import FRESH, write_lines

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from models.discount.model import DiscountModel
    from models.matrix import Columns
    from pipelines.workspace import Workspace

SELLER = ("seller_id", "device_id", "ip", "payout_account", "payee_is_seller", "region", "channel")
CARD = ("card_type", "card_form", "card_prefix", "card_fingerprint")


def newest_trades(workspace: Workspace, rows: int) -> pa.Table:
    """The newest stored trades, oldest first."""
    trades = workspace.tables.read("trades")
    return trades.slice(max(len(trades) - rows, 0))


def submission_of(trade: Mapping[str, Any]) -> dict[str, Any]:
    """A stored trade as a client would submit it now; the service gives it an id of its own."""
    from features.tables import ISSUED_FACE

    issued, value = trade.get(ISSUED_FACE), {"amount_fen": trade["face_value_fen"]}
    card = {name: trade[name] for name in CARD if trade[name] is not None}
    card |= {"face_value": {"amount_fen": issued}, "balance": value} if issued else {"face_value": value}
    if isinstance(trade["expires_on"], date):
        card["expires_on"] = trade["expires_on"].isoformat()
    seller = {name: trade[name] for name in SELLER if trade[name] is not None}
    body: dict[str, Any] = {"card": card, "seller": seller}
    if trade["asked_rate"] is not None:
        body["asked_rate"] = trade["asked_rate"]
    if trade["extras"]:
        body["extras"] = json.loads(trade["extras"])
    return body


def fresh_submission(trade: Mapping[str, Any], number: int = 0) -> dict[str, Any]:
    """A submission like a stored trade's, of another card each time it is asked about: the same card again and again
    is what thieves submit. number: its place in a request that asks about several."""
    body = submission_of(trade)
    if "card_fingerprint" in body["card"]:
        body["card"]["card_fingerprint"] = f"{FRESH}-{number}"
    return body


def write_fresh_submissions(*, home: str, rows: int) -> dict[str, Any]:
    """A file with the newest trades as submissions of fresh cards."""
    from pipelines.workspace import Workspace

    trades = newest_trades(Workspace.open(Path(home)), rows).to_pylist()
    return {"file": write_lines(Path(home) / "fresh.jsonl", [fresh_submission(trade) for trade in trades])}


def write_questions(*, home: str, folder: str, rows: int, batch: int) -> dict[str, Any]:
    """Files with the questions of each server, one row each and ``batch`` rows at once, and the models' folders. Either
    way the rows come in turn."""
    from features.definitions import FEATURES
    from models.registry import CHAMPION
    from pipelines.champions import load_pair
    from pipelines.stored_features import features_of
    from pipelines.wiring import model_registry
    from pipelines.workspace import Workspace

    workspace, into = Workspace.open(Path(home)), Path(folder)
    registry = model_registry(workspace)
    models = load_pair(registry)
    if models.discount is None or models.fraud is None:
        raise ValueError("both models must be trained")
    trades = newest_trades(workspace, rows)
    columns = features_of(workspace, trades, names=(*FEATURES.names(), *models.pinned_columns))
    asked = Questions(trades, columns, models.discount, models.fraud.matrix(columns))
    kinds: dict[str, Callable[[Sequence[int]], dict[str, Any]]] = {
        "submissions": asked.submissions,
        "boosters": asked.boosters,
        "models": asked.features,
        "mlflow": partial(asked.frame, names=models.fraud.trained_signals),
    }
    # All rows in turn: nobody sells a card every second.
    starts = range(0, len(trades), batch)
    parts = [[place % len(trades) for place in range(start, start + batch)] for start in starts]
    files = {}
    for kind, question in kinds.items():
        files[kind] = write_lines(into / f"{kind}.jsonl", [question([row]) for row in range(len(trades))])
        files[f"{kind}_batch"] = write_lines(into / f"{kind}_batch.jsonl", [question(part) for part in parts])
    folders = {name: str(registry.folder(registry.version(name, CHAMPION))) for name in ("discount", "fraud")}
    return {
        "files": files,
        "models": folders,
        "mlflow": str(Path(folders["fraud"]).parent.parent),
        "rows": len(trades),
    }


class Questions:
    """The same rows as each server wants to be asked about them."""

    def __init__(
        self, trades: pa.Table, columns: Columns, discount: DiscountModel, fraud_inputs: np.ndarray
    ) -> None:
        self._trades = trades.to_pylist()
        self._columns = {
            name: [_plain(value) for value in values.tolist()] for name, values in columns.items()
        }
        self._texts = [name for name, values in columns.items() if values.dtype == object]
        inputs = booster_inputs(columns, len(trades), discount) | {"fraud": fraud_inputs}
        self._inputs = {
            name: [[_plain(value) for value in row] for row in matrix.tolist()]
            for name, matrix in inputs.items()
        }

    def submissions(self, places: Sequence[int]) -> dict[str, Any]:
        """A submission, or a batch of them."""
        bodies = [fresh_submission(self._trades[place], number) for number, place in enumerate(places)]
        return bodies[0] if len(bodies) == 1 else {"submissions": bodies}

    def boosters(self, places: Sequence[int]) -> dict[str, Any]:
        """The inputs of each booster, in its order."""
        return {name: [rows[place] for place in places] for name, rows in self._inputs.items()}

    def features(self, places: Sequence[int]) -> dict[str, Any]:
        """The features by name, with what the discount model asks for beside them."""
        trades = [self._trades[place] for place in places]
        return {
            "features": {name: [values[place] for place in places] for name, values in self._columns.items()},
            "texts": self._texts,
            "face_value_fen": [trade["face_value_fen"] for trade in trades],
            "submitted_ms": [int(trade["submitted_at"].timestamp() * 1000) for trade in trades],
        }

    def frame(self, places: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
        """The fraud model's features as MLflow's scoring server takes them."""
        data = [[self._columns[name][place] for name in names] for place in places]
        return {"dataframe_split": {"columns": list(names), "data": data}}


def booster_inputs(columns: Columns, rows: int, discount: DiscountModel) -> dict[str, np.ndarray]:
    """Inputs (n, inputs) of the discount model's boosters by the names of :data:`bench_bare.BOOSTERS`."""
    from models.discount.acceptance import place_matrix
    from models.discount.context import card_context, relative_matrix

    resale = discount.resale.estimate(columns=columns, context=card_context(columns, rows))
    worth = relative_matrix(columns, discount.resale.encoding, resale.anchor_rate)
    inputs = {"resale_mean": worth, "resale_error": worth}
    taken = discount.acceptance
    if taken.place_inputs is not None:
        inputs["acceptance_usual"] = place_matrix(columns, taken.place_inputs, resale)
        inputs["acceptance_place"] = inputs["acceptance_usual"]
    if taken.slope_inputs is not None:
        inputs["acceptance_slope"] = taken.slope_inputs.matrix(columns)
    return inputs


def _plain(value: Any) -> Any:
    """A value for JSON: NaN is null."""
    return None if isinstance(value, float) and value != value else value

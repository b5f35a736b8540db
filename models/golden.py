"""Golden rows: inputs kept beside a model with the exact answers it gave them when it was registered.

They lie in the model's folder, inside its digest. Who loads the model later asks it the same again: an answer that
differs shows files that were damaged before they were registered, or a program that reads them otherwise.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from models.discount.context import card_context
from models.discount.model import DiscountModel
from models.fraud.model import FraudModel
from models.matrix import Columns

FILE = "golden.json"
ROWS = 64
RELATIVE_TOLERANCE = 1e-9
"""By how much an answer may differ on another installation than the model's own, where the last bits of exponentials
and sums differ; on the same one every bit counts."""

RATES = np.array([0.5, 0.8, 0.9, 0.95, 1.0])
"""Rates at which acceptance is asked."""

Model = DiscountModel | FraudModel


class GoldenMismatch(RuntimeError):
    """A model does not answer its golden rows as it did when it was registered."""


def load_model(name: str, folder: Path) -> Model:
    """A saved model by its kind, ``discount`` or ``fraud``."""
    return DiscountModel.load(folder) if name == "discount" else FraudModel.load(folder)


def write_golden(folder: Path, *, model: Model, columns: Columns) -> None:
    """Keep ROWS rows, spread over the given ones, with the model's answers. Call it before the folder's digest is
    taken."""
    chosen = _spread(len(next(iter(columns.values()))))
    inputs = {name: values[chosen] for name, values in columns.items()}
    golden = {
        "installation": installation(),
        "inputs": {name: _plain(values) for name, values in inputs.items()},
        "answers": {name: _plain(values) for name, values in answers(model, inputs).items()},
    }
    (folder / FILE).write_text(json.dumps(golden, ensure_ascii=False), encoding="utf-8")


def check_golden(folder: Path, *, model: Model) -> int:
    """Ask the model its golden rows again; how many there were, 0 for a model that was registered without any.

    Raises GoldenMismatch, which names the first answer that differs.
    """
    if not (folder / FILE).exists():
        return 0
    try:
        golden = json.loads((folder / FILE).read_text(encoding="utf-8"))
        inputs = {name: _array(values) for name, values in golden["inputs"].items()}
        expected = {name: _array(values) for name, values in golden["answers"].items()}
        same = golden["installation"] == installation()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GoldenMismatch(f"the golden rows cannot be read: {error}") from None
    found = answers(model, inputs)
    if set(found) != set(expected):
        raise GoldenMismatch(f"golden rows hold {sorted(expected)}, the model answers {sorted(found)}")
    for name, values in found.items():
        _check_equal(name, values, expected[name], tolerance=0.0 if same else RELATIVE_TOLERANCE)
    return len(next(iter(inputs.values())))


def golden_inputs(folder: Path) -> Columns:
    """The inputs of a model's golden rows, for a model that is made from it."""
    golden = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return {name: _array(values) for name, values in golden["inputs"].items()}


def answers(model: Model, columns: Columns) -> dict[str, np.ndarray]:
    """Everything that the fitted parts of a model say of n rows, each (n,) or (n, k); no setting enters it."""
    return (
        _discount_answers(model, columns)
        if isinstance(model, DiscountModel)
        else _fraud_answers(model, columns)
    )


def installation() -> dict[str, Any]:
    """What the last bit of an answer may depend on: processor, Python and the libraries that calculate."""
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "simd": np.show_config(mode="dicts")["SIMD Extensions"]["found"],  # pyright: ignore[reportOptionalSubscript]
        "python": platform.python_version(),
        "numpy": np.__version__,
        "lightgbm": version("lightgbm"),
    }


def _fraud_answers(model: FraudModel, columns: Columns) -> dict[str, np.ndarray]:
    matrix = model.matrix(columns)
    return {
        "probability": model.probability_of(matrix),
        "log_odds": model.contributions_of(matrix).log_odds,
        "thresholds": np.tile(model.thresholds.by_action, (len(matrix), 1)),
    }


def _discount_answers(model: DiscountModel, columns: Columns) -> dict[str, np.ndarray]:
    rows = len(next(iter(columns.values())))
    context = card_context(columns, rows)
    resale = model.resale.estimate(columns=columns, context=context)
    share = model.fraud_share.share(context)
    curve = model.acceptance.curve(columns=columns, context=context, resale=resale, floor=share)
    bounds = (resale.mean, resale.p05, resale.p10, resale.p50, resale.p90, resale.p95, resale.usual_width)
    return {
        "resale": np.stack(bounds, axis=1),
        "acceptance": curve.probability(np.tile(RATES, (rows, 1))),
        "fraud_share": np.stack([share, model.fraud_share.share_of_type(context)], axis=1),
        "days_to_sell": np.asarray(model.sale_time.expected(context, usual=3.0), dtype=np.float64),
        "table_rate": model.table.rate(context)[0],
        "exploration": model.curvatures.half_width(context, most=0.02, cost_share=0.003),
        "trust": np.full(rows, model.training.trust),
        "curiosity": np.full(rows, model.training.curiosity),
        "support": np.full(rows, model.support_half_width),
    }


def _check_equal(name: str, found: np.ndarray, expected: np.ndarray, *, tolerance: float) -> None:
    if found.shape != expected.shape:
        raise GoldenMismatch(f"{name} of the golden rows has shape {found.shape}, it was {expected.shape}")
    same = np.isclose(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    if not same.all():
        place = tuple(np.argwhere(~same)[0].tolist())
        raise GoldenMismatch(
            f"{name} of golden row {place[0]} is {found[place]!r}, it was {expected[place]!r} when registered"
        )


def _spread(count: int) -> np.ndarray:
    """Places of at most ROWS rows, spread evenly over ``count``."""
    return np.unique(np.linspace(0, count - 1, min(ROWS, count)).round().astype(np.int64))


def _plain(values: np.ndarray) -> dict[str, Any]:
    """A column as JSON that keeps every bit; texts as they are."""
    if values.dtype == object:
        return {"texts": values.tolist()}
    numbers = np.asarray(values, dtype=np.float64)
    return {"shape": list(numbers.shape), "numbers": [value.hex() for value in numbers.ravel().tolist()]}


def _array(plain: Mapping[str, Any]) -> np.ndarray:
    if "texts" in plain:
        return np.array(plain["texts"], dtype=object)
    return np.array([float.fromhex(value) for value in plain["numbers"]], dtype=np.float64).reshape(
        plain["shape"]
    )

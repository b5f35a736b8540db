"""A small invented market for the tests of the fraud model: trades whose true fraud probability is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from models.fraud.model import FraudModel
from models.fraud.training import FraudFitSettings, fit_fraud

FAMILIES = {
    "card_face_cny": "card",
    "card_type": "card",
    "seller_count_1h": "seller_velocity",
    "device_fraud_rate_30d": "device_risk",
    "ip_fraud_rate_30d": "ip_risk",
}
NAMES = tuple(FAMILIES)
RISING = ("device_fraud_rate_30d", "ip_fraud_rate_30d")
QUICK = FraudFitSettings(trees=120, threads=1, rising=RISING)


@dataclass(frozen=True)
class Market:
    """Feature columns (n,), the true probability (n,), the drawn label (n,) and the moment (n,) in ms."""

    columns: dict[str, np.ndarray]
    truth: np.ndarray
    fraud: np.ndarray
    submitted_at: np.ndarray


def market(rows: int = 5000, seed: int = 1) -> Market:
    """About 5 % fraud, driven by the amount, the card type and the device; every tenth device is unknown."""
    rng = np.random.default_rng(seed)
    face = rng.lognormal(5.5, 1.0, rows)
    card_type = rng.choice(np.array(["any_pay", "fuel", "mall"], dtype=object), rows)
    device = rng.beta(0.3, 6, rows)
    device[rng.random(rows) < 0.1] = np.nan
    truth = expit(
        -5.2
        + 0.8 * (np.log(face) - 5.5)
        + 9 * np.nan_to_num(device, nan=0.05)
        + 1.2 * (card_type == "any_pay")
    )
    columns = {
        "card_face_cny": face,
        "card_type": card_type,
        "seller_count_1h": rng.poisson(0.5, rows).astype(float),
        "device_fraud_rate_30d": device,
        "ip_fraud_rate_30d": np.full(rows, np.nan),
    }
    submitted_at = np.sort(rng.integers(0, 30 * 86_400_000, rows))
    return Market(columns, truth, rng.random(rows) < truth, submitted_at)


def fit(trades: Market, **changes: Any) -> FraudModel:
    """A model of these trades; ``changes`` to what :func:`fit_fraud` is told."""
    told: dict[str, Any] = {
        "columns": trades.columns,
        "fraud": trades.fraud,
        "submitted_at": trades.submitted_at,
        "names": NAMES,
        "families": FAMILIES,
        "settings": QUICK,
    }
    return fit_fraud(**(told | changes))


def fitted(rows: int = 5000, settings: FraudFitSettings = QUICK) -> FraudModel:
    """A model of :func:`market`."""
    return fit(market(rows), settings=settings)

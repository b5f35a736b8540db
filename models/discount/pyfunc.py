"""Loads the discount model for MLflow's generic interface; its folder holds text and JSON, no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.discount.model import DiscountModel
from models.frames import columns_of_frame
from models.policy import Costs, PricePolicy

if TYPE_CHECKING:
    import pandas as pd

CATEGORICAL = ("card_type", "card_category", "card_form")


class DiscountPyfunc:
    """``predict``: a frame of feature columns -> rate, acceptance probability and resale range.

    Default costs and policy, no exploration: the rate is the model's own opinion.
    """

    def __init__(self, model: DiscountModel) -> None:
        self._model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, object] | None = None) -> pd.DataFrame:
        columns = columns_of_frame(model_input, categorical=CATEGORICAL)
        offers = self._model.price(
            columns=columns,
            face_value_fen=np.rint(columns["card_face_cny"] * 100).astype(np.int64),
            submitted_at=np.zeros(len(model_input), dtype=np.int64),
            costs=Costs(),
            policy=PricePolicy(exploration_half_width=0.0),
        )
        return model_input.iloc[:, :0].assign(
            rate=offers.rate,
            acceptance_probability=offers.acceptance_probability,
            resale_rate_p10=offers.resale_p10,
            resale_rate_p50=offers.resale_p50,
            resale_rate_p90=offers.resale_p90,
        )


def _load_pyfunc(path: str) -> DiscountPyfunc:
    return DiscountPyfunc(DiscountModel.load(Path(path)))

"""Loads the fraud model for MLflow's generic interface; the folder holds LightGBM text and JSON, no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.frames import columns_of_frame
from models.fraud.extras import EXTRAS
from models.fraud.model import FraudModel

if TYPE_CHECKING:
    import pandas as pd


class FraudPyfunc:
    """``predict``: a frame of feature columns -> one column ``fraud_probability``."""

    def __init__(self, model: FraudModel) -> None:
        self._model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, object] | None = None) -> pd.DataFrame:
        columns = columns_of_frame(model_input, categorical=(*self._model.encoding.categorical, EXTRAS))
        return model_input.iloc[:, :0].assign(fraud_probability=self._model.probability(columns))


def _load_pyfunc(path: str) -> FraudPyfunc:
    return FraudPyfunc(FraudModel.load(Path(path)))

"""What others would build first: a bare FastAPI app around the same models, with the features handed in.

It reads no state, decides nothing, records nothing and signs nothing: what remains of a quote is HTTP and the models.
``uvicorn --factory serving.commands.bench_bare:create`` serves it; ``HUIKA_BENCH_MODELS`` names the models' folders.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

if TYPE_CHECKING:
    from lightgbm import Booster

    from models.discount.model import DiscountModel
    from models.fraud.model import FraudModel

MODELS = "HUIKA_BENCH_MODELS"
"""Environment variable: a JSON object with the folders of both models, ``discount`` and ``fraud``."""

BOOSTERS = {
    "resale_mean": ("discount", "resale_mean.txt"),
    "resale_error": ("discount", "resale_error.txt"),
    "acceptance_usual": ("discount", "acceptance_usual.txt"),
    "acceptance_place": ("discount", "acceptance_place.txt"),
    "acceptance_slope": ("discount", "acceptance_slope.txt"),
    "fraud": ("fraud", "model.txt"),
}
"""Every booster that a quote asks: the model's folder and the file in it, which is not there where none was fitted."""


def create() -> FastAPI:
    """The app, its models loaded."""
    from models.discount.model import DiscountModel
    from models.fraud.model import FraudModel

    folders = {name: Path(folder) for name, folder in json.loads(os.environ[MODELS]).items()}
    boosters = load_boosters(folders)
    discount, fraud = DiscountModel.load(folders["discount"]), FraudModel.load(folders["fraud"])
    app = FastAPI(openapi_url=None)

    @app.post("/boosters")
    async def ask_boosters(request: Request) -> JSONResponse:
        return JSONResponse(ask(boosters, await request.json()))

    @app.post("/models")
    async def ask_models(request: Request) -> JSONResponse:
        return JSONResponse(price_and_score(await request.json(), discount=discount, fraud=fraud))

    @app.get("/ready")
    async def ready() -> JSONResponse:
        return JSONResponse({})

    return app


def load_boosters(folders: Mapping[str, Path]) -> dict[str, Booster]:
    """The boosters by name, from LightGBM's own files."""
    import lightgbm

    files = {name: folders[model] / file for name, (model, file) in BOOSTERS.items()}
    return {name: lightgbm.Booster(model_file=str(file)) for name, file in files.items() if file.exists()}


def ask(boosters: Mapping[str, Booster], inputs: Mapping[str, Any]) -> dict[str, list[float]]:
    """Plain ``Booster.predict`` of each, on its inputs: rows of numbers, null where unknown."""
    matrices = {name: np.array(rows, dtype=np.float64) for name, rows in inputs.items()}
    return {
        name: np.asarray(booster.predict(matrices[name], num_threads=1)).tolist()
        for name, booster in boosters.items()
    }


def price_and_score(
    body: Mapping[str, Any], *, discount: DiscountModel, fraud: FraudModel
) -> dict[str, list[float]]:
    """Rates and fraud probabilities by the same model classes that the service asks, from features by name."""
    from models.policy import Costs, PricePolicy

    texts = set(body["texts"])
    columns = {
        name: np.array(values, dtype=object if name in texts else np.float64)
        for name, values in body["features"].items()
    }
    offers = discount.price(
        columns=columns,
        face_value_fen=np.array(body["face_value_fen"], dtype=np.int64),
        submitted_at=np.array(body["submitted_ms"], dtype=np.int64),
        costs=Costs(),
        policy=PricePolicy(),
    )
    return {
        "rate": offers.rate.tolist(),
        "acceptance_probability": offers.acceptance_probability.tolist(),
        "fraud_probability": fraud.probability(columns).tolist(),
    }

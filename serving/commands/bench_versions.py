"""Other versions of a workspace's models, made from the champions in a moment: for the bench of swaps and the tests."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from models.discount.model import DiscountModel
from models.fraud.decision import Thresholds
from models.golden import Model, golden_inputs, load_model, write_golden
from models.registry import CHAMPION, ModelRegistry, ModelVersion, Submission

Change = Callable[[str, Model], Model]


def variant(name: str, model: Model) -> Model:
    """The same model with other answers: a discount model that fears more fraud, a fraud model whose decisions cost
    otherwise."""
    if isinstance(model, DiscountModel):
        share = model.fraud_share
        dearer = replace(share, default=share.default * 1.5, intercept=share.intercept + 0.5)
        return replace(model, fraud_share=dearer)
    return model.with_thresholds(Thresholds(hold_fen=50.0, review_fen=80.0, refuse_fen=40.0))


@contextmanager
def submission_of(registry: ModelRegistry, name: str, *, change: Change = variant) -> Iterator[Submission]:
    """A model made from the champion, saved with golden rows and ready to be registered."""
    from features.definitions import FEATURES
    from models.frames import frame_of_columns
    from pipelines.feature_pins import write_versions

    champion = registry.version(name, CHAMPION)
    source = registry.folder(champion)
    columns = golden_inputs(source)
    with tempfile.TemporaryDirectory(prefix="huika-bench-") as work:
        folder = Path(work) / name
        model = change(name, load_model(name, source))
        model.save(folder)
        write_versions(folder, registry=FEATURES, model=name)
        write_golden(folder, model=model, columns=columns)
        yield Submission(
            name=name,
            folder=folder,
            loader=f"models.{name}.pyfunc",
            example=frame_of_columns(dict(columns), 5),
            params={},
            metrics={},
            plots=(),
            tags={"trained_until": champion.tags["trained_until"]},
        )


def register_variant(registry: ModelRegistry, name: str, *, alias: str) -> ModelVersion:
    """Register such a model."""
    with submission_of(registry, name) as submission:
        return registry.register(submission, alias=alias)

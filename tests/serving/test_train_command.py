"""`huika train`: what it says of the models that it cannot train."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.discount.training import DiscountFitSettings
from pipelines.training import training
from tests.serving.command import run

HEAD = "trade_id,submitted_at,seller_id,card_type,face_value_cny,fraud,fraud_known_at\n"
ROW = "t{0},2025-03-0{0}T10:00:00+08:00,s{0},jd_ecard,100,{1},2025-03-20T10:00:00+08:00\n"
COLUMNS = ("accepted", "decided_at", "offered_rate", "resale_rate", "resold_at")


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A workspace whose trades have labels and no outcomes."""
    path, home = tmp_path / "trades.csv", tmp_path / "home"
    path.write_text(HEAD + "".join(ROW.format(day, day == 3) for day in range(1, 10)))
    assert run("import", "--trades", path, "--home", home) == 0
    return home


def says_what_prices_need(text: str) -> bool:
    """Whether every column and both least counts are there."""
    settings = DiscountFitSettings()
    counts = (f"{settings.min_resales:,} resales", f"{settings.min_offers:,} decided offers")
    return all(part in text for part in (*COLUMNS, *counts))


def test_labels_without_outcomes_say_that_no_price_model_was_trained(
    labelled: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`huika train` trains the fraud model only, and says so with what the other needs; asked for fraud it does not."""
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(training, "train", lambda workspace, *, job, listener: asked.append(job.models) or [])
    capsys.readouterr()
    assert run("train", "--home", labelled) == 0
    out = capsys.readouterr().out
    assert "未训练定价模型" in out
    assert "The price model was not trained" in out
    assert says_what_prices_need(out)
    assert run("train", "fraud", "--home", labelled) == 0
    assert "price model" not in capsys.readouterr().out
    assert asked == [("fraud",), ("fraud",)]


def test_a_price_model_without_outcomes_is_refused_with_what_it_needs(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`huika train discount` names the columns and the least counts."""
    capsys.readouterr()
    assert run("train", "discount", "--home", labelled) == 1
    err = " ".join(capsys.readouterr().err.split())
    assert "no resale is known in this period" in err
    assert says_what_prices_need(err)

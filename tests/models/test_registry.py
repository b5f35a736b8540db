"""The registry's database: made when it is needed, and found by any address that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.registry import CHAMPION, ModelNotFound, ModelRegistry


def test_asking_for_a_model_makes_no_database(tmp_path: Path) -> None:
    """Where nothing was ever registered there is no model, and nothing is made to find that out."""
    registry = ModelRegistry(url=f"sqlite:///{tmp_path / 'mlflow.db'}", artifacts=tmp_path / "mlflow")
    assert registry.versions("fraud") == []
    assert registry.find("discount", CHAMPION) is None
    with pytest.raises(ModelNotFound, match="train one"):
        registry.version("fraud", CHAMPION)
    assert list(tmp_path.iterdir()) == []


def test_who_looks_for_aliases_finds_none_in_a_new_database(tmp_path: Path) -> None:
    """A service that starts before the first training follows an empty registry."""
    registry = ModelRegistry(url=f"sqlite:///{tmp_path / 'mlflow.db'}", artifacts=tmp_path / "mlflow")
    assert registry.aliases() == {}
    assert registry.versions("fraud") == []


@pytest.mark.parametrize("ending", ["", "?timeout=20"])
def test_models_are_found_by_any_address_of_their_file(trained_home: Path, ending: str) -> None:
    """Settings of the connection behind the file's name are not part of it."""
    url = f"sqlite:///{trained_home / 'mlflow.db'}{ending}"
    registry = ModelRegistry(url=url, artifacts=trained_home / "mlflow")
    assert registry.version("fraud", CHAMPION).version == "1"
    assert registry.aliases()["discount"] == {CHAMPION: "1"}

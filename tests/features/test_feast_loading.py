"""Feast is loaded as it is written, without what typeguard would add to each of its functions."""

from __future__ import annotations

import pytest
import typeguard

from features.store import FeatureStore


def test_feast_comes_without_its_type_checks_and_nobody_else_loses_theirs(tmp_path):
    """Feast's own constructors are as they are written; typeguard's decorator is itself again."""
    FeatureStore(tmp_path / "feast")
    from feast import Entity

    assert not [name for name in Entity.__init__.__code__.co_names if name.startswith("check_")]

    @typeguard.typechecked
    def half(number: int) -> float:
        return number / 2

    with pytest.raises(typeguard.TypeCheckError):
        half("2")  # pyright: ignore[reportArgumentType]

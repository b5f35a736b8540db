"""Feast is loaded as it is written, without what typeguard would add to each of its functions, and without a say in
which warnings are shown."""

from __future__ import annotations

import subprocess
import sys

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


def test_feast_leaves_it_to_the_command_which_warnings_are_shown():
    """After Feast is loaded a library's deprecation stays unseen where the command asked for that; every other warning
    is shown as before."""
    code = """
import warnings
warnings.filterwarnings("ignore", category=DeprecationWarning)
asked = list(warnings.filters)
from features.feast_loading import load_feast
load_feast()
assert warnings.filters == asked, warnings.filters
warnings.warn("of a library", DeprecationWarning)
warnings.warn("of ours", UserWarning)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert "of ours" in told
    assert "of a library" not in told

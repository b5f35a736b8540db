"""From named columns to the matrix that trees read."""

from __future__ import annotations

import numpy as np
import pytest

from models.matrix import FEW_ROWS, Encoding, MissingFeature, Taken

WORDS = np.array(["b", None, "a", "c"], dtype=object)


def test_few_rows_and_many_have_the_same_matrix():
    """A word's place in the vocabulary, nothing for unknown ones; however many rows there are."""
    columns = {"amount": np.array([1.5, np.nan, 3.0, 4.0]), "word": WORDS}
    encoding = Encoding.fit({"word": WORDS[:3]}, ["word"])
    encoding = Encoding(("amount", "word"), encoding.vocabularies)
    expected = np.array([[1.5, 1.0], [np.nan, np.nan], [3.0, 0.0], [4.0, np.nan]])
    np.testing.assert_array_equal(encoding.matrix(columns), expected)
    times = FEW_ROWS
    many = {name: np.tile(column, times) for name, column in columns.items()}
    np.testing.assert_array_equal(encoding.matrix(many), np.tile(expected, (times, 1)))


@pytest.mark.parametrize("rows", [1, FEW_ROWS + 1])
def test_absent_columns_are_named(rows: int):
    """All of them, for one row as for many."""
    with pytest.raises(MissingFeature, match="features missing: b, c"):
        Encoding(("a", "b", "c"), {}).matrix({"a": np.zeros(rows)})


def test_rows_are_taken_when_a_column_is_asked_for():
    """The rows asked for, in their order, again of rows already taken, with columns of those rows beside them."""
    columns = {"a": np.arange(5.0), "b": np.arange(5.0) * 10}
    taken = Taken(Taken(columns, np.array([4, 2, 0])), np.array([2, 0]), beside={"c": np.array([7.0, 8.0])})
    assert {name: list(column) for name, column in taken.items()} == {"a": [0, 4], "b": [0, 40], "c": [7, 8]}
    assert (len(taken), "b" in taken, "d" in taken, taken.get("d")) == (3, True, False, None)
    assert Taken(taken, np.array([False, True]))["c"] == [8]
    columns["a"] = np.arange(5.0) + 1
    assert list(taken["a"]) == [1, 5]

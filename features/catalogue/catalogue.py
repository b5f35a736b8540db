"""The catalogue of card types: reading it, looking things up, and overlaying a platform's own rows."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
import pyarrow as pa

from features.catalogue.rows import FILES, CardType, csv_rows, from_file_row, from_stored_row, to_stored_row
from features.table_store import TableStore
from features.tables import CARD_TYPES

Attribute = Literal["category", "max_face_fen", "registered", "validity_months", "min_rate", "max_rate"]

CLOSE = 3
"""So many card types at most are named as close to an unknown one."""


class UnknownCardType(KeyError):
    """A card type that the catalogue does not hold; the message names the closest ones it does."""

    def __init__(self, card_type: str, suggestions: tuple[str, ...]) -> None:
        super().__init__(card_type)
        self.card_type = card_type
        self.suggestions = suggestions

    def __str__(self) -> str:
        hint = f"; close to it: {', '.join(self.suggestions)}" if self.suggestions else ""
        return f"unknown card type 未知卡种 {self.card_type!r}{hint}"


@dataclass(frozen=True)
class Catalogue:
    """Card types by name (sorted), and the categories' names.

    ``categories`` maps a category to its name in Chinese and in English. A category of the user's own may be
    absent from it; it is then shown by its own name.
    """

    types: Mapping[str, CardType]
    categories: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, types: Iterable[CardType], categories: Mapping[str, tuple[str, str]]) -> Catalogue:
        """A catalogue of these rows. Raises ValueError when two of them share a name."""
        by_name: dict[str, CardType] = {}
        for row in types:
            if row.card_type in by_name:
                raise ValueError(f"card type {row.card_type!r} is there twice")
            by_name[row.card_type] = row
        return cls(types=dict(sorted(by_name.items())), categories=dict(categories))

    @classmethod
    def from_table(cls, table: pa.Table) -> Catalogue:
        """The catalogue of a stored table (``CARD_TYPES.schema``). Raises ValueError at an unusable cell."""
        return cls.of(map(from_stored_row, table.to_pylist()), _builtin_categories())

    def to_table(self) -> pa.Table:
        """The stored form, ``CARD_TYPES.schema`` in its order; ``source`` and ``confidence`` stay behind."""
        return pa.Table.from_pylist([to_stored_row(row) for row in self], schema=CARD_TYPES.schema)

    def get(self, card_type: str) -> CardType:
        """The row of ``card_type``. Raises UnknownCardType."""
        if card_type not in self.types:
            raise UnknownCardType(card_type, self.close_to(card_type))
        return self.types[card_type]

    def named(self, text: str) -> tuple[str, ...]:
        """Card types of which this is the name, in Chinese or in English, or their own in other letters: of any case
        and width."""
        word = _folded(text).strip()
        return tuple(row.card_type for row in self if word in _names(row))

    def close_to(self, text: str) -> tuple[str, ...]:
        """At most three card types that were probably meant: those so named, else those of a name most like it."""
        if named := self.named(text):
            return named[:CLOSE]
        close = difflib.get_close_matches(text.lower(), list(self.types), n=CLOSE, cutoff=0.5)
        if not close:
            by_name = {name: row.card_type for row in self for name in _names(row)}
            near = difflib.get_close_matches(_folded(text), list(by_name), n=CLOSE)
            close = dict.fromkeys(by_name[name] for name in near)
        return tuple(close)

    def merge(self, other: Catalogue) -> Catalogue:
        """Both catalogues' rows and categories; where they share a name, ``other`` wins."""
        return Catalogue.of(
            {**self.types, **other.types}.values(), categories={**self.categories, **other.categories}
        )

    def search(self, text: str) -> tuple[CardType, ...]:
        """Card types in whose slug, names, issuer or category every word of ``text`` occurs, in any case."""
        words = _folded(text).split()
        texts = ((row, self._searchable(row)) for row in self)
        return tuple(row for row, searchable in texts if all(word in searchable for word in words))

    def category_name(self, category: str) -> tuple[str, str]:
        """The category's name in Chinese and in English."""
        return self.categories.get(category, (category, category))

    def attribute(self, card_types: np.ndarray, name: Attribute) -> np.ndarray:
        """One attribute for a column of card types (n,), object array of str or None.

        Returns objects (str or None) for ``category`` and float64 for the rest: NaN where the card type or
        its value is unknown, ``registered`` as 1 or 0. Raises ValueError for any other name.
        """
        if name not in get_args(Attribute):
            raise ValueError(f"no vector lookup of {name!r}")
        types = self.types
        values = [getattr(types.get(card_type), name, None) for card_type in card_types.tolist()]
        return np.array(values, dtype=object if name == "category" else np.float64)

    def usual_face(self, card_types: np.ndarray, face_value_fen: np.ndarray) -> np.ndarray:
        """1 where the face value (n,) is a usual one of its card type, 0 where not, NaN without a list."""
        types = self.types
        usual = [
            float(fen in row.face_values_fen) if row and row.face_values_fen else np.nan
            for row, fen in zip(map(types.get, card_types.tolist()), face_value_fen.tolist(), strict=True)
        ]
        return np.array(usual, dtype=np.float64)

    def __iter__(self) -> Iterator[CardType]:
        return iter(self.types.values())

    def __len__(self) -> int:
        return len(self.types)

    def __contains__(self, card_type: object) -> bool:
        return card_type in self.types

    def _searchable(self, row: CardType) -> str:
        names = self.category_name(row.category)
        return _folded(" ".join((row.card_type, row.name_zh, row.name_en, row.issuer, row.category, *names)))


@cache
def load_catalogue() -> Catalogue:
    """The built-in catalogue: ``card_types.csv`` and ``categories.csv`` beside this module, read once."""
    return Catalogue.of(map(from_file_row, csv_rows(FILES / "card_types.csv")), _builtin_categories())


def workspace_catalogue(tables: TableStore) -> Catalogue:
    """The built-in catalogue with the workspace's imported card types over it. Creates nothing."""
    if tables.path("card_types") is None:
        return load_catalogue()
    return load_catalogue().merge(Catalogue.from_table(tables.read("card_types")))


@cache
def _builtin_categories() -> Mapping[str, tuple[str, str]]:
    return {row["category"]: (row["name_zh"], row["name_en"]) for row in csv_rows(FILES / "categories.csv")}


def _names(row: CardType) -> tuple[str, ...]:
    return tuple(map(_folded, (row.card_type, row.name_zh, row.name_en)))


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).casefold()

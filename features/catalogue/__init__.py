"""The catalogue of card types: what cards exist, who issues them, what they can be worth, how they look.

Data, not code: ``card_types.csv`` (one row per card type), ``categories.csv``, ``sources.csv``.

How to read a row of ``card_types.csv``
    The columns are those of :data:`features.tables.CARD_TYPES` in file form (yuan, ``|`` between several
    values), then ``source`` and ``confidence``. An empty cell means unknown, or any.

    * ``max_face_cny`` is the law's limit for a card issued in China: 1,000 for a bearer card, 5,000 for a
      named one. It is empty where no rule limits the face value.
    * ``validity_months`` is the law's minimum of 36 for bearer cards; a named card does not expire.
    * ``min_rate`` and ``max_rate`` are guard rails, not prices: wide on purpose.
    * ``number_pattern`` and ``secret_pattern`` match the whole text, written without spaces and dashes.
      A pattern stands there only where a source exists. Without one the cell stays empty.
    * A foreign card is one row per shop region (``apple_us``) or per currency (``steam_usd``), whichever
      it is locked to. Its face value in a trade is the foreign amount in yuan at the central parity rate of
      the day, so it has neither usual face values nor a maximum here.
    * ``source`` names what the row's terms rest on, by the entries of ``sources.csv``; ``note: ...`` adds
      what a reader must know. ``confidence`` is high (name, terms and band each have a source), medium (a
      known card, but its band or face values are general) or low (confirm with the issuer that the card
      exists in this form and is still redeemed before buying any).

How to add or correct a row
    1. Edit ``card_types.csv`` (or ``categories.csv``); keep the rows of one category together.
    2. Say in ``source`` where each changed term comes from; add a new kind of source to ``sources.csv``.
    3. Run ``pytest tests/features/test_catalogue.py``: it checks every row.

A platform's own card types need no edit here: import them into the workspace, and they override the
built-in row of the same name.
"""

from features.catalogue.catalogue import (
    Attribute,
    Catalogue,
    UnknownCardType,
    load_catalogue,
    workspace_catalogue,
)
from features.catalogue.detect import WHY, Candidate, detect, normalised
from features.catalogue.rows import CardType, yuan

__all__ = [
    "WHY",
    "Attribute",
    "Candidate",
    "CardType",
    "Catalogue",
    "UnknownCardType",
    "detect",
    "load_catalogue",
    "normalised",
    "workspace_catalogue",
    "yuan",
]

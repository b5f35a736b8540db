"""What users are told of the input tables is what the tables are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from features.tables import CARD_TYPES, MARKET, TABLES, TRADES, Table
from serving.cli import main
from serving.table_words import as_markdown, column_rows

DOC = Path(__file__).parent.parent.parent / "docs" / "import.md"


def sections() -> dict[str, str]:
    """Heading of the third order -> what stands below it, in docs/import.md."""
    parts = re.split(r"^#{2,3} (.+)$", DOC.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {head: text.strip() for head, text in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_document_lists_exactly_the_columns_there_are(table: Table) -> None:
    """Every column and every rule stands in docs/import.md as the tables have it, and nothing else does. Where this
    fails, ``serving.table_words.as_markdown`` gives the section anew."""
    assert sections()[table.name] == as_markdown(table)


def test_the_document_has_a_list_for_every_table_and_no_other() -> None:
    """The lists are those of the tables, in their order."""
    listed = re.findall(r"^### (\w+)$", DOC.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert listed == list(TABLES)


@pytest.mark.parametrize(
    ("table", "cells"),
    [
        (TRADES, ("submitted_at", "time", "yes", "the moment of the trade", "from submitted_at")),
        (TRADES, ("offer_centre", "number, 0 to 1", "", "rate around which it was drawn", "from submitted_at")),
        (TRADES, ("resold_at", "time", "", "when it was resold", "from resold_at")),
        (TRADES, ("accepted", "yes or no", "", "whether the seller accepted", "from decided_at")),
        (MARKET, ("rate", "fraction of face value, 0 to 1.5", "yes", "rate of face value", "from observed_at")),
        (CARD_TYPES, ("issuer", "text", "yes", "who issues and redeems it", "always")),
    ],
)  # fmt: skip
def test_a_column_is_told_with_what_it_holds_and_from_when_it_is_known(
    table: Table, cells: tuple[str, ...]
) -> None:
    """Unit and bounds, whether it is required, what it means, and the moment from which later trades see it."""
    assert cells in column_rows(table)


def test_import_prints_the_columns_without_a_workspace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`huika import --columns` names every column of every table, and makes nothing."""
    with pytest.raises(SystemExit) as end:
        main(["import", "--columns", "--home", str(tmp_path / "home")])
    out = capsys.readouterr().out
    assert end.value.code == 0
    for table in TABLES.values():
        for column in table.columns:
            assert re.search(rf"^\s*{column.name}\s", out, flags=re.MULTILINE), column.name
    assert not (tmp_path / "home").exists()

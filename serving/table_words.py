"""The columns of the input tables in words: what `huika import --columns` prints and docs/import.md lists."""

from __future__ import annotations

from collections.abc import Sequence

from features.tables import Column, Kind, Table

HEADINGS = ("column", "holds", "required", "meaning", "counts as known")
HOLDS: dict[Kind, str] = {
    "text": "text",
    "time": "time",
    "date": "day",
    "money": "yuan",
    "number": "number",
    "flag": "yes or no",
    "integer": "whole number",
    "object": "JSON",
}


def column_rows(table: Table) -> list[tuple[str, ...]]:
    """A row for each column, with the cells of :data:`HEADINGS`."""
    return [
        (column.name, _holds(column), "yes" if column.required else "", column.meaning, _known(table, column))
        for column in table.columns
    ]


def table_rules(table: Table) -> list[str]:
    """What holds across the columns, a sentence each."""
    rules = [f"No two rows have the same {_list(table.key)}."]
    if table.updates:
        rules.append(
            f"A later import may fill in or correct {_list(table.updates)} of a row. Other differences are refused; "
            "empty cells change nothing."
        )
    rules += [f"{pair.later} is never below {pair.earlier}." for pair in table.not_before]
    rules += [f"Where {pair.column} is given, {pair.needs} is too." for pair in table.together]
    rules += [
        f"Where an import changes {_list(one.to, 'or')} and does not give {one.column}, "
        f"the stored {one.column} is cleared."
        for one in table.belongs
    ]
    return rules


def as_markdown(table: Table) -> str:
    """The rows and the rules as docs/import.md has them."""
    names = {column.name for column in table.columns}
    clear = {name for name in names if "_" in name}  # the others are words of plain sentences too
    rows = [[f"`{name}`", *(_marked(cell, clear) for cell in cells)] for name, *cells in column_rows(table)]
    lines = [" | ".join(cells) for cells in (HEADINGS, ["---"] * len(HEADINGS), *rows)]
    rules = [f"- {_marked(rule, names)}" for rule in table_rules(table)]
    return "\n".join([*(f"| {line} |" for line in lines), "", *rules])


def _holds(column: Column) -> str:
    if column.values is not None:
        return _list(column.values, "or")
    unit = "fraction of face value" if column.name.endswith("rate") else HOLDS[column.kind]
    if column.low is None:
        return unit
    if column.high is None:
        return f"{unit}, at least {_plain(column.low)}"
    return f"{unit}, {_plain(column.low)} to {_plain(column.high)}"


def _plain(number: float) -> str:
    return f"{number:,.6f}".rstrip("0").rstrip(".")


def _known(table: Table, column: Column) -> str:
    moment = column.known_at or next((n for n in table.order if table.column(n).kind == "time"), None)
    return "always" if moment is None else f"from {moment}"


def _list(names: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])


def _marked(text: str, names: set[str]) -> str:
    """The text in Markdown, with code marks around the names."""

    def marked(word: str) -> str:
        bare = word.rstrip(",.:;")
        return f"`{bare}`{word[len(bare) :]}" if bare in names else word

    return " ".join(map(marked, text.replace("|", "\\|").split(" ")))

"""``huika cards``: the card types a platform can buy, and which ones a number could be."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from features.catalogue import Candidate, CardType, Catalogue

# Columns of the table and the terminal width from which each is shown; the narrowest keep what identifies.
COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("卡种 card type", "card_type", 0),
    ("中文名", "name_zh", 0),
    ("English", "name_en", 90),
    ("发行方 issuer", "issuer", 150),
    ("类别 category", "category", 70),
    ("形式 form", "forms", 170),
    ("面值 faces ¥", "face_values", 190),
    ("最高 max ¥", "max_face", 110),
    ("区间 band", "band", 0),
)
FORMS = {"virtual": "电子 virtual", "physical": "实体 physical"}


def cards(
    search: Annotated[
        str | None,
        typer.Argument(help="Words of the name, issuer or category; either language. 名称、发行方或类别。"),
    ] = None,
    category: Annotated[
        str | None, typer.Option("--category", help="Only this category (slug or name). 只看该类别。")
    ] = None,
    detect: Annotated[
        bool,
        typer.Option(
            "--detect",
            help="Recognise a card from its number and secret: asked for without echo, or two lines on "
            "standard input. 按卡号、卡密识别卡种，输入不回显。",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output. 输出 JSON。")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """List or search card types, or recognise one from its number. 卡种：列表、查询、按卡号识别。

    A workspace's own card types stand over the built-in ones. Numbers and secrets are never an argument, so
    they do not end up in the shell's history.
    """
    from features.catalogue import workspace_catalogue
    from features.table_store import TableStore

    catalogue = workspace_catalogue(TableStore(home.expanduser() / "tables"))
    if detect:
        if search or category:
            raise Refusal(
                "--detect takes neither a search nor a category, and the number is typed when asked for or piped in, "
                "never an argument 识别时不能同时查询；卡号按提示输入或由管道传入，不作参数"
            )
        return _show_candidates(_detected(catalogue), catalogue=catalogue, as_json=as_json)
    found = catalogue.search(search or "")
    if category:
        slug = _category(category, catalogue)
        found = tuple(row for row in found if row.category == slug)
    if not found:
        raise Refusal("没有相符的卡种。 No card type matches.")
    return _show_cards(found, catalogue=catalogue, as_json=as_json)


def _category(wanted: str, catalogue: Catalogue) -> str:
    """The category's slug from its slug or either name. Raises Refusal listing those there are."""
    slugs = sorted({row.category for row in catalogue})
    for slug in slugs:
        if wanted.casefold() in (slug, *(name.casefold() for name in catalogue.category_name(slug))):
            return slug
    raise Refusal(f"no category 没有此类别 {wanted!r}; there are: {', '.join(slugs)}")


def _detected(catalogue: Catalogue) -> tuple[Candidate, ...]:
    from features.catalogue import detect as detect_card

    number, secret = _read_number_and_secret()
    if not number and not secret:
        raise Refusal("neither a number nor a secret was given 未输入卡号或卡密")
    return detect_card(number, secret=secret, catalogue=catalogue)


def _read_number_and_secret() -> tuple[str, str]:
    """From the terminal without echo, or the first two lines of standard input; either may be empty."""
    if not _at_terminal():
        return sys.stdin.readline().strip(), sys.stdin.readline().strip()
    labels = ("卡号 card number", "卡密 secret (可留空 may be empty)")
    number, secret = (typer.prompt(text, default="", show_default=False, hide_input=True) for text in labels)
    return number, secret


def _at_terminal() -> bool:
    return sys.stdin.isatty()


def _show_candidates(found: Sequence[Candidate], *, catalogue: Catalogue, as_json: bool) -> None:
    from features.catalogue import WHY

    if as_json:
        return print(json.dumps([dataclasses.asdict(one) for one in found], ensure_ascii=False, indent=1))
    console = _console()
    if not found:
        return console.print("没有格式相符的卡种。 No card type has this format.")
    table = _table(
        console, "候选卡种，请确认 Candidates, to be confirmed", ("卡种 card type", "名称 name", "依据 why")
    )
    for one in found:
        row = catalogue.get(one.card_type)
        table.add_row(one.card_type, f"{row.name_zh} {row.name_en}", " ".join(WHY[one.why]))
    return console.print(table)


def _show_cards(found: Sequence[CardType], *, catalogue: Catalogue, as_json: bool) -> None:
    if as_json:
        return print(json.dumps([dataclasses.asdict(row) for row in found], ensure_ascii=False, indent=1))
    console = _console()
    shown = [(title, key) for title, key, width in COLUMNS if console.width >= width]
    table = _table(console, f"{len(found)} 个卡种 card types", [title for title, _ in shown])
    for row in sorted(found, key=lambda row: (row.category, row.card_type)):
        cells = _cells(row, catalogue)
        table.add_row(*(cells[key] for _, key in shown))
    return console.print(table)


def _cells(row: CardType, catalogue: Catalogue) -> dict[str, str]:
    from features.catalogue import yuan

    return {
        "card_type": row.card_type,
        "name_zh": row.name_zh,
        "name_en": row.name_en,
        "issuer": row.issuer,
        "category": " ".join(dict.fromkeys(catalogue.category_name(row.category))),
        "forms": ", ".join(FORMS.get(form, form) for form in row.forms),
        "face_values": " ".join(yuan(fen) for fen in row.face_values_fen) or "不限 any",
        "max_face": "–" if row.max_face_fen is None else yuan(row.max_face_fen),
        "band": f"{row.min_rate:.3f}–{row.max_rate:.3f}",
    }


def _console() -> Console:
    from rich.console import Console

    return Console(markup=False, highlight=False)


def _table(console: Console, title: str, columns: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(title=title, box=None, padding=(0, 1), header_style="bold", title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

"""``huika read-card``: what a photo of a card seems to say, for its seller to confirm."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from features.catalogue import Catalogue
    from pipelines.recycling.proposals import Proposal, ReadField

FIELDS = {
    "card_type": "卡种 card type",
    "number": "卡号 number",
    "secret": "卡密 secret",
    "face_value": "面值 face value",
    "expires_on": "有效期 expiry",
}
SHOWN_MARKS = 4
"""How much of a number's end is shown; of a secret nothing but its length."""


def read_card(
    photo: Annotated[Path, typer.Argument(help="JPEG, PNG or WebP.", exists=True, dir_okay=False)],
    twice: Annotated[bool, typer.Option("--twice", help="Look twice and doubt what differs.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Read a card from a photo and print the proposal, number and secret masked. 识别卡片照片，供卖家确认。

    Nothing is stored or priced. What the rules doubt is said; everything else still wants a person's eye.
    """
    from features.catalogue import workspace_catalogue
    from features.table_store import TableStore
    from pipelines.recycling.card_photo import PhotoRefused
    from pipelines.recycling.reading import CardReader

    catalogue = workspace_catalogue(TableStore(home.expanduser() / "tables"))
    reader = CardReader(second_look=twice)
    try:
        today = datetime.now().astimezone().date()
        proposal = reader.read(photo.read_bytes(), catalogue=catalogue, today=today)
    except PhotoRefused as refusal:
        raise Refusal(str(refusal)) from None
    _show(proposal, catalogue=catalogue)


def masked(code: str, *, shown: int) -> str:
    """``code`` with all but its last ``shown`` marks hidden; nothing of a short one is shown."""
    kept = code[-shown:] if 0 < shown <= len(code) // 3 else ""
    return "•" * (len(code) - len(kept)) + kept


def _show(proposal: Proposal, *, catalogue: Catalogue) -> None:
    from rich.table import Table

    from features.catalogue import yuan
    from pipelines.recycling.proposals import WORDS
    from serving.output import console

    face, until = proposal.face_value_fen, proposal.expires_on
    values = {
        "card_type": " / ".join(_named(one.card_type, catalogue) for one in proposal.candidates),
        "number": masked(proposal.number.value.open(), shown=SHOWN_MARKS),
        "secret": masked(proposal.secret.value.open(), shown=0),
        "face_value": "" if face is None else f"¥{yuan(face)}",
        "expires_on": "" if until is None else until.isoformat(),
    }
    table = Table(title="识别结果，须由卖家逐项确认 A proposal: the seller confirms every field", box=None)
    for header in ("", "读到 read", "已核对 checked by", "存疑 doubts"):
        table.add_column(header, overflow="fold")
    doubts = proposal.doubts()
    for name, title in FIELDS.items():
        said = "; ".join(" ".join(WORDS[doubt]) for doubt in doubts.get(name, ()))
        table.add_row(title, values[name], _checked(name, proposal), said)
    console().print(table)


def _named(card_type: str, catalogue: Catalogue) -> str:
    return f"{card_type} {catalogue.get(card_type).name_zh}"


def _checked(name: str, proposal: Proposal) -> str:
    if name == "card_type":
        return proposal.candidates[0].because.replace("_", " ") if proposal.candidates else ""
    fields: dict[str, ReadField] = {
        "number": proposal.number,
        "secret": proposal.secret,
        "face_value": proposal.face_value,
        "expires_on": proposal.expiry,
    }
    return ", ".join(rule.replace("_", " ") for rule in fields[name].checked)

"""``huika vault``: where card numbers and secrets are kept."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.recycling.vault import Vault

CardId = Annotated[str, typer.Argument(help="The card's id in the vault.")]
Destroy = Annotated[
    bool,
    typer.Option(
        "--destroy-former", help="Destroy the keys that wrap nothing any more: old backups stay closed, too."
    ),
]
Second = Annotated[
    str, typer.Option("--second", help="Who agrees, for a card of large value; somebody else than you.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; asked for where it is not given.")]

vault = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Card numbers and secrets: what wraps them, rotation, shredding, and looking at one.",
)


@vault.command("status")
def status(home: Home = DEFAULT_HOME) -> None:
    """Show how many cards each key wraps, and how many are shredded. Nothing of a card."""
    with _opened(home) as opened:
        counted = opened.status()
        current = opened.keys.current()
    shredded = counted.pop("shredded", 0)
    for kek_id in sorted({*counted, current}):
        use = "wraps new cards" if kek_id == current else "waits for `huika vault rotate`"
        print(f"{kek_id}  {counted.get(kek_id, 0)} cards  {use}")
    print(f"shredded  {shredded} cards")


@vault.command("rotate")
def rotate(destroy_former: Destroy = False, home: Home = DEFAULT_HOME) -> None:
    """Wrap every card's data key with a new key. It may be stopped and run again."""
    from pipelines.recycling import vault_rotation

    with _opened(home) as opened:
        done = vault_rotation.rotate(opened, actor=_actor(), now=datetime.now(UTC))
        if destroy_former:
            for kek_id in done.unused:
                opened.keys.destroy(kek_id)
    if done.resumed:
        print("went on with a rotation that was not finished; run it again for a new key")
    print(f"{done.rewrapped} data keys are wrapped with {done.kek_id} now")
    for kek_id in done.unused:
        print(f"{kek_id} {'is destroyed' if destroy_former else 'wraps nothing any more'}")
    if done.damaged:
        raise Refusal(
            f"{len(done.damaged)} cards do not open and keep their wrapping: {', '.join(done.damaged)}"
        )


@vault.command("shred")
def shred(card_id: CardId, home: Home = DEFAULT_HOME) -> None:
    """Destroy a card's data key: nobody reads it any more. It stays known as a duplicate."""
    with _opened(home) as opened:
        done = opened.shred(card_id, actor=_actor(), now=datetime.now(UTC))
    print(f"{card_id} {'is shredded' if done else 'was shredded before'}")


@vault.command("reveal")
def reveal(card_id: CardId, reason: Reason = "", second: Second = "", home: Home = DEFAULT_HOME) -> None:
    """Print a card's number and secret, once. Who, when and why is kept, here and in the evidence log.

    Whoever may read the keys of this machine is taken for an admin, and who agrees is believed: two people of the
    service prove who they are.
    """
    told = reason or typer.prompt("reason 理由", err=True)
    with _opened(home) as opened:
        shown = opened.reveal(
            card_id,
            actor=_actor(),
            role="admin",
            reason=told,
            second_actor=second or None,
            now=datetime.now(UTC),
        )
    print(f"number 卡号  {shown.number.open()}")
    print(f"secret 卡密  {shown.secret.open()}")


@contextmanager
def _opened(home: Path) -> Iterator[Vault]:
    """The vault of a workspace; what it refuses is told in one line."""
    from pipelines.recycling.safekeeping import leaf_of_reveal, open_evidence, open_vault
    from pipelines.recycling.vault import VaultRefusal
    from pipelines.recycling.vault_keys import VaultKeyError
    from pipelines.recycling.vault_rules import RevealRefused
    from pipelines.workspace import Workspace

    if not home.exists():
        raise Refusal(f"no workspace at {home}")
    workspace = Workspace.open(home)
    try:
        yield open_vault(workspace, on_reveal=leaf_of_reveal(open_evidence(workspace)))
    except (VaultRefusal, VaultKeyError, RevealRefused) as error:
        raise Refusal(str(error)) from None


def _actor() -> str:
    return f"local:{getpass.getuser()}"

"""``huika signing``: the keys that sign quotes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.signing_keys import SigningKeys

Json = Annotated[bool, typer.Option("--json", help="The public keys as a JSON Web Key Set.")]

signing = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="The keys that sign quotes, so that anybody can verify one offline.",
)


@signing.command("show")
def show(as_json: Json = False, home: Home = DEFAULT_HOME) -> None:
    """List the public keys and say which one signs."""
    from pipelines.signing import jwks

    keys = _keys(home)
    signer = keys.signer()
    published = keys.published()
    if as_json:
        return print(json.dumps(jwks(published), indent=1))
    for kid in sorted(published, key=lambda kid: kid != signer.kid):
        print(f"{kid}  {'signs quotes' if kid == signer.kid else 'verifies older quotes'}")
    return None


@signing.command("rotate")
def rotate(home: Home = DEFAULT_HOME) -> None:
    """Make a new key that signs from now on. Quotes signed before stay verifiable; a running service signs with the
    former key until it starts again."""
    former, new = _keys(home).rotate()
    print(f"{new.kid} signs quotes from now on; a running service takes it when it starts again")
    if former is not None:
        print(f"{former.kid} stays published for the quotes that it signed; its private half is destroyed")


def _keys(home: Path) -> SigningKeys:
    from pipelines.signing_keys import signing_keys
    from pipelines.workspace import Workspace

    if not home.exists():
        raise Refusal(f"no workspace at {home}")
    return signing_keys(Workspace.open(home))

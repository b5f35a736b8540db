"""``huika serve``: run the HTTP service."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands.counting import counting_folder
from serving.options import DEFAULT_HOME, Home
from serving.refusals import Refusal

if TYPE_CHECKING:
    from pipelines.workspace import Workspace

SERVICE = "serving.api.service:Huika"
LEFT_SECONDS = 5.0
"""How long the workers of a service that was killed may take to end."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8700,
    workers: Annotated[int, typer.Option(help="Worker processes.", min=1)] = 1,
    home: Home = DEFAULT_HOME,
) -> None:
    """Run the service: quotes, fraud scores, events and the price board under /v1, until stopped."""
    from pipelines.databases import await_database
    from pipelines.workspace import Workspace
    from serving.progress import bar

    workspace = Workspace.open(home)
    hold_workspace(workspace)
    check_port(host, port)
    await_database(workspace.application_url)
    check_keys(workspace)
    with bar("live state") as progress:
        prepare(workspace, progress=progress, now=datetime.now(UTC))
    advise_key(workspace)
    print(f"starting; answers once http://{host}:{port}/readyz does (API description: /docs.json)")
    sys.stdout.flush()
    os.environ |= service_environment(workspace, workers=workers)
    os.execv(sys.executable, service_command(host=host, port=port))


def hold_workspace(workspace: Workspace) -> None:
    """Let one service run on a workspace: the lock lasts as long as this process, also when it becomes Bento.

    Raises Refusal where another service holds it.
    """
    lock = os.open(workspace.home / "serve.lock", os.O_CREAT | os.O_RDWR)
    end = time.monotonic() + LEFT_SECONDS
    while not _locked(lock):
        if time.monotonic() >= end:
            os.close(lock)
            raise Refusal(f"a service is already running on {workspace.home}")
        time.sleep(0.1)
    os.set_inheritable(lock, True)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def check_port(host: str, port: int) -> None:
    """Refuse a port that is taken before anything is changed. Raises Refusal."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Refusal(
                f"cannot listen on {host} port {port} ({error.strerror}); try another --port"
            ) from None


def check_keys(workspace: Workspace) -> None:
    """Stop the start where keys are missing with which something was signed or sealed. Raises SigningKeyError,
    VaultKeyError."""
    from pipelines.recycling.safekeeping import leaf_of_reveal, open_evidence, open_vault
    from pipelines.signing_keys import signing_keys

    signing_keys(workspace).signer()
    evidence = open_evidence(workspace)
    evidence.keys.signer()
    vault = open_vault(workspace, on_reveal=leaf_of_reveal(evidence))
    if workspace.settings.vault.keys == "file":  # one that is elsewhere may come up later
        vault.keys.current()


def prepare(workspace: Workspace, *, progress: Callable[[int, int], None], now: datetime) -> None:
    """Bring the recorded quotes and events into the tables, and the live state up to date with them."""
    from pipelines.application_data import ApplicationData
    from pipelines.live_state import open_live_log, prepare_live_state
    from pipelines.terms import terms_of
    from pipelines.training.collecting import with_collected
    from pipelines.wiring import feature_store

    terms_of(workspace)  # a rule that cannot be used must stop the start too
    store = feature_store(workspace)
    log = open_live_log(workspace, store=store, data=ApplicationData(workspace.application_url))
    log.live.blank(
        any_trade(now)
    )  # a definition that cannot be computed must stop the start, not every worker
    live_state = partial(prepare_live_state, workspace, log=log, store=store, now=now, progress=progress)
    with_collected(workspace, lambda held: live_state(held=held))


def any_trade(now: datetime) -> dict[str, Any]:
    """A trade that every feature can be computed for."""
    from features.rows import SPINE_COLUMNS

    known = {
        "trade_id": "any",
        "submitted_at": now,
        "seller_id": "any",
        "card_type": "any",
        "face_value_fen": 100,
    }
    return dict.fromkeys(SPINE_COLUMNS) | known


def advise_key(workspace: Workspace) -> None:
    """Say how to get in where nobody can yet."""
    from pipelines.access_data import AccessData
    from pipelines.application_data import ApplicationData

    keys = AccessData.open(ApplicationData(workspace.application_url)).all_keys()
    if all(key.revoked_at is not None for key in keys) and not workspace.settings.access.issuer:
        print("there is no API key yet, and without one only the price board is open; make one with")
        print(f"  huika keys add my-site --role pricing_client --home {workspace.home}")


def service_command(*, host: str, port: int) -> list[str]:
    """The process that serves; Bento starts its workers."""
    return [sys.executable, "-m", "bentoml", "serve", SERVICE, "--host", host, "--port", str(port)]


def service_environment(workspace: Workspace, *, workers: int) -> dict[str, str]:
    """What the service that this process starts or becomes must be told."""
    return {
        "HUIKA_HOME": str(workspace.home),
        "HUIKA_WORKERS": str(workers),
        "BENTOML_HOME": str(counting_folder(otherwise=workspace.home / "bento")),
        "PYTHONWARNINGS": "ignore::DeprecationWarning",
    }

"""What a client owns is the client's, whichever of its keys it comes with, and nobody else's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest
from fastapi.testclient import TestClient

from pipelines.access_data import AccessData
from pipelines.workspace import Workspace
from serving.api import submission_examples as examples
from serving.api.access.roles import Role
from serving.api.desk import Desk
from serving.cli import main
from serving.commands.access import end_keys, make_key
from tests.serving.clients import UNLIMITED, code, one_of_each_role
from tests.serving.conftest import Clock
from tests.serving.test_access_limits import Seconds
from tests.serving.test_api import submission
from tests.serving.test_submissions import issuer, provider, seller, work

__all__ = ["issuer", "provider", "seller"]

Headers = dict[str, str]


@dataclass
class Keys:
    """Keys of the workspace beside those of the roles; the service knows each change at once."""

    client: TestClient
    workspace: Workspace
    clock: Clock

    def add(self, name: str, role: Role = Role.PRICING_CLIENT) -> Headers:
        """What a client with a new key of this name sends."""
        key = make_key(self.workspace, name=name, roles=[role], now=self.clock.now)
        self._known()
        return {"Authorization": f"Bearer {key}"}

    def revoke(self, which: Headers) -> None:
        end_keys(
            self.workspace, "_".join(which["Authorization"].split()[1].split("_")[:2]), now=self.clock.now
        )
        self._known()

    def _known(self) -> None:
        self.client.app.state.access.keys.refresh()  # pyright: ignore[reportFunctionMemberAccess]


@pytest.fixture
def keys(client: TestClient, desk: Desk, live_workspace: Workspace, clock: Clock) -> Keys:
    data = AccessData.open(desk.data)
    client.app.state.access = one_of_each_role(others=data.all_keys)  # pyright: ignore[reportFunctionMemberAccess]
    return Keys(client, live_workspace, clock)


def quoted(client: TestClient, clock: Clock, headers: Headers) -> tuple[str, str]:
    """A submission of this client with its quote's id, ready to be accepted."""
    one = client.post("/v1/submissions", json=examples.NEW["a JD e-card"], headers=headers).json()
    one = one["submission_id"]
    work(client, clock)
    found = client.get(f"/v1/submissions/{one}").json()
    if found["state"] == "person_needed":
        decided = {"decision": "approve", "reason": "test"}
        found = client.post(f"/v1/submissions/{one}/decisions", json=decided).json()
    assert found["state"] == "quoted", found
    clock.forward(seconds=5)
    return one, found["quote_id"]


def test_a_rotated_key_loses_nothing(seller, keys, clock):
    """After its key was replaced and the old one revoked, a partner sees and accepts what it submitted with the old
    one, and a repeated request gets the first answer. Another partner sees nothing of it."""
    old, new, stranger = keys.add("shop"), keys.add("shop"), keys.add("other")
    one, quote_id = quoted(seller, clock, old)
    again = {"Idempotency-Key": "k-1"}
    first = seller.post("/v1/quotes", json=submission(), headers=old | again).json()
    keys.revoke(old)
    assert seller.get(f"/v1/submissions/{one}", headers=old).status_code == 401
    assert seller.get(f"/v1/submissions/{one}", headers=new).json()["state"] == "quoted"
    assert seller.post("/v1/quotes", json=submission(), headers=new | again).json() == first
    path, body = f"/v1/submissions/{one}/acceptance", {"quote_id": quote_id}
    assert code(seller.post(path, json=body, headers=stranger)) == (404, "submission_not_found")
    assert seller.post(path, json=body, headers=new).json()["state"] == "accepted"


def test_two_keys_of_one_name_are_held_to_one_rate_and_are_one_person(client, keys, desk):
    """A second key of a name buys no more requests, and agrees to nothing that the first one asked."""
    first, second = keys.add("anna", Role.OPERATOR), keys.add("anna", Role.OPERATOR)
    one = client.post("/v1/submissions", json=examples.NEW["a JD e-card"]).json()["submission_id"]
    asked = client.post(f"/v1/submissions/{one}/reveals", json={"reason": "a dispute"}, headers=first).json()
    approval = f"/v1/reveals/{asked['reveal_id']}/approval"
    assert code(client.post(approval, headers=second)) == (409, "own_request")
    settings = UNLIMITED.model_copy(update={"requests_per_second": 1})
    stored = AccessData.open(desk.data).all_keys
    client.app.state.access = one_of_each_role(settings, clock=Seconds(), others=stored)
    told = [
        client.get("/v1/recycling/numbers", headers=headers).status_code for headers in (first, second) * 2
    ]
    assert told[2:] == [429, 429]


@pytest.fixture
def huika(live_workspace: Workspace, capsys: pytest.CaptureFixture[str]):
    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([*words, "--home", str(live_workspace.home)])
        told = capsys.readouterr()
        return int(end.value.code or 0), told.out.strip(), told.err.strip()

    return run


def test_a_key_is_revoked_by_its_id_or_by_a_name_that_has_no_other(huika):
    """With two keys of a name the name is not enough, unless --all says so; a name is never the id of something."""
    added = partial(huika, "keys", "add", "shop", "--role", "pricing_client")
    old, (_, new, note) = added()[1].rpartition("_")[0], added()
    old, new = (key.split("_")[0] + "_" + key.split("_")[1] for key in (old, new))
    assert old in note
    status, _, told = huika("keys", "revoke", "shop")
    assert (status, old in told, new in told) == (1, True, True)
    assert huika("keys", "revoke", old)[:2] == (
        0,
        f"revoked {old}; a running service knows it within seconds",
    )
    assert huika("keys", "revoke", old)[0] == 1
    assert huika("keys", "revoke", "shop")[0] == 0
    added(), added()
    assert huika("keys", "revoke", "shop", "--all")[1].count("hk_") == 2
    for name in ("hk_nope", "u_0123456789ab"):
        assert huika("keys", "add", name, "--role", "pricing_client")[0] == 1


def test_callbacks_are_told_to_a_client_that_there_is(huika):
    """An address is set for the name of keys in use, not for a key or for nobody."""
    _, key, _ = huika("keys", "add", "shop", "--role", "pricing_client")
    hook = "http://127.0.0.1:9/hook"
    assert huika("callbacks", "set", "hk_nope", hook)[0] == 1
    status, _, told = huika("callbacks", "set", "_".join(key.split("_")[:2]), hook)
    assert (status, "one key of shop" in told) == (1, True)
    assert huika("callbacks", "set", "shop", hook)[0] == 0
    assert "shop" in huika("callbacks", "list")[1]

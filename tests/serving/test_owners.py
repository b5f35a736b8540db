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
from tests.serving.clients import UNLIMITED, code, headers_of, one_of_each_role
from tests.serving.conftest import Clock
from tests.serving.test_access_limits import Seconds
from tests.serving.test_api import submission
from tests.serving.test_receipt_route import quoted
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


def ready(client: TestClient, clock: Clock, headers: Headers) -> tuple[str, str]:
    """A submission of this client with its quote's id, ready to be accepted."""
    found = quoted(client, clock, headers)
    clock.forward(seconds=5)
    return found["submission_id"], found["quote_id"]


def test_a_rotated_key_loses_nothing(seller, keys, clock):
    """After its key was replaced and the old one revoked, a partner sees and accepts what it submitted with the old
    one, and a repeated request gets the first answer. Another partner sees nothing of it."""
    old, new, stranger = keys.add("shop"), keys.add("shop"), keys.add("other")
    one, quote_id = ready(seller, clock, old)
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


@pytest.mark.both_storages
def test_a_quote_is_seen_by_who_asked_and_by_staff(client, keys, storage):
    """Another partner does not find it, asked alone or in a batch; analysts, operators and administrators do."""
    own, stranger = keys.add("shop"), keys.add("other")
    alone = client.post("/v1/quotes", json=submission(), headers=own).json()
    body = {"submissions": [submission()]}
    batch = client.post("/v1/quotes/batch", json=body, headers=own).json()["results"][0]["quote"]
    for quote in (alone, batch):
        path = f"/v1/quotes/{quote['quote_id']}"
        assert code(client.get(path, headers=stranger)) == (404, "quote_not_found")
        for role in (Role.RISK_ANALYST, Role.OPERATOR, Role.ADMIN):
            assert client.get(path, headers=headers_of(role)).json() == quote
        assert client.get(path, headers=own).json() == quote


def event(kind: str, trade_id: str, number: str, **more: str) -> dict[str, str]:
    return {"kind": kind, "trade_id": trade_id, "event_id": f"{trade_id}-{number}", **more}


@pytest.mark.both_storages
def test_a_trade_is_told_about_by_who_asked_and_by_staff(client, keys, desk, storage):
    """To another partner it does not exist, also where it repeats what was told; labels stay the analysts', and
    nothing of a stranger's word is recorded."""
    own, stranger = keys.add("shop"), keys.add("other")
    trade_id = client.post("/v1/quotes", json=submission(), headers=own).json()["trade_id"]
    told = event("accepted", trade_id, "1", happened_at=desk.clock().isoformat())
    for _ in range(2):
        assert code(client.post("/v1/events", json=told, headers=stranger)) == (404, "trade_not_found")
    assert desk.data.events_of(trade_id) == []
    assert client.post("/v1/events", json=told, headers=own).json()["status"] == "recorded"
    assert code(client.post("/v1/events", json=told, headers=stranger)) == (404, "trade_not_found")
    assert client.post("/v1/events", json=told, headers=own).json()["status"] == "known"
    resold = event("resold", trade_id, "2") | {"rate": 0.9}
    assert client.post("/v1/events", json=resold, headers=headers_of(Role.OPERATOR)).status_code == 200
    label = event("fraud_cleared", trade_id, "3")
    assert code(client.post("/v1/events", json=label, headers=own)) == (403, "not_allowed")
    assert client.post("/v1/events", json=label, headers=headers_of(Role.RISK_ANALYST)).status_code == 200


@pytest.mark.both_storages
def test_a_trade_id_belongs_to_the_client_that_used_it_first(client, keys, storage):
    """Who comes second with it is refused, with the same card too, alone and in a batch; staff may ask again."""
    own, stranger = keys.add("shop"), keys.add("other")
    asked = submission() | {"trade_id": "mine"}
    assert client.post("/v1/quotes", json=asked, headers=own).status_code == 200
    assert code(client.post("/v1/quotes", json=asked, headers=stranger)) == (409, "trade_id_reused")
    body = {"submissions": [asked]}
    (refused,) = client.post("/v1/quotes/batch", json=body, headers=stranger).json()["results"]
    assert refused["problem"]["code"] == "trade_id_reused"
    assert client.post("/v1/quotes", json=asked, headers=headers_of(Role.ADMIN)).status_code == 200
    assert client.post("/v1/quotes", json=asked, headers=own).status_code == 200


def test_trades_of_the_flow_are_told_about_by_the_flow(seller, keys, clock, desk):
    """A partner reads the quote of the card it submitted, and accepts it in the flow: as an event neither it nor
    another partner can tell that."""
    own, stranger = keys.add("shop"), keys.add("other")
    one, quote_id = ready(seller, clock, own)
    assert seller.get(f"/v1/quotes/{quote_id}", headers=own).json()["quote_id"] == quote_id
    assert code(seller.get(f"/v1/quotes/{quote_id}", headers=stranger)) == (404, "quote_not_found")
    trade_id = desk.data.quote(quote_id)["trade_id"]
    for headers in (own, stranger):
        told = seller.post("/v1/events", json=event("accepted", trade_id, "x"), headers=headers)
        assert code(told) == (404, "trade_not_found")
    path = f"/v1/submissions/{one}/acceptance"
    assert seller.post(path, json={"quote_id": quote_id}, headers=own).status_code == 200
    work(seller, clock)
    assert [row["kind"] for row in desk.data.events_of(trade_id)] == ["accepted"]


def test_a_trade_from_a_file_is_nobodys(client, keys, live_workspace):
    """Whoever may tell a kind of event may tell it about an imported trade."""
    trades = live_workspace.tables.read("trades", ["trade_id", "accepted"]).to_pylist()
    trade_id = next(row["trade_id"] for row in trades if not row["accepted"])
    told = client.post("/v1/events", json=event("declined", trade_id, "1"), headers=keys.add("shop"))
    assert told.json()["status"] == "recorded"

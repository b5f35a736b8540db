"""Text that a database does not take never reaches one: PostgreSQL has no NUL, and no id has a control character."""

from __future__ import annotations

import pytest

from serving.api import submission_examples
from serving.api.access.roles import TABLE

NAMED = [row for row in TABLE if "{" in row.path]


@pytest.mark.both_storages
def test_an_id_with_a_control_character_names_nothing(client):
    """On every route with an id in its path the answer is 404, as for a path that there is not."""
    assert len(NAMED) > 20
    for row in NAMED:
        head, _, rest = row.path.partition("{")
        for odd in ("%00", "a%00b", "a%0Ab", "%1f", "%7f"):
            told = client.request(row.method, head + odd + rest.partition("}")[2])
            assert (told.status_code, told.json()["code"]) == (404, "not_found"), (row, odd)


@pytest.mark.both_storages
def test_free_text_and_query_parameters_have_no_nul(client):
    """They are refused by name; other characters of any writing are taken."""
    offered = client.post("/v1/submissions", json=submission_examples.NEW["a JD e-card"]).json()
    one = f"/v1/submissions/{offered['submission_id']}"
    asked = {
        "reveals": {"reason": "because\x00of it"},
        "decisions": {"decision": "reject", "reason": "\x00"},
        "complaints": {"kind": "wrong_value", "reason": "a\x00"},
        "judgement": {"verdict": "for_trade", "reason": "a\x00"},
    }
    for route, body in asked.items():
        told = client.post(f"{one}/{route}", json=body)
        assert (told.status_code, told.json()["errors"][0]["field"]) == (422, "reason"), route
    settlement = {"name": "a\x00", "to": "losses", "reason": "lost"}
    assert client.post("/v1/books/breaks/settlement", json=settlement).status_code == 422
    lots = "/v1/submissions/lots?payee_ref=p-1&seller_id="
    for seller in ("a%00b", "", "x" * 129):
        told = client.post(lots + seller, content="card_type\n")
        assert (told.status_code, told.json()["code"]) == (422, "invalid_request"), seller
    assert client.post(lots + "%E5%BC%A0", content="card_type\n").json()["code"] == "wrong_header"
    told = client.post(f"{one}/reveals", json={"reason": "卖家说卡号\n不对 😀"})
    assert told.status_code == 200, told.text

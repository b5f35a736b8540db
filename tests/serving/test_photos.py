"""Cards submitted by photo over HTTP: read, confirmed by whoever sent it, and nowhere but in the vault."""

from __future__ import annotations

import io
import random
from datetime import timedelta

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from PIL import Image

from pipelines.recycling.photos import photos
from pipelines.simulation.card_images import KINDS, draw_card
from serving.api import photo_examples as examples
from serving.api.access.roles import Role
from tests.canaries import Canaries
from tests.serving.clients import headers_of

OWN = headers_of(Role.PRICING_CLIENT)
PATH = "/v1/submissions/photos"


def picture(size: tuple[int, int], form: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "white").save(out, form, **options)
    return out.getvalue()


def test_a_photo_becomes_a_submission_that_its_seller_confirmed(client, clock, live_workspace, caplog):
    """What is printed is read; only who sent the photo may confirm it, with a correction that the evidence names. The
    codes are in the one answer and in the vault; the reading is destroyed, and confirming again changes nothing."""
    printed = draw_card(rng=random.Random(0), kind=KINDS[0])
    form = {"photo": ("card.jpg", printed.jpeg, "image/jpeg")}
    read = client.post(PATH, files=form, headers=OWN)
    assert read.status_code == 200, read.text
    found = read.json()
    assert found["card_types"][0]["card_type"] == printed.card_type
    assert found["number"]["value"] == printed.number
    assert found["face_value"]["value"] == f"{printed.face_value_fen // 100}.00"
    (body,) = examples.CONFIRMATIONS.values()
    card = {"card_type": printed.card_type, "number": printed.number, "secret": printed.secret[:-1] + "Z"}
    card |= {"face_value": {"amount_fen": printed.face_value_fen}, "expires_on": found["expires_on"]["value"]}
    path, said = f"{PATH}/{found['photo_id']}/confirmation", body | {"card": card}
    stranger = client.post(path, json=said)
    assert (stranger.status_code, stranger.json()["code"]) == (404, "photo_not_found")
    wrong = client.post(path, json=said | {"card": card | {"number": "12"}}, headers=OWN)
    assert (wrong.json()["code"], wrong.json()["errors"][0]["field"]) == ("not_confirmed", "card.number")
    done = client.post(path, json=said, headers=OWN).json()
    assert done["state"] == "submitted"
    assert client.post(path, json=said, headers=OWN).json() == done
    opened = client.app.state.recycling
    (leaf,) = [
        kept.said
        for kept in opened.flow.book.evidence.leaves_of(done["submission_id"])
        if kept.leaf.kind == "photo_confirmed"
    ]
    assert (leaf["corrected"], leaf["seal"]) == (["secret"], "intact")
    assert leaf["photo_sha256"] == found["photo_sha256"]
    assert opened.flow.vault.status()["shredded"] == 1
    marks = Canaries((printed.number, printed.secret))
    assert marks.in_folder(live_workspace.home) == []
    assert marks.in_texts({"log": caplog.text, "answers": wrong.text + str(done)}) == []


BAD = {
    "photo_empty": b"",
    "not_a_photo": b"%PDF-1.7 not a picture at all",
    "photo_too_small": picture((100, 100)),
    "photo_too_many_pixels": picture((12_001, 300)),
    "photo_damaged": picture((800, 600))[:300],
    "photo_animated": picture(
        (300, 300), "WEBP", save_all=True, append_images=[Image.new("RGB", (300, 300))]
    ),
}


def test_what_is_no_photo_is_refused_by_name(client):
    """Each with its code, and nothing is kept; a form without the photo and a body above the limit are refused, too."""
    for code, content in BAD.items():
        refused = client.post(PATH, content=content, headers={"Content-Type": "image/png"})
        assert (refused.status_code, refused.json()["code"]) == (422, code)
    other = client.post(PATH, files={"picture": ("card.jpg", b"x", "image/jpeg")})
    assert other.json()["code"] == "invalid_request"
    large = client.post(PATH, content=bytes(13 * 1024 * 1024), headers={"Content-Type": "image/png"})
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
    with client.app.state.recycling.engine.connect() as connection:
        assert connection.execute(sa.select(photos)).all() == []


def test_a_reading_is_destroyed_when_its_day_is_over(
    client: TestClient, clock, monkeypatch: pytest.MonkeyPatch
):
    """After 24 hours it cannot be confirmed; the next photo destroys what is left of it in vault and book."""
    opened = client.app.state.recycling  # pyright: ignore[reportFunctionMemberAccess]
    blank = {"value": "", "confidence": 0.0, "source": "text", "checked": [], "doubts": ["not_found"]}
    said = {"candidates": [], "type_doubts": ["not_found"], "photo_sha256": "0" * 64}
    said |= dict.fromkeys(("number", "secret", "face_value", "expiry"), blank)
    monkeypatch.setattr(opened.photos.readers, "read", lambda content, today: said)
    first = client.post(PATH, content=b"photo", headers=OWN).json()
    clock.now += timedelta(hours=24)
    (body,) = examples.CONFIRMATIONS.values()
    late = client.post(f"{PATH}/{first['photo_id']}/confirmation", json=body, headers=OWN)
    assert late.json()["code"] == "photo_not_found"
    client.post(PATH, content=b"photo", headers=OWN)
    with opened.engine.connect() as connection:
        left = connection.execute(sa.select(photos.c.photo_id)).scalars().all()
    assert first["photo_id"] not in left
    assert opened.flow.vault.status()["shredded"] == 1

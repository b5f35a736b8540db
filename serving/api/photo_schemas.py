"""Bodies of cards submitted by photo."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, SecretStr

from serving.api.field_types import Day
from serving.api.schemas import Body, FaceValue, Seller, Text
from serving.api.submission_schemas import Channel, SubmissionId


class DoubtView(Body):
    """Something that the seller is asked about."""

    code: str
    zh: str
    en: str


class CardTypeRead(Body):
    """A card type that the photo could show. ``because``: its name, the format of its codes, or both."""

    card_type: str
    name_zh: str
    name_en: str
    because: str
    likeness: float


class FieldRead(Body):
    """One field as it was read; empty where it was not found. ``confidence`` (0 to 1) is the reader's own and decides
    nothing; ``checked``: rules that the value met; ``doubts``: what the seller is asked about."""

    value: str
    confidence: float
    source: Literal["text", "bar_code"]
    checked: list[str]
    doubts: list[DoubtView]


class PhotoView(Body):
    """What a photo seems to show: to be confirmed by its seller before ``expires_at``, field by field. Number and
    secret are in this answer and in no other."""

    photo_id: str
    expires_at: datetime
    photo_sha256: str
    card_types: list[CardTypeRead]
    card_type_doubts: list[DoubtView]
    number: FieldRead
    secret: FieldRead
    face_value: FieldRead
    expires_on: FieldRead


class ConfirmedCardBody(Body):
    """The card as its seller says it is; ``expires_on`` is null where the card shows no date."""

    card_type: Text
    number: SecretStr = Field(min_length=1, max_length=128)
    secret: SecretStr = Field(min_length=1, max_length=128)
    face_value: FaceValue
    expires_on: Day | None
    card_form: Literal["virtual", "physical"] = "physical"


class PhotoConfirmation(Body):
    """What the seller confirms or corrects: all five fields, who sells, whom to pay. ``seal``: whether the cover of the
    secret was intact before the photo; ``none``: the card has none."""

    card: ConfirmedCardBody
    seal: Literal["intact", "opened", "none"]
    seller: Seller
    payee_ref: Text
    channel: Channel = "bank"
    submission_id: SubmissionId | None = None

"""The carrier of physical cards: a label for the way here or back, and where a parcel is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args
from urllib.parse import quote

from pipelines.recycling.adapters import answers
from pipelines.recycling.adapters.http_adapter import HttpAdapter, Question
from pipelines.recycling.adapters.outcomes import Outcome

Whereabouts = Literal["ordered", "picked_up", "on_the_way", "delivered", "returned", "lost"]
Direction = Literal["to_us", "to_seller"]

REFUSALS = ("unauthorised", "unknown_address", "unknown_shipment", "conflicting_shipment", "not_served")


@dataclass(frozen=True)
class Shipment:
    """A parcel. ``label_url``: where the label can be printed; ``fee_fen``: what the carrier asks, None if unsaid."""

    shipment_id: str
    tracking_number: str
    label_url: str
    whereabouts: Whereabouts
    fee_fen: int | None


class Logistics(Protocol):
    def order(self, *, shipment_id: str, address_ref: str, direction: Direction) -> Outcome[Shipment]:
        """A label, once for each ``shipment_id``. The address is known to the carrier by reference."""
        ...

    def track(self, shipment_id: str) -> Outcome[Shipment]:
        """Where the parcel is."""
        ...


class HttpLogistics:
    """``POST /shipments``, ``GET /shipments/{id}``."""

    def __init__(self, http: HttpAdapter) -> None:
        self._http = http

    def order(self, *, shipment_id: str, address_ref: str, direction: Direction) -> Outcome[Shipment]:
        body = {"shipment_id": shipment_id, "address_ref": address_ref, "direction": direction}
        question = Question("POST", "/shipments", body=body, idempotency_key=shipment_id)
        return self._http.ask(question, read=lambda answer: _shipment(answer, shipment_id))

    def track(self, shipment_id: str) -> Outcome[Shipment]:
        question = Question("GET", f"/shipments/{quote(shipment_id, safe='')}")
        return self._http.ask(question, read=lambda answer: _shipment(answer, shipment_id))


def _shipment(answer: Any, shipment_id: str) -> Shipment:
    answers.echoed(answer, "shipment_id", shipment_id)
    return Shipment(
        shipment_id=shipment_id,
        tracking_number=answers.text(answer, "tracking_number"),
        label_url=answers.text(answer, "label_url"),
        whereabouts=answers.one_of(answer, "whereabouts", get_args(Whereabouts)),
        fee_fen=answers.fen(answer, "fee_fen"),
    )

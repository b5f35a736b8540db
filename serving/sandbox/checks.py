"""Identity, device, bureau, credit and carrier: small tables of what a reference's last two digits mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.sandbox.desk import Answer, Refused, text_in
from serving.sandbox.scenarios import last_two

VERIFIED = {"81": "no", "82": "unknown"}
DEVICES: dict[str, tuple[float, list[str]]] = {
    "81": (0.95, ["emulator", "rooted"]),
    "82": (0.6, ["many_accounts"]),
    "83": (0.4, ["proxy"]),
}
GRADES: dict[str, tuple[str, bool]] = {
    "81": ("E", True),
    "82": ("D", False),
    "83": ("C", False),
    "84": ("none", False),
}
LABEL_FEE_FEN = 12_00
JOURNEY = ("ordered", "picked_up", "on_the_way", "delivered")


def verified(body: Mapping[str, Any]) -> Answer:
    return {"verified": VERIFIED.get(last_two(_known(body, "reference")), "yes")}


def device(body: Mapping[str, Any]) -> Answer:
    risk, signals = DEVICES.get(last_two(text_in(body, "device_id")), (0.05, []))
    return {"risk": risk, "signals": signals}


def grade(body: Mapping[str, Any]) -> Answer:
    letter, listed = GRADES.get(last_two(_known(body, "reference")), ("A", False))
    return {"grade": letter, "listed": listed}


def _known(body: Mapping[str, Any], name: str) -> str:
    reference = text_in(body, name)
    if last_two(reference) == "88":
        raise Refused(404, "unknown_reference")
    return reference


@dataclass
class SandboxCarrier:
    """Parcels by id; each look at one moves it a step further, unless it is lost (81) or comes back (82)."""

    parcels: dict[str, tuple[dict[str, Any], int]] = field(default_factory=dict)

    def order(self, body: Mapping[str, Any]) -> Answer:
        shipment_id = text_in(body, "shipment_id")
        if last_two(text_in(body, "address_ref")) == "88":
            raise Refused(422, "unknown_address")
        earlier = self.parcels.get(shipment_id)
        if earlier is not None and earlier[0] != dict(body):
            raise Refused(409, "conflicting_shipment")
        self.parcels.setdefault(shipment_id, (dict(body), 0))
        return self._shown(shipment_id)

    def track(self, shipment_id: str) -> Answer:
        if shipment_id not in self.parcels:
            raise Refused(404, "unknown_shipment")
        body, step = self.parcels[shipment_id]
        self.parcels[shipment_id] = (body, min(step + 1, len(JOURNEY) - 1))
        return self._shown(shipment_id)

    def _shown(self, shipment_id: str) -> Answer:
        place = list(self.parcels).index(shipment_id) + 1
        step = self.parcels[shipment_id][1]
        ending = last_two(shipment_id)
        special = {"81": "lost", "82": "returned"}.get(ending) if step >= 2 else None
        return {
            "shipment_id": shipment_id,
            "tracking_number": f"SB{place:010d}",
            "label_url": f"https://sandbox.invalid/labels/SB{place:010d}.pdf",
            "whereabouts": special or JOURNEY[step],
            "fee_fen": LABEL_FEE_FEN,
        }

"""Parcels of physical cards: a label for the way here, and where the parcel is, as plain values for the flow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pipelines.recycling.adapters.logistics import Logistics, Shipment
from pipelines.recycling.adapters.outcomes import Outcome

Facts = dict[str, Any]

ARRIVES_WITHIN = timedelta(days=14)
"""A physical card that has not arrived by then is not coming."""

LOOK_EVERY = timedelta(hours=6)
"""How often the carrier is asked where a parcel is."""

NEVER_COMES = {"lost": "parcel_lost", "returned": "parcel_came_back"}
"""Whereabouts after which no card arrives, and the reason of the trade's end."""


def ordered_label(logistics: Logistics, submission_id: str, seller_ref: str) -> Facts:
    """The label of a trade's parcel, ordered once; empty without a carrier, or the trouble of ordering. The carrier
    knows the seller's address by the seller's reference."""
    return _label(
        logistics.order(shipment_id=f"{submission_id}-in", address_ref=seller_ref, direction="to_us")
    )


def label_back(logistics: Logistics, submission_id: str, seller_ref: str, *, number: int) -> Facts:
    """The label for the way back, ordered once for each number; otherwise as :func:`ordered_label`."""
    shipment_id = f"{submission_id}-back" + ("" if number == 1 else f"-{number}")
    return _label(logistics.order(shipment_id=shipment_id, address_ref=seller_ref, direction="to_seller"))


def _label(outcome: Outcome[Shipment]) -> Facts:
    if outcome.state == "not_connected":
        return {}
    shipment = outcome.value
    if shipment is None:
        return _trouble(outcome)
    return {
        "shipment": {
            "shipment_id": shipment.shipment_id,
            "tracking_number": shipment.tracking_number,
            "label_url": shipment.label_url,
            "whereabouts": shipment.whereabouts,
            "carrier_fee_fen": shipment.fee_fen,
        }
    }


def whereabouts(logistics: Logistics, shipment_id: str) -> Facts:
    """Where a parcel is; empty where the carrier cannot say at all, or the trouble of asking."""
    outcome = logistics.track(shipment_id)
    if outcome.state in ("not_connected", "refused"):
        return {}
    if outcome.value is None:
        return _trouble(outcome)
    return {"whereabouts": outcome.value.whereabouts}


def _trouble(outcome: Outcome[Any]) -> Facts:
    return {"trouble": f"logistics_{outcome.state}", "wait": outcome.retry_after_seconds}

"""The way back of a physical card that the platform has and does not keep: refused after it arrived, or quoted again
and not agreed. It goes back free of charge, with a label, and is looked after until it is there.

It is the last phase of a trade that has ended: the trade's state stays, ``facts["return"]`` tells where the card is.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from pipelines.recycling.flow import Facts, Flow, Row, Runner, as_found
from pipelines.recycling.parcels import LOOK_EVERY, label_back, whereabouts
from pipelines.recycling.states import STATES

BY_HAND = "return_by_hand"
"""Trouble of a card that no carrier is connected for: a person sends it back and notes the tracking number."""
STUCK = {"lost": "return_lost", "returned": "return_came_back"}
"""Whereabouts after which a person must do something, and the trouble that says so."""
SENDING_BACK = tuple(state.code for state in STATES.values() if state.sends_back_after is not None)


def send_back(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """Order a label for the way back, or ask where the card is."""
    row = as_found(flow, run, submission_id, states=SENDING_BACK)
    if row is None:
        return {"state": "moved"}
    logistics, back = flow.logistics, row["facts"].get("return")
    found: Facts = {}
    if logistics is not None:
        if back is None:
            found = run.step(
                "label_back", lambda: label_back(logistics, submission_id, row["seller_id"], number=1)
            )
        else:
            found = run.step("track_back", lambda: whereabouts(logistics, back["shipment_id"]))
    return run.transaction("conclude", lambda c: _concluded(flow, c, row, found))


def _concluded(flow: Flow, connection: sa.Connection, seen: Row, found: Facts) -> Facts:
    row = flow.book.read(connection, seen["submission_id"])
    if row["version"] != seen["version"]:
        return {"state": row["state"]}
    if found.get("trouble"):
        return flow.failed(connection, row, found["trouble"], found.get("wait"))
    back = row["facts"].get("return")
    if back is None and "shipment" not in found:
        flow.book.change(connection, row, {"due_at": None, "trouble": BY_HAND})
        return {"state": row["state"], "trouble": BY_HAND}
    if back is None:
        keep(flow, connection, row, found["shipment"], kind="return_ordered", by=flow.worker)
        return {"state": row["state"], "return": "ordered"}
    where = found.get("whereabouts", back["whereabouts"])
    if where == back["whereabouts"]:
        flow.book.change(connection, row, {"due_at": flow.clock() + LOOK_EVERY, "trouble": "", "failures": 0})
        return {"state": row["state"], "return": where}
    kind = "return_arrived" if where == "delivered" else "return_moved"
    keep(flow, connection, row, back | {"whereabouts": where}, kind=kind, by=flow.worker)
    return {"state": row["state"], "return": where}


def keep(
    flow: Flow, connection: sa.Connection, row: Row, shipment: dict[str, Any], *, kind: str, by: str
) -> Row:
    """Note where the card is on its way back, and when to look again."""
    now, where = flow.clock(), shipment["whereabouts"]
    flow.book.evidence.append(
        connection,
        kind=kind,
        subject=row["submission_id"],
        payload={name: shipment[name] for name in ("shipment_id", "tracking_number", "whereabouts")},
        actor=by,
        source=flow.book.source,
        at=now,
    )
    ended = where == "delivered" or where in STUCK
    return flow.book.change(
        connection,
        row,
        {
            "facts": dict(row["facts"]) | {"return": shipment},
            "due_at": None if ended or not shipment["shipment_id"] else now + LOOK_EVERY,
            "trouble": STUCK.get(where, ""),
            "failures": 0,
        },
    )

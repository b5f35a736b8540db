"""How the sandbox calls back: signed, and as often, late or wrongly as a scenario or an account says."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from starlette.background import BackgroundTask

from pipelines.recycling.provider_signature import signed_headers
from serving.sandbox.desk import Desk
from serving.sandbox.scenarios import last_two

Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[None]]
TWICE, FORGED, LATE = "97", "87", "88"
"""Endings of what is called about: every call comes twice, is signed wrongly, or comes after ``LATE_SECONDS``."""
LATE_SECONDS = 60.0


@dataclass(frozen=True)
class Caller:
    """Calls back. now: the time that is signed; post: how a call is sent."""

    desk: Desk
    now: Callable[[], datetime]
    post: Post

    def task(self, url: str, about: str, told: Callable[[], Mapping[str, Any]]) -> BackgroundTask | None:
        """What calls back after an answer was sent; None without an address. about: its ending chooses how; told: what
        is said, as it stands then."""
        return BackgroundTask(self._call, url, last_two(about), told) if url else None

    async def _call(self, url: str, ending: str, told: Callable[[], Mapping[str, Any]]) -> None:
        scenario = self.desk.scenario
        await self.desk.sleep(LATE_SECONDS if ending == LATE else scenario.callback_late)
        body = json.dumps(told()).encode()
        secret = scenario.callback_secret
        if scenario.callback_forged or ending == FORGED:
            secret = f"not {secret}"
        headers = {"Content-Type": "application/json"}
        if scenario.callback_secret:
            headers |= signed_headers(secret, body, now=self.now())
        for _ in range(max(scenario.callback_copies, 2 if ending == TWICE else 1)):
            await self.post(url, body, headers)


async def post_over_http(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Send one call; a receiver that is not there is its own trouble."""
    async with httpx.AsyncClient(timeout=5.0) as client:
        try:
            await client.post(url, content=body, headers=dict(headers))
        except httpx.HTTPError:
            return

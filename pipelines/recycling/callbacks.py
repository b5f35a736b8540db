"""Sends the outbox of callbacks to partners: in small slices, each partner for itself, beside the trades.

No transaction is open while a partner is spoken to. A partner that is slow or away holds up nobody else's callbacks for
longer than one attempt.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

import httpx
import sqlalchemy as sa

from pipelines.recycling import callback_outbox as outbox
from pipelines.recycling.callback_address import Address, AddressRefused, Resolve, checked, resolved
from pipelines.recycling.callback_signature import signed_headers
from pipelines.signing import Signer, canonical_json

log = logging.getLogger("huika")

ATTEMPT_SECONDS = 10.0
"""Longest time of one attempt, all of it."""

SLICE_SECONDS = 5.0
MOST_IN_A_SLICE = 20
"""After so many callbacks or seconds it is the other partners' turn again."""

IDLE_SECONDS = 0.5
GONE = 410


@dataclass(frozen=True)
class Sender:
    """Sends what is due. signer: the key that signs now, asked each time; it may have been changed."""

    engine: sa.Engine
    signer: Callable[[], Signer]
    clock: Callable[[], datetime]
    transport: httpx.AsyncBaseTransport | None = None
    resolve: Resolve = field(default=resolved)
    attempt_seconds: float = ATTEMPT_SECONDS

    def run(self, stopping: threading.Event) -> None:
        """Send until told to stop; for a thread of its own. What fails unforeseen is logged and tried again."""
        asyncio.run(self._keep(stopping))

    def send_until_idle(self) -> int:
        """Send what is due now; how many were heard."""
        return asyncio.run(self._until_idle())

    async def _keep(self, stopping: threading.Event) -> None:
        async with self._client() as client:
            while not stopping.is_set():
                try:
                    tried, _ = await self._slice(client)
                except Exception as error:
                    log.error("callbacks: %s", type(error).__name__)
                    tried = 0
                if not tried:
                    await asyncio.sleep(IDLE_SECONDS)

    async def _until_idle(self) -> int:
        heard = 0
        async with self._client() as client:
            while True:
                tried, good = await self._slice(client)
                heard += good
                if not tried:
                    return heard

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=self.transport,
            trust_env=False,
            follow_redirects=False,
            timeout=self.attempt_seconds,
            # Connections are kept by address: two names on one would share the certificate check of the first.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def _slice(self, client: httpx.AsyncClient) -> tuple[int, int]:
        """One turn of every partner: how many attempts were made, and how many of them heard."""
        with self.engine.connect() as connection:
            clients = outbox.clients_due(connection, now=self.clock())
        turns = await asyncio.gather(*(self._turn(client, client_id) for client_id in clients))
        return sum(tried for tried, _ in turns), sum(heard for _, heard in turns)

    async def _turn(self, client: httpx.AsyncClient, client_id: str) -> tuple[int, int]:
        """A partner's callbacks, until the first that is not heard."""
        ends, tried, heard = monotonic() + SLICE_SECONDS, 0, 0
        with self.engine.connect() as connection:
            url = outbox.address_of(connection, client_id)
            rows = outbox.due_of(connection, client_id, now=self.clock(), limit=MOST_IN_A_SLICE)
        for row in rows:
            with self.engine.begin() as connection:
                if not outbox.claim(connection, row, now=self.clock()):
                    continue
            tried += 1
            problem = await self._attempt(client, url, row)
            final = problem in ("gone", "no_address")
            with self.engine.begin() as connection:
                state = outbox.conclude(connection, row, problem=problem, now=self.clock(), final=final)
            if problem:
                log.warning("callback %s: %s, %s", row["callback_id"], problem, state)
            heard += not problem
            if (problem and not final) or monotonic() > ends:
                break
        return tried, heard

    async def _attempt(self, client: httpx.AsyncClient, url: str | None, row: outbox.Row) -> str:
        """Empty where the partner answered 2xx; else a stable code."""
        if url is None:
            return "no_address"
        try:
            async with asyncio.timeout(self.attempt_seconds):
                address = await checked(url, resolve=self.resolve)
                status = await self._post(client, address, row)
        except AddressRefused as refusal:
            return refusal.code
        except (TimeoutError, httpx.TimeoutException):
            return "timeout"
        except (httpx.HTTPError, httpx.InvalidURL):
            return "unreachable"
        if status == GONE:
            return "gone"
        return "" if 200 <= status < 300 else f"http_{status}"

    async def _post(self, client: httpx.AsyncClient, address: Address, row: outbox.Row) -> int:
        """The status of the answer; its body is not read. The connection goes to the address that was checked, the
        certificate must be that of the name."""
        body = canonical_json(dict(row["body"]))
        headers = signed_headers(self.signer(), callback_id=row["callback_id"], body=body, now=self.clock())
        headers |= {"Content-Type": "application/json", "Host": address.host_header}
        names = {"sni_hostname": address.host} if address.scheme == "https" else {}
        request = client.build_request(
            "POST", address.connect_url, content=body, headers=headers, extensions=names
        )
        answer = await client.send(request, stream=True)
        await answer.aclose()
        return answer.status_code

"""Connects the partners that the settings name."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import httpx

from pipelines.partner_settings import AdapterSettings
from pipelines.recycling.adapters import checks, issuer, logistics, wallets
from pipelines.recycling.adapters.http_adapter import HttpAdapter, Limits, Sleep


@dataclass(frozen=True)
class Partners:
    """Everybody who is asked about a trade. One that has no address answers ``not_connected``."""

    issuer: issuer.Issuer
    identity: checks.Identity
    devices: checks.Devices
    bureau: checks.Grades
    credit: checks.Grades
    logistics: logistics.Logistics
    wallets: wallets.Wallets


def connect(
    settings: AdapterSettings,
    *,
    client: httpx.Client,
    sleep: Sleep = time.sleep,
    rng: random.Random | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Partners:
    """The partners of ``[adapters]``. ``client`` is shared by all and stays the caller's to close."""
    limits = Limits(timeout_seconds=settings.timeout_seconds, attempts=settings.attempts)

    def http(name: str, base_url: str, token: str, known_codes: Collection[str]) -> HttpAdapter:
        return HttpAdapter(
            name=name,
            base_url=base_url,
            token=token,
            client=client,
            limits=limits,
            known_codes=known_codes,
            sleep=sleep,
            rng=rng,
            clock=clock,
        )

    return Partners(
        issuer=issuer.HttpIssuer(http("issuer", settings.issuer_url, settings.issuer_token, issuer.REFUSALS)),
        identity=checks.HttpIdentity(
            http("identity", settings.identity_url, settings.identity_token, checks.REFUSALS)
        ),
        devices=checks.HttpDevices(
            http("device", settings.device_url, settings.device_token, checks.REFUSALS)
        ),
        bureau=checks.HttpGrades(http("bureau", settings.bureau_url, settings.bureau_token, checks.REFUSALS)),
        credit=checks.HttpGrades(http("credit", settings.credit_url, settings.credit_token, checks.REFUSALS)),
        logistics=logistics.HttpLogistics(
            http("logistics", settings.logistics_url, settings.logistics_token, logistics.REFUSALS)
        ),
        wallets=wallets.HttpWallets(
            http("wallet", settings.wallet_url, settings.wallet_token, wallets.REFUSALS)
        ),
    )

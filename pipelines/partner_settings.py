"""Settings of whom the recycling flow works with: adapters of partners, and who pays sellers."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from models.policy import Policy


def _is_safe(url: str) -> str:
    if url and not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise ValueError("must be https: card secrets, tokens and references travel there")
    return url


SafeUrl = Annotated[str, AfterValidator(_is_safe)]
"""Empty, or an address that nobody can listen to on the way."""

CallbackSecrets = Annotated[
    str,
    Field(
        repr=False,
        pattern=r"^([^,\s]{32,}(,[^,\s]{32,})*)?$",
        description="what it signs its calls with, 32 characters at least; several by commas; empty: no calls",
    ),
]


class AdapterSettings(Policy):
    """Partners of the recycling flow. An empty address: not connected, and the check says so."""

    timeout_seconds: float = Field(default=5.0, gt=0, le=120, description="for one whole answer")
    attempts: int = Field(default=3, ge=1, le=10, description="of a question that may be repeated")
    issuer_url: SafeUrl = Field(default="", description="card balance, validity, redemption")
    issuer_token: str = Field(default="", repr=False, description="sent as Bearer; so are the others")
    identity_url: SafeUrl = Field(default="", description="real names, by reference")
    identity_token: str = Field(default="", repr=False)
    device_url: SafeUrl = Field(default="", description="device risk")
    device_token: str = Field(default="", repr=False)
    bureau_url: SafeUrl = Field(default="", description="risk bureau")
    bureau_token: str = Field(default="", repr=False)
    credit_url: SafeUrl = Field(default="", description="credit registry")
    credit_token: str = Field(default="", repr=False)
    logistics_url: SafeUrl = Field(default="", description="labels and tracking of physical cards")
    logistics_token: str = Field(default="", repr=False)
    wallet_url: SafeUrl = Field(default="", description="transfers of wallet balances, such as e-CNY, to us")
    wallet_token: str = Field(default="", repr=False)
    wallet_callback_secrets: CallbackSecrets = ""


class BooksSettings(Policy):
    """Who pays sellers, and what receipts call the platform."""

    payout_url: SafeUrl = Field(
        default="", description="payout provider, https://…; empty: none, payouts wait"
    )
    payout_token: str = Field(default="", repr=False, description="its bearer token")
    payout_timeout_seconds: float = Field(default=15.0, gt=0, le=30, description="for one answer of it")
    payout_quiet_seconds: float = Field(
        default=300.0,
        ge=120,
        description='after an attempt, before "never heard of it" is believed and it is sent again',
    )
    payout_callback_secrets: CallbackSecrets = ""
    platform_zh: str = Field(default="回卡", min_length=1, max_length=60, description="on receipts: who pays")
    platform_en: str = Field(default="Huika", min_length=1, max_length=60, description="the same in English")

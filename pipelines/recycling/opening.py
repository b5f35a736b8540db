"""Puts the recycling flow of a workspace together from its settings. Nothing is connected before it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import httpx
import sqlalchemy as sa

from features.catalogue import Catalogue, workspace_catalogue
from pipelines.application_data import ApplicationData
from pipelines.databases import immediate_engine
from pipelines.partner_settings import BooksSettings
from pipelines.recycling.accounts import Channel
from pipelines.recycling.adapters.outcomes import Outcome
from pipelines.recycling.adapters.partners import connect
from pipelines.recycling.adapters.wallets import WALLET, IssuerByKind, WalletIssuer
from pipelines.recycling.disputes import Disputes
from pipelines.recycling.flow import Flow
from pipelines.recycling.intake import Intake
from pipelines.recycling.payout_http import http_payouts
from pipelines.recycling.payouts import (
    Found,
    NotSent,
    PayoutDesk,
    PayoutProvider,
    StatementLine,
    Submission,
    Unknown,
)
from pipelines.recycling.people import People
from pipelines.recycling.photo_readers import PhotoReaders
from pipelines.recycling.photos import PhotoDesk
from pipelines.recycling.policy import PROFILES, FlowPolicy, Name
from pipelines.recycling.ports import Priced, Pricing
from pipelines.recycling.provider_callbacks import Partner, ProviderCallbacks
from pipelines.recycling.reveals import Reveals
from pipelines.recycling.safekeeping import leaf_of_reveal, open_evidence, open_vault
from pipelines.recycling.taxes import TAXES_FILE, load_rates
from pipelines.recycling.trades import TradeBook
from pipelines.settings import RecyclingSettings, Settings
from pipelines.workspace import Workspace

NOT_CONNECTED = "not_connected"


@dataclass(frozen=True)
class Recycling:
    """The flow with what sellers and people do to it, on one database. books: what receipts call the platform.
    reviews_per_day: trades that its analysts can look at in a day, 0: no number is set."""

    engine: sa.Engine
    flow: Flow
    intake: Intake
    people: People
    photos: PhotoDesk
    callbacks: ProviderCallbacks
    books: BooksSettings
    reviews_per_day: int

    @property
    def disputes(self) -> Disputes:
        return Disputes(self.flow, self.engine)

    @property
    def reveals(self) -> Reveals:
        return Reveals(self.engine, self.flow.book, self.flow.vault, self.flow.clock)


def open_recycling(workspace: Workspace, *, pricing: Pricing, clock: Callable[[], datetime]) -> Recycling:
    """The flow of a workspace. pricing: the pricing API, for whoever lets trades move on. Raises TaxFileError."""
    ApplicationData(workspace.application_url)  # makes the tables
    engine = immediate_engine(workspace.application_url)
    settings = workspace.settings
    evidence = open_evidence(workspace, engine=engine)
    vault = open_vault(workspace, on_reveal=leaf_of_reveal(evidence))
    partners = connect(settings.adapters, client=httpx.Client(trust_env=False))
    book = TradeBook(evidence)
    catalogue = workspace_catalogue(workspace.tables)
    is_wallet = partial(_is_wallet, catalogue)
    flow = Flow(
        book=book,
        vault=vault,
        pricing=pricing,
        issuer=IssuerByKind(partners.issuer, WalletIssuer(partners.wallets), is_wallet),
        identity=partners.identity,
        payouts=PayoutDesk(
            provider=_provider(workspace),
            clock=clock,
            quiet_seconds=settings.books.payout_quiet_seconds,
        ),
        policies=policies_of(settings.recycling),
        clock=clock,
        logistics=partners.logistics,
        rates=load_rates(workspace.home / TAXES_FILE),
        devices=partners.devices,
        grades={"bureau": partners.bureau, "credit": partners.credit},
    )
    intake = Intake(engine, book, vault, catalogue, settings.profile, clock)
    return Recycling(
        engine=engine,
        flow=flow,
        intake=intake,
        people=People(flow, engine),
        photos=PhotoDesk(intake, PhotoReaders(workspace.home), clock),
        callbacks=ProviderCallbacks(engine, book, clock, _secrets_of_partners(settings), is_wallet),
        books=settings.books,
        reviews_per_day=settings.decision.reviews_per_day,
    )


def _secrets_of_partners(settings: Settings) -> Mapping[Partner, Sequence[str]]:
    told = (settings.books.payout_callback_secrets, settings.adapters.wallet_callback_secrets)
    payout, wallet = ([secret for secret in text.split(",") if secret] for text in told)
    return {"payout": payout, "wallet": wallet}


def _is_wallet(catalogue: Catalogue, card_type: str) -> bool:
    found = catalogue.types.get(card_type)
    return found is not None and found.category == WALLET


def policies_of(settings: RecyclingSettings) -> Mapping[Name, FlowPolicy]:
    """The profiles with the platform's fees and what its disputes follow."""
    fees = {
        "fee_bps": settings.fee_bps,
        "physical_fee_bps": settings.physical_fee_bps,
        "postage_fen": settings.postage_fen,
        "answer_days": settings.dispute_answer_days,
        "decide_days": settings.dispute_decide_days,
        "stake_bps": settings.dispute_stake_bps,
    }
    return {name: replace(policy, **fees) for name, policy in PROFILES.items()}


def _provider(workspace: Workspace) -> PayoutProvider:
    books = workspace.settings.books
    if not books.payout_url:
        return _NobodyPays()
    return http_payouts(
        url=books.payout_url, token=books.payout_token, timeout_seconds=books.payout_timeout_seconds
    )


class _NobodyPays:
    """No payout provider is named: payouts wait, visibly."""

    def submit(
        self, *, payout_id: str, channel: Channel, account_ref: str, amount_fen: int, name_ref: str
    ) -> Submission:
        return NotSent(NOT_CONNECTED)

    def query(self, payout_id: str, *, channel: Channel, amount_fen: int) -> Found:
        return Unknown(NOT_CONNECTED)

    def statement(self, day: str, *, channel: Channel) -> list[StatementLine]:
        return []


class PricingElsewhere:
    """Stands where no trade moves on by itself: the process that only takes what sellers and people do."""

    def quote(self, submission: Mapping[str, Any], *, key: str) -> Outcome[Priced]:
        return Outcome(NOT_CONNECTED)

    def tell(self, event: Mapping[str, Any]) -> Outcome[str]:
        return Outcome(NOT_CONNECTED)

"""``huika.toml``, read once into frozen models; ``HUIKA_…`` environment variables override it.

A nested key is reached with two underscores: ``HUIKA_COSTS__HANDLING_CNY=3``.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from models.policy import Costs, DecisionCosts, Policy, PricePolicy, Profile
from pipelines.partner_settings import AdapterSettings, BooksSettings

FILE_NAME = "huika.toml"


class SettingsError(ValueError):
    """The settings file or an environment variable cannot be used; the message names file, key and reason."""


def database_url(url: str) -> str:
    """An address as SQLAlchemy takes it: ``postgresql://`` and ``postgres://`` mean the driver that is installed."""
    scheme, colon, rest = url.partition("://")
    return f"postgresql+psycopg{colon}{rest}" if scheme in ("postgresql", "postgres") else url


class Storage(Policy):
    """Where things live. Empty: inside the workspace (SQLite and Parquet)."""

    application_url: str = Field(
        default="", repr=False, description="quotes and events: postgresql://user:password@host/database"
    )
    mlflow_url: str = Field(default="", repr=False, description="models' versions: the same")
    online_url: str = Field(
        default="", repr=False, description="live states: redis://[:password@]host:port/db, rediss:// for TLS"
    )

    @field_validator("application_url", "mlflow_url")
    @classmethod
    def _with_driver(cls, url: str) -> str:
        return database_url(url)


class Retention(Policy):
    """Days after which `huika prune` deletes what nobody needs; 0: never. Quotes and events are never deleted."""

    replies_days: int = Field(default=30, ge=0, description="answers kept for a repeated Idempotency-Key")
    board_days: int = Field(default=400, ge=0, description="hours of the price board; 90 days are shown")
    references_days: int = Field(default=400, ge=0, description="prices that daily moves are measured from")
    shadow_days: int = Field(default=90, ge=0, description="what a challenger would have answered")
    features_days: int = Field(
        default=0, ge=0, description="features of quotes; without them a quote cannot be explained any more"
    )


class Access(Policy):
    """Whom the HTTP service answers, and how often. Machines have keys (`huika keys`), people tokens of an issuer."""

    issuer: str = Field(
        default="", description="OIDC issuer of people's tokens; empty: the workspace's own, `huika token`"
    )
    audience: str = Field(default="huika", min_length=1, description="aud of tokens for this service")
    jwks_url: str = Field(default="", description="where the issuer publishes its keys")
    jwks_file: str = Field(default="", description="or a file with them")
    role_claim: str = Field(
        default="roles", min_length=1, description="claim with the roles; dots between nested names"
    )
    public_prices: bool = Field(default=True, description="the price board is for everybody")
    public_docs: bool = Field(default=True, description="/docs.json is for everybody")
    public_metrics: bool = Field(default=False, description="/metrics is for everybody")
    requests_per_second: float = Field(
        default=200, ge=0, description="of one client in one worker, two seconds' at once; 0: no limit"
    )
    stranger_requests_per_second: float = Field(
        default=20, ge=0, description="of one address without credentials; 0: no limit"
    )
    card_quotes_per_hour: float = Field(
        default=30, ge=0, description="questions about one card_fingerprint, whoever asks; 0: no limit"
    )
    alike_quotes_per_hour: float = Field(
        default=2_000,
        ge=0,
        description="about cards without a fingerprint of one seller, type and face value; 0: no limit",
    )
    max_body_kb: int = Field(default=2_048, ge=1, description="largest request, in KiB")
    log_every: int = Field(
        default=100, ge=0, description="one of so many requests is logged, and failures; 0: only failures"
    )

    @model_validator(mode="after")
    def _has_keys(self) -> Access:
        if self.issuer and not (self.jwks_url or self.jwks_file):
            raise ValueError("an issuer needs jwks_url or jwks_file: its published keys")
        local = ("http://127.0.0.1:", "http://localhost:")
        if self.jwks_url and not self.jwks_url.startswith(("https://", *local)):
            raise ValueError("jwks_url must be https")
        return self


class SigningSettings(Policy):
    """With which key quotes are signed."""

    key_file: str = Field(
        default="",
        repr=False,
        description="path or PEM text of an Ed25519 private key; empty: a key made in the workspace",
    )


class VaultSettings(Policy):
    """Where card numbers and secrets are kept, and who holds the keys."""

    url: str = Field(
        default="", repr=False, description="a database of its own; empty: vault.db in the workspace"
    )
    keys: Literal["file", "transit"] = Field(
        default="file", description="file: keys/vault in the workspace; transit: HashiCorp Vault"
    )
    transit_url: str = Field(default="", description="https://vault.example:8200")
    transit_mount: str = Field(default="transit", min_length=1, description="where the engine is mounted")
    transit_key: str = Field(default="huika-cards", min_length=1, description="a key of type aes256-gcm96")
    transit_token_file: str = Field(default="", description="file with a token that may encrypt and decrypt")
    index_key_file: str = Field(
        default="", description="32 bytes, mode 600; empty: keys/blind_index/key in the workspace"
    )
    two_person_cny: float = Field(
        default=1_000, ge=0, description="from this face value on two people reveal a secret"
    )

    @field_validator("url")
    @classmethod
    def _with_driver(cls, url: str) -> str:
        return database_url(url)

    @model_validator(mode="after")
    def _has_transit(self) -> VaultSettings:
        if self.keys == "transit" and not (self.transit_url and self.transit_token_file):
            raise ValueError("transit keys need transit_url and transit_token_file")
        return self

    @property
    def two_person_fen(self) -> int:
        return round(self.two_person_cny * 100)


class EvidenceSettings(Policy):
    """The evidence log: its name, its key, and where its checkpoints are left outside."""

    origin: str = Field(
        default="huika/evidence", min_length=1, description="name of the log: example.com/evidence"
    )
    key_file: str = Field(
        default="",
        repr=False,
        description="path or PEM text of an Ed25519 private key; empty: a key made in the workspace",
    )
    tsa_url: str = Field(default="", description="time stamping authority (RFC 3161); empty: no time stamps")
    tsa_roots: str = Field(default="", description="PEM file with its root certificates")
    witness_file: str = Field(
        default="", description="file on somebody else's storage that every checkpoint is added to"
    )

    @model_validator(mode="after")
    def _has_roots(self) -> EvidenceSettings:
        if self.tsa_url and not self.tsa_roots:
            raise ValueError("tsa_url needs tsa_roots: a time stamp counts only with its root certificate")
        return self


class ServingSettings(Policy):
    """How long a quote may take."""

    quote_seconds: float = Field(
        default=3.0,
        ge=0.5,
        le=60,
        description="from its arrival; live states that may take longer than is left are gone without, `degraded`",
    )


class Observability(Policy):
    """Traces for OpenTelemetry; metrics stand at /metrics without any setting."""

    otlp_endpoint: str = Field(
        default="",
        description="where traces go by OTLP over HTTP, http://127.0.0.1:4318/v1/traces; empty: none are made",
    )
    trace_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="share of the requests that is traced, where the caller has not decided",
    )


class CanarySettings(Policy):
    """How many sellers a challenger answers, and what stops it."""

    share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="of the sellers, for a new challenger; `huika canary start` sets it later",
    )
    min_requests: int = Field(default=20, ge=1, description="requests of a challenger before errors count")
    min_quotes: int = Field(default=200, ge=2, description="quotes before latency, refusals and profit count")
    min_outcomes: int = Field(default=100, ge=2, description="known outcomes of each side before they count")
    max_error_share: float = Field(default=0.005, ge=0, description="failed requests beyond the champion's")
    max_p99_ratio: float = Field(default=2.0, gt=1, description="slowest hundredth against the champion's")
    max_refusal_difference: float = Field(default=0.05, ge=0, description="share of quotes, up or down")
    max_predicted_drop: float = Field(default=0.10, ge=0, description="of the profit that the answers expect")
    max_realised_drop: float = Field(default=0.10, ge=0, description="of the profit that came of them")


class RecyclingSettings(Policy):
    """What sellers pay in the recycling flow, and for how long ended trades are kept. Tax rates: taxes.toml."""

    fee_bps: int = Field(
        default=0, ge=0, le=5_000, description="the platform's fee, basis points of the price"
    )
    physical_fee_bps: int = Field(
        default=0,
        ge=0,
        le=5_000,
        description="of physical cards instead, usually 500 to 1000; 0: the same fee",
    )
    postage_cny: float = Field(
        default=0, ge=0, le=1_000, description="what the seller of a physical card pays for its label"
    )
    dispute_answer_days: int = Field(
        default=7, ge=1, le=365, description="a complaint not answered by then is decided for who complains"
    )
    dispute_decide_days: int = Field(
        default=21, ge=1, le=365, description="one not decided by then is decided for the seller"
    )
    dispute_stake_bps: int = Field(
        default=1_000,
        ge=0,
        le=10_000,
        description="what a dispute holds of each party's deposit, basis points of the price",
    )
    secrets_days: int = Field(
        default=180,
        ge=1,
        description="after a trade's end `huika recycling purge` destroys its card's secret",
    )
    evidence_days: int = Field(
        default=1_825, ge=365, description="after a leaf was written, what it said; proofs stay"
    )

    @property
    def postage_fen(self) -> int:
        return round(self.postage_cny * 100)


class TrainingSettings(Policy):
    """How models are fitted and judged."""

    test_share: float = 0.2
    seed: int = 7
    threads: int = 0


class Settings(BaseSettings):
    """All settings of one workspace."""

    model_config = SettingsConfigDict(
        env_prefix="HUIKA_", env_nested_delimiter="__", frozen=True, extra="ignore"
    )

    profile: Profile = "head"
    storage: Storage = Storage()
    retention: Retention = Retention()
    costs: Costs = Costs()
    decision: DecisionCosts = DecisionCosts()
    price: PricePolicy = PricePolicy()
    training: TrainingSettings = TrainingSettings()
    canary: CanarySettings = CanarySettings()
    access: Access = Access()
    serving: ServingSettings = ServingSettings()
    observability: Observability = Observability()
    signing: SigningSettings = SigningSettings()
    books: BooksSettings = BooksSettings()
    recycling: RecyclingSettings = RecyclingSettings()
    vault: VaultSettings = VaultSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    adapters: AdapterSettings = AdapterSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first, then the file (handed in as init arguments by :func:`load_settings`)."""
        return env_settings, init_settings


def load_settings(path: Path) -> Settings:
    """Read the file and the environment. Raises SettingsError naming what cannot be used."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    unknown = sorted(set(data) - set(Settings.model_fields))
    if unknown:
        raise SettingsError(f"{path}: unknown key {', '.join(unknown)}")
    try:
        return Settings(**data)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {_words(item)}" for item in error.errors())
        raise SettingsError(f"{path} or HUIKA_ variables: {problems}") from error


def _words(item: Any) -> str:
    return "there is no such setting" if item["type"] == "extra_forbidden" else item["msg"]


def write_default_settings(path: Path) -> None:
    """A commented file with every setting at its default."""
    lines = [
        "# Huika settings. Every value below is the default; remove a '#' and change it.",
        "# HUIKA_<SECTION>__<KEY> in the environment wins over this file.",
        "",
        '# profile = "head"   # small: a person decides every trade; medium: all but small payouts of little risk;',
        "#                    # head: only what the costs send to review",
    ]
    for section, field in Settings.model_fields.items():
        model = field.annotation
        if not (isinstance(model, type) and issubclass(model, Policy)):
            continue
        lines += ["", f"[{section}]   # {(model.__doc__ or '').strip().splitlines()[0]}"]
        for key, item in model.model_fields.items():
            value = item.get_default(call_default_factory=True)
            if isinstance(value, dict):
                lines.append(f"# [{section}.{key}.NAME]   # min_rate, max_rate")
                continue
            shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else value
            lines.append(f"# {key} = {shown}" + (f"   # {item.description}" if item.description else ""))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

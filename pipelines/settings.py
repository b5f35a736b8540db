"""``huika.toml``, read once into frozen models; ``HUIKA_…`` environment variables override it.

A nested key is reached with two underscores: ``HUIKA_COSTS__HANDLING_CNY=3``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from models.policy import Costs, DecisionCosts, Policy, PricePolicy, Profile

FILE_NAME = "huika.toml"


class SettingsError(ValueError):
    """The settings file or an environment variable cannot be used; the message names file, key and reason."""


class Storage(Policy):
    """Where things live. Empty: inside the workspace (SQLite and Parquet)."""

    application_url: str = ""
    mlflow_url: str = ""
    online_url: str = Field(
        default="", repr=False, description="live states: redis://[:password@]host:port/db, rediss:// for TLS"
    )


class Access(Policy):
    """Who may see what is not for sellers and their apps."""

    analyst_token: str = Field(
        default="",
        repr=False,
        description="bearer token of risk analysts; empty: explanations of quotes are given to nobody",
    )


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
    costs: Costs = Costs()
    decision: DecisionCosts = DecisionCosts()
    price: PricePolicy = PricePolicy()
    training: TrainingSettings = TrainingSettings()
    access: Access = Access()

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
            shown = f'"{value}"' if isinstance(value, str) else value
            lines.append(f"# {key} = {shown}" + (f"   # {item.description}" if item.description else ""))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

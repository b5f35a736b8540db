"""A workspace: one folder with settings, tables, models and state. Created by the first command that needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from features.table_store import TableStore
from pipelines.process import prepare_process
from pipelines.screening.files import RULES_FILE, write_default_rules
from pipelines.settings import FILE_NAME, Settings, load_settings, write_default_settings


@dataclass(frozen=True)
class Workspace:
    """The folder of one platform's data. All paths below ``home``; nothing else is written to."""

    home: Path
    settings: Settings

    @classmethod
    def open(cls, home: Path) -> Workspace:
        """Open or create the workspace. Raises SettingsError where ``huika.toml`` cannot be used."""
        prepare_process()
        home = home.expanduser().resolve()
        home.mkdir(parents=True, exist_ok=True)
        if not (home / FILE_NAME).exists():
            write_default_settings(home / FILE_NAME)
        if not (home / RULES_FILE).exists():
            write_default_rules(home / RULES_FILE)
        return cls(home=home, settings=load_settings(home / FILE_NAME))

    @property
    def tables(self) -> TableStore:
        return TableStore(self.home / "tables")

    @property
    def reports(self) -> Path:
        return self._folder("reports")

    @property
    def training_sets(self) -> Path:
        return self._folder("training_sets")

    @property
    def feature_repo(self) -> Path:
        return self._folder("feast")

    @property
    def artifacts(self) -> Path:
        return self._folder("mlflow")

    @property
    def mlflow_url(self) -> str:
        return self.settings.storage.mlflow_url or f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def application_url(self) -> str:
        return self.settings.storage.application_url or f"sqlite:///{self.home / 'huika.db'}"

    def _folder(self, name: str) -> Path:
        path = self.home / name
        path.mkdir(parents=True, exist_ok=True)
        return path

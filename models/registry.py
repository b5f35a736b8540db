"""Versions and aliases of both models in MLflow: the only module that imports it.

A model travels as a folder of LightGBM text and JSON, never as a pickle. Its SHA-256 is kept on the version and
checked before anything from the folder is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    import pandas as pd

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
PLOTS = (".png", ".svg")
DIGEST_TAG = "sha256"
REQUIREMENTS = ["lightgbm", "numpy", "pandas"]


class ModelNotFound(LookupError):
    """No version of the model carries the alias or number."""


class DamagedModel(RuntimeError):
    """The model's files differ from what was registered."""


@dataclass(frozen=True)
class ModelVersion:
    """One registered version: its number, aliases, tags and the metrics of its run."""

    name: str
    version: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Submission:
    """What is registered: a saved model folder and everything that tells how it came about.

    plots: files to log. example: a few input rows, from which the signature is read.
    loader: module with ``_load_pyfunc`` for the folder. tags: data fingerprint, code version, period.
    """

    name: str
    folder: Path
    loader: str
    example: pd.DataFrame
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    plots: tuple[Path, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Run:
    """Figures of registered versions on some trades, such as a backtest's. tags: among others the versions. files:
    plots and reports."""

    experiment: str
    name: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    files: tuple[Path, ...]


class ModelRegistry:
    """The MLflow tracking store and registry behind one database URL. MLflow is loaded, and its database made where
    there is none, when that is needed first: together they take some six seconds of processor time."""

    def __init__(self, *, url: str, artifacts: Path) -> None:
        self._database = sa.create_engine(url, hide_parameters=True, pool_pre_ping=True)
        self._url = url
        self._artifacts = artifacts

    @cached_property
    def _client(self) -> Any:
        import logging

        import mlflow

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        if self._file is not None:
            _let_readers_and_a_writer_work(self._file)
        return mlflow.MlflowClient(tracking_uri=self._url, registry_uri=self._url)

    @property
    def _file(self) -> Path | None:
        """The SQLite file that holds the registry, or None."""
        url = sa.make_url(self._url)
        return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None

    def register(self, submission: Submission, *, alias: str) -> ModelVersion:
        """Log one run, register its model and move ``alias`` to it."""
        import mlflow

        mlflow.set_tracking_uri(self._url)
        with mlflow.start_run(experiment_id=self._experiment(submission.name)) as run:
            mlflow.log_params(dict(submission.params))
            mlflow.log_metrics({k: v for k, v in submission.metrics.items() if v == v})
            mlflow.set_tags(dict(submission.tags))
            for plot in submission.plots:
                mlflow.log_artifact(str(plot), artifact_path="plots")
            self._name_version(submission, _log_model(submission), run.info.run_id, alias)
        return self.version(submission.name, alias)

    def log_run(self, run: Run) -> None:
        """Log figures that belong to no new version as a run of an experiment of their own."""
        import mlflow

        mlflow.set_tracking_uri(self._url)
        with mlflow.start_run(experiment_id=self._experiment(run.experiment), run_name=run.name):
            mlflow.log_metrics({k: v for k, v in run.metrics.items() if isfinite(v)})
            mlflow.set_tags(dict(run.tags))
            for file in run.files:
                mlflow.log_artifact(str(file), artifact_path="plots" if file.suffix in PLOTS else None)

    def _name_version(self, submission: Submission, uri: str, run_id: str, alias: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(submission.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        tags = dict(submission.tags) | {DIGEST_TAG: digest(submission.folder)}
        created = self._client.create_model_version(submission.name, source=uri, run_id=run_id, tags=tags)
        self.move_alias(submission.name, alias, str(created.version))

    def move_alias(self, name: str, alias: str, version: str) -> None:
        self._client.set_registered_model_alias(name, alias, version)

    def drop_alias(self, name: str, alias: str) -> None:
        self._client.delete_registered_model_alias(name, alias)

    def tag(self, model: ModelVersion, tags: Mapping[str, str]) -> None:
        """Add tags to a version."""
        for key, value in tags.items():
            self._client.set_model_version_tag(model.name, model.version, key, value)

    def find(self, name: str, alias: str) -> ModelVersion | None:
        """The version that carries the alias, or None."""
        try:
            return self.version(name, alias)
        except ModelNotFound:
            return None

    def version(self, name: str, alias: str) -> ModelVersion:
        """The version that carries the alias. Raises ModelNotFound."""
        for candidate in self.versions(name):
            if alias in candidate.aliases:
                return candidate
        raise ModelNotFound(f"no {alias} of the {name} model; train one with `huika train {name}`")

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions, newest first."""
        if self._file is not None and not self._file.exists():
            return []
        aliases: dict[str, list[str]] = {}
        for model in self._client.search_registered_models(f"name = '{name}'"):
            for alias, number in model.aliases.items():
                aliases.setdefault(str(number), []).append(alias)
        found = [
            ModelVersion(
                name=name,
                version=str(item.version),
                aliases=tuple(sorted(aliases.get(str(item.version), []))),
                tags=dict(item.tags),
                metrics=dict(self._client.get_run(item.run_id).data.metrics) if item.run_id else {},
            )
            for item in self._client.search_model_versions(f"name = '{name}'")
        ]
        return sorted(found, key=lambda item: int(item.version), reverse=True)

    def numbered(self, name: str, number: str) -> ModelVersion:
        """A version by its number, without the metrics of its run. Raises ModelNotFound."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_model_version(name, number)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise ModelNotFound(f"{name} version {number} is not in the registry") from None
        return ModelVersion(
            name=name,
            version=str(found.version),
            aliases=tuple(sorted(found.aliases)),
            tags=dict(found.tags),
            metrics={},
        )

    def aliases(self) -> dict[str, dict[str, str]]:
        """Model -> alias -> version, of all models; one small query, for who looks every few seconds.

        MLflow's own call builds whole models with tags and versions, which takes 5 ms of a service's processor time
        for each; a test compares the two.
        """
        _ = self._client  # has made the tables
        chosen = sa.text(
            "SELECT name, alias, version FROM registered_model_aliases WHERE workspace = 'default'"
        )
        found: dict[str, dict[str, str]] = {}
        with self._database.connect() as connection:
            for name, alias, number in connection.execute(chosen):
                found.setdefault(name, {})[alias] = str(number)
        return found

    def folder(self, model: ModelVersion) -> Path:
        """The version's files, on this machine. Raises DamagedModel where they are not what was registered."""
        folder = self._files(model)
        check_digest(folder, model)
        return folder

    def copy(self, model: ModelVersion, into: Path) -> Path:
        """A copy of the version's files in the folder ``into``, found to be what was registered after it was made.

        Raises DamagedModel where it is not, and where the files cannot be had.
        """
        from mlflow.exceptions import MlflowException

        try:
            folder = self._files(model, into=into)
        except (OSError, StopIteration, MlflowException) as error:
            reason = str(error) or "files are missing"
            raise DamagedModel(f"{model.name} version {model.version}: {reason}") from None
        check_digest(folder, model)
        return folder

    def _files(self, model: ModelVersion, *, into: Path | None = None) -> Path:
        import mlflow

        mlflow.set_tracking_uri(self._url)
        uri = self._client.get_model_version_download_uri(model.name, model.version)
        root = Path(
            mlflow.artifacts.download_artifacts(  # pyright: ignore[reportPrivateImportUsage]
                artifact_uri=uri, tracking_uri=self._url, dst_path=None if into is None else str(into)
            )
        )
        return next(path for path in (root / "data").iterdir() if path.is_dir())

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        return self._client.create_experiment(name, artifact_location=(self._artifacts / name).as_uri())


def _log_model(submission: Submission) -> str:
    import mlflow
    from mlflow.models import infer_signature

    info = mlflow.pyfunc.log_model(
        name="model",
        loader_module=submission.loader,
        data_path=str(submission.folder),
        signature=infer_signature(submission.example),
        input_example=submission.example,
        pip_requirements=REQUIREMENTS,
    )
    return info.model_uri


def check_digest(folder: Path, model: ModelVersion) -> None:
    """Raises DamagedModel where a folder is not what was registered as the version."""
    if digest(folder) != model.tags.get(DIGEST_TAG):
        raise DamagedModel(f"{model.name} version {model.version}: files differ from what was registered")


def digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files."""
    total = hashlib.sha256()
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        total.update(path.relative_to(folder).as_posix().encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _let_readers_and_a_writer_work(file: Path) -> None:
    """Side by side in a SQLite file, which is made if it is not there."""
    import sqlite3

    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode=WAL")

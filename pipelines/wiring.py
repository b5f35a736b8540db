"""Builds the parts that commands share from a workspace's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from features.store import FeatureStore
    from models.registry import ModelRegistry


def model_registry(workspace: Workspace) -> ModelRegistry:
    from models.registry import ModelRegistry

    return ModelRegistry(url=workspace.mlflow_url, artifacts=workspace.artifacts)


def feature_store(workspace: Workspace) -> FeatureStore:
    from features.store import FeatureStore

    return FeatureStore(workspace.feature_repo, online_url=workspace.settings.storage.online_url)

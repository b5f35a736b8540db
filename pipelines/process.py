"""The environment that every process needs before any library loads. Imports nothing."""

from __future__ import annotations

import os

PROCESS_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "GX_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "true",
    "FEAST_USAGE": "False",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""Telemetry of every library off; no pickled models; and LightGBM's threads sleep while they wait for each other
(spinning made a fit ten times slower on a busy machine)."""


def prepare_process() -> None:
    """Set ``PROCESS_ENVIRONMENT`` before any of the libraries load; a value set by the user stays."""
    for name, value in PROCESS_ENVIRONMENT.items():
        os.environ.setdefault(name, value)

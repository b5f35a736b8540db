"""Every test process runs as `huika` does: telemetry off, threads that sleep while they wait."""

from pipelines.workspace import prepare_process

prepare_process()

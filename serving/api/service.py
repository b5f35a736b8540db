"""The BentoML service: `/livez`, `/readyz`, `/metrics` and `/docs.json` are Bento's, `/v1` is ours."""

from __future__ import annotations

import os

import bentoml

from serving.api.app import create_app
from serving.api.wiring import lifespan

app = create_app(lifespan)


@bentoml.service(
    name="huika",
    workers=int(os.environ.get("HUIKA_WORKERS", "1")),
    traffic={"timeout": 10, "max_concurrency": 256},
    logging={"access": {"enabled": False}},
    metrics={"enabled": True, "namespace": "huika"},
)
@bentoml.asgi_app(app, path="/")
class Huika:
    """Pricing and fraud scoring of gift cards."""

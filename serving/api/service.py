"""The BentoML service: `/livez` and `/readyz` are Bento's, `/v1`, `/metrics` and `/docs.json` are ours.

Bento's own metrics are off: they label every series with the path, and a path names a quote. Its traces record every
request whether they are wanted or not, with path and address; ours know neither (:mod:`serving.api.tracing`).
"""

from __future__ import annotations

import os

import bentoml

from serving.api.access.body import LAST_RESORT_SECONDS
from serving.api.access.middleware import OuterGuard
from serving.api.app import create_app
from serving.api.direct import Direct
from serving.api.wiring import lifespan

app = create_app(lifespan)


@bentoml.service(
    name="huika",
    workers=int(os.environ.get("HUIKA_WORKERS", "1")),
    traffic={"timeout": LAST_RESORT_SECONDS, "max_concurrency": 256},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    tracing={"excluded_urls": ".*"},
)
@bentoml.asgi_app(app, path="/")
class Huika:
    """Pricing and fraud scoring of gift cards."""


# The first stands around the second. Bento's type of what it takes is wrong.
Huika.add_asgi_middleware(OuterGuard, state=app.state)  # pyright: ignore[reportArgumentType]
Huika.add_asgi_middleware(Direct, ours=app)  # pyright: ignore[reportArgumentType]

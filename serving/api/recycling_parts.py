"""What the routes of the recycling flow are handed: the flow, and who asks."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from pipelines.recycling.opening import Recycling
from serving.api.access.asking import Asker, asker_of


def _recycling(request: Request) -> Recycling:
    return request.app.state.recycling


TheFlow = Annotated[Recycling, Depends(_recycling)]
TheAsker = Annotated[Asker, Depends(asker_of)]

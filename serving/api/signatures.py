"""The public keys by which anybody can verify a quote offline."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from pipelines.signing import jwks
from serving.api.schemas import Body

MEDIA_TYPE = "application/jwk-set+json"
FRESH_SECONDS = 300

router = APIRouter()


class PublicKey(Body):
    """An Ed25519 public key as a JSON Web Key (RFC 8037); ``kid`` is its thumbprint (RFC 7638)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    alg: Literal["Ed25519"]
    use: Literal["sig"]


class KeySet(Body):
    """Every key that has signed quotes here, by ``kid``."""

    keys: list[PublicKey]


class KeySetResponse(JSONResponse):
    media_type = MEDIA_TYPE


@router.get(
    "/v1/keys",
    response_model=KeySet,
    response_class=KeySetResponse,
    summary="The public keys of quotes",
    tags=["quotes"],
)
def get_keys(request: Request) -> JSONResponse:
    """The public keys of all quotes ever signed here, for verifying them offline."""
    # Read each time: a rotation publishes its key before the service starts again and signs with it.
    keys = request.app.state.signing_keys.published()
    headers = {"Cache-Control": f"public, max-age={FRESH_SECONDS}"}
    return KeySetResponse(jwks(keys), headers=headers)

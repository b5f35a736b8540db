"""Which addresses callbacks may go to: public ones by HTTPS, or this machine named as such. Nothing that a partner
names makes the platform speak to a machine of its own network."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host's name. Raises OSError."""

MOST_LETTERS = 1_000
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TRANSLATED = tuple(
    ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)
"""IPv6 addresses that carry an IPv4 one, which may be private."""


class AddressRefused(ValueError):
    """Callbacks do not go there; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Address:
    """A checked address. ip: where it leads now; connect there and nowhere else, as a name may lead elsewhere later."""

    url: str
    scheme: str
    host: str
    port: int
    ip: str
    target: str

    @property
    def connect_url(self) -> str:
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{self.scheme}://{host}:{self.port}{self.target}"

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return host if self.port == usual else f"{host}:{self.port}"


async def resolved(host: str, port: int) -> list[str]:
    """The addresses of a name as the system knows them. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(item[4][0]) for item in found]


async def checked(url: str, *, resolve: Resolve = resolved) -> Address:
    """The address, if callbacks may go there. Every address that its name has must be public. Raises AddressRefused."""
    scheme, host, port, target = _parts(url)
    local = host in LOOPBACK
    if scheme != "https" and not local:
        raise AddressRefused("not_https", "a callback address is https://…, or http:// on this machine")
    try:
        ips = ["127.0.0.1" if host == "localhost" else host] if local else await resolve(host, port)
    except (OSError, UnicodeError):
        ips = []
    if not ips:
        raise AddressRefused("unknown_host", "the name of the callback address leads nowhere")
    if not local and not all(_is_public(ip) for ip in ips):
        raise AddressRefused(
            "private_address", "callbacks go to public addresses, or to this machine by name"
        )
    return Address(url=url, scheme=scheme, host=host, port=port, ip=ips[0], target=target)


def _parts(url: str) -> tuple[str, str, int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("malformed", "this is not an address") from None
    host = (parts.hostname or "").rstrip(".")
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if parts.scheme not in ("https", "http") or not host or not plain or len(url) > MOST_LETTERS:
        raise AddressRefused("malformed", "a callback address is https://host/path")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise AddressRefused("malformed", "a callback address carries no user, password or fragment")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80), target


def _is_public(text: str) -> bool:
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return _is_public(str(ip.ipv4_mapped))
        if any(ip in net for net in _TRANSLATED):
            return False
    return ip.is_global and not ip.is_multicast

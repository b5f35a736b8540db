"""Callbacks go to partners' public addresses or to this machine by name, and to nothing else of our network."""

from __future__ import annotations

import asyncio

import pytest

from pipelines.recycling.callback_address import AddressRefused, checked
from tests.pipelines.test_callbacks import PUBLIC, resolve

REFUSED = {
    "http://partner.example/": "not_https",
    "ftp://partner.example/": "malformed",
    "https://": "malformed",
    "https://user:word@partner.example/": "malformed",
    "https://partner.example:99999/": "malformed",
    "https://partner.example/\r\nX: y": "malformed",
    "https://inside.example/": "private_address",
    "https://nowhere.example/": "unknown_host",
}


@pytest.mark.parametrize("url", list(REFUSED))
def test_an_address_that_is_not_for_partners_is_refused(url):
    """Not HTTPS, not an address, credentials in it, or a name of a private address: refused by name."""
    with pytest.raises(AddressRefused) as refused:
        asyncio.run(checked(url, resolve=resolve))
    assert refused.value.code == REFUSED[url]


@pytest.mark.parametrize(
    "ip",
    [
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "127.0.0.2",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "fe80::1%eth0",
        "fd00::1",
        "::",
    ],
)
def test_a_name_that_leads_inside_is_refused(ip):
    """One private, link-local, shared, multicast or translated address among those of a name is enough; also where a
    name leads to this machine."""

    async def mixed(host: str, port: int) -> list[str]:
        return [PUBLIC, ip]

    with pytest.raises(AddressRefused) as refused:
        asyncio.run(checked("https://partner.example/", resolve=mixed))
    assert refused.value.code == "private_address"


@pytest.mark.parametrize(
    "url", ["https://2130706433/", "https://0x7f.1/", "https://10.0.0.1/", "https://[fd00::1]/"]
)
def test_numbers_that_mean_a_private_address_are_refused(url):
    """However a private address is written."""
    with pytest.raises(AddressRefused):
        asyncio.run(checked(url))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/x", "http://localhost:9000/x", "https://[::1]/", "https://93.184.215.14/"]
)
def test_this_machine_and_public_addresses_are_taken(url):
    """Loopback by name, for partners' apps on the same machine, and public addresses."""
    assert asyncio.run(checked(url)).url == url

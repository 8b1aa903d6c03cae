"""Which addresses a webhook may go to: none of this machine's or its network's, whatever the DNS says."""

import socket
from typing import Any

import pytest

from emag_syncd.notify.addresses import is_public
from emag_syncd.notify.sender import Receiver, Sender
from tests.notify.support import wanting
from tests.support.receiver import receiving


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2002:c0a8:101::",
    ],
)
def test_private_addresses_are_not_public(address: str) -> None:
    """Loopback, private, link-local with the metadata services, shared, reserved, multicast, and wrapped ones."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "172.15.0.1", "172.32.0.1", "2001:4860:4860::8888", "::ffff:8.8.8.8"])
def test_the_internet_is_public(address: str) -> None:
    """Those next to private ranges too."""
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "rebound.example"])
async def test_a_connection_is_refused_before_it_is_made(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given as an address or by a name, the one the DNS made up included: nothing reaches the receiver."""
    resolve = socket.getaddrinfo

    def rebound(name: Any, *wanted: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if name == "rebound.example" else name, *wanted, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    async with receiving() as receiver:
        port = receiver.url.partition("://127.0.0.1:")[2].partition("/")[0]
        url = f"http://{host}:{port}/hook"
        refused = Sender(wanting(allow_private=False), attempt_seconds=5)
        attempt = await refused.send(Receiver(url), "msg_1", "{}")
        await refused.close()
        assert "is a private address; webhooks.allow_private = true permits" in attempt.error
        assert not receiver.heard
        if host == "127.0.0.1":
            permitted = Sender(wanting(receiver.url), attempt_seconds=5)
            assert not (await permitted.send(Receiver(receiver.url), "msg_1", "{}")).error
            await permitted.close()


def test_only_the_address_without_its_query_is_shown() -> None:
    """A token in a receiver's URL stands neither in its repr nor in what logs and tables have of it."""
    receiver = Receiver("https://example.com/hook?token=t0ken")
    assert "t0ken" not in repr(receiver)
    assert receiver.address == "https://example.com/hook"

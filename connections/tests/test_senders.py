"""Which address a webhook came from: only what trusted proxies wrote is believed."""

from __future__ import annotations

import pytest

from connections.senders import is_private, networks, sender_of, within

PROXIES = networks("10.0.0.0/8, 2001:db8::/32")


@pytest.mark.parametrize(
    ("socket", "header", "sender"),
    [
        ("198.51.100.9", "", "198.51.100.9"),
        ("198.51.100.9", "203.0.113.7", "198.51.100.9"),  # whoever writes the header himself is not believed
        ("10.0.0.2", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.2", "203.0.113.7, 10.0.0.9", "203.0.113.7"),  # two proxies of ours
        ("10.0.0.2", "192.0.2.1, 203.0.113.7", "203.0.113.7"),  # the first one was the sender's own claim
        ("10.0.0.2", "", "10.0.0.2"),
        ("10.0.0.2", "nonsense", ""),
        ("2001:db8::5", "[2606:4700::1]:443", "2606:4700::1"),
        ("10.0.0.2", "203.0.113.7:5501", "203.0.113.7"),
        ("::ffff:198.51.100.9", "", "198.51.100.9"),
        ("", "203.0.113.7", "203.0.113.7"),  # a Unix socket: only a proxy on this machine reaches it
    ],
)
def test_the_sender_is_the_last_address_that_a_trusted_proxy_vouches_for(socket: str, header: str, sender: str) -> None:
    assert sender_of(socket, header, PROXIES) == sender


def test_without_trusted_proxies_the_header_counts_for_nothing() -> None:
    assert sender_of("10.0.0.2", "203.0.113.7", []) == "10.0.0.2"
    assert sender_of("", "203.0.113.7", []) == ""


def test_lists_are_read_as_people_write_them() -> None:
    listed = networks("203.0.113.7\n198.51.100.0/24, 2001:db8::/32")
    assert within("198.51.100.200", listed) and within("2001:db8::1", listed) and within("203.0.113.7", listed)
    assert not within("203.0.113.8", listed) and not within("", listed)
    assert networks("") == []
    with pytest.raises(ValueError, match="is no address and no network"):
        networks("203.0.113.7 acme.example")


def test_private_addresses_are_known_as_such() -> None:
    assert is_private("10.1.2.3") and is_private("127.0.0.1") and not is_private("8.8.8.8") and not is_private("x")

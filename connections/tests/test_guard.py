"""The address guard: what it keeps connections away from, and what a deployment can allow."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from connections.connectors.base import Retry
from connections.connectors.http import Session
from connections.guard import AddressRefused, check_address, is_public, resolve
from connections.sandbox.base import Response, Server, Standin


@pytest.fixture(autouse=True)
def nothing_allowed(settings):
    settings.ALLOWED_PRIVATE_ADDRESSES = []


def names(monkeypatch, table):
    """Let names resolve as `table` says."""

    def answer(host, port, *args, **kwargs):
        return [
            (socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port))
            for ip in table.get(host, [host])
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.64.0.1",
        "100.100.100.200",
        "192.0.0.8",
        "198.18.0.1",
        "203.0.113.5",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
    ],
)
def test_a_special_address_is_refused_in_forms_and_on_the_wire(ip):
    assert not is_public(ipaddress.ip_address(ip))
    url = f"https://[{ip}]/" if ":" in ip else f"https://{ip}/"
    with pytest.raises(AddressRefused, match="not an address of the internet"):
        check_address(url)
    with pytest.raises(Retry, match="not an address of the internet"):
        Session(url).request("GET", "/")


@pytest.mark.parametrize("ip", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_an_ordinary_address_is_let_through(ip):
    assert is_public(ipaddress.ip_address(ip))
    check_address(f"https://[{ip}]/" if ":" in ip else f"https://{ip}/")


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.01", "8.8.8.0x8", "10.0.0.1."]
)
def test_an_odd_spelling_of_an_address_is_refused(host):
    with pytest.raises(AddressRefused, match="unusual spelling"):
        check_address(f"https://{host}/")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.com/", "no web address"),
        ("file:///etc/passwd", "no web address"),
        ("gopher://example.com/", "no web address"),
        ("example.com", "no web address"),
        ("https://", "no web address"),
        ("https://example.com:99999/", "no address"),
        ("https://[::1/", "no address"),
        ("https://me:pw@example.com/", "holds a user name"),
        ("https://example.com@10.0.0.1/", "holds a user name"),
        ("https://exa mple.com/", "characters no host name has"),
        ("https://example.com\\@10.0.0.1/", "holds a user name"),
        ("https://ⓔxample.com/", "characters no host name has"),
        ("http://example.com/", "not encrypted"),
        ("https://example.com:22/", "Port 22"),
        ("https://example.com:25/", "Port 25"),
        ("https://example.com:6379/", "Port 6379"),
        ("https://localhost/", "not an address of the internet"),
        ("https://jira.localhost/", "not an address of the internet"),
    ],
)
def test_a_form_says_what_is_wrong_with_an_address(url, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        check_address(url)
    assert "Nothing was sent." in str(caught.value)
    assert "pw" not in str(caught.value).replace("passwords", "")


@pytest.mark.parametrize("url", ["https://example.atlassian.net", "https://jira.example.com:8443/jira"])
def test_a_form_takes_an_ordinary_address(url):
    check_address(url)


def test_a_name_is_refused_if_any_of_its_addresses_is_private(monkeypatch):
    names(monkeypatch, {"mixed.example": ["8.8.8.8", "10.0.0.1"]})
    with pytest.raises(AddressRefused, match=r"leads to 10\.0\.0\.1"):
        resolve("https", "mixed.example", 443)


@pytest.mark.parametrize(
    ("entries", "url"),
    [
        (["10.1.0.0/16"], "http://10.1.2.3:8080/"),
        (["10.1.2.3"], "http://10.1.2.3/"),
        (["10.1.2.3:8080"], "http://10.1.2.3:8080/"),
        (["[fd12::1]:8080"], "http://[fd12::1]:8080/"),
        (["fd12::/16"], "http://[fd12::1]/"),
        (["10.1.0.0/16"], "https://[::ffff:10.1.2.3]/"),
        (["127.0.0.1:5432"], "http://127.0.0.1:5432/"),
    ],
)
def test_a_deployment_can_allow_a_private_address(settings, entries, url):
    settings.ALLOWED_PRIVATE_ADDRESSES = entries
    check_address(url)


@pytest.mark.parametrize(
    ("entries", "url"),
    [
        (["10.1.2.3:8080"], "http://10.1.2.3:8081/"),
        (["10.1.2.3:8080"], "http://10.1.2.4:8080/"),
        (["10.0.0.0/8"], "http://192.168.0.1/"),
        (["0.0.0.0/0"], "http://169.254.169.254/latest/meta-data/"),
        (["169.254.0.0/16"], "http://169.254.169.254/"),
    ],
)
def test_an_exception_allows_no_more_than_it_says(settings, entries, url):
    settings.ALLOWED_PRIVATE_ADDRESSES = entries
    with pytest.raises(AddressRefused):
        check_address(url)


def test_a_host_can_be_allowed_by_its_name(settings, monkeypatch):
    settings.ALLOWED_PRIVATE_ADDRESSES = ["jira.intra:8080"]
    names(monkeypatch, {"jira.intra": ["10.1.2.3"], "other.intra": ["10.1.2.3"]})
    check_address("http://jira.intra:8080/")
    assert [str(ip) for ip in resolve("http", "jira.intra", 8080)] == ["10.1.2.3"]
    for scheme, host, port in (("http", "jira.intra", 8081), ("http", "other.intra", 8080)):
        with pytest.raises(AddressRefused):
            resolve(scheme, host, port)


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "10.0.0.1:", "jira.intra", ":80", "10.0.0.1:http"])
def test_an_exception_that_cannot_be_read_stops_everything(settings, entry):
    settings.ALLOWED_PRIVATE_ADDRESSES = [entry]
    with pytest.raises(ValueError, match="ALLOWED_PRIVATE_ADDRESSES"):
        check_address("https://10.0.0.1/")


def test_http_to_a_name_that_turns_out_to_be_public_is_refused(settings, monkeypatch):
    settings.ALLOWED_PRIVATE_ADDRESSES = ["10.1.0.0/16"]
    names(monkeypatch, {"jira.example": ["8.8.8.8"]})
    check_address("http://jira.example/")  # it might be one of the allowed ones
    with pytest.raises(Retry, match="not encrypted"):
        Session("http://jira.example").request("GET", "/")


def test_the_checked_address_is_the_used_one_and_the_host_header_stays(settings, monkeypatch):
    seen = []

    class Host(Standin):
        def handle(self, request):
            seen.append(request.headers["host"])
            return Response(200, {})

    settings.ALLOWED_PRIVATE_ADDRESSES = ["127.0.0.1"]
    lookups = []
    with Server(Host()) as address:
        port = int(address.rpartition(":")[2])

        def once(host, port, *args, **kwargs):
            if host == "jira.example":
                lookups.append(host)
                # A second look-up would be answered with an address that was never checked.
                host = "127.0.0.1" if len(lookups) == 1 else "10.9.9.9"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

        monkeypatch.setattr(socket, "getaddrinfo", once)
        session = Session(f"http://jira.example:{port}")
        assert session.request("GET", "/").ok
        assert session.request("GET", "/").ok
    assert lookups == ["jira.example"]
    assert seen == [f"jira.example:{port}"] * 2

"""The table of ways in which webhook requests prove their sender: right, wrong, altered, replayed, unset."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from connections.connectors.base import DeliveryRequest
from connections.connectors.proofs import Proof, check

NOW = 1_790_000_000.0
SECRET, BODY = "a long secret", '{"id": 7, "title": "Grüße"}'.encode()
VALUES = {"webhook_secret": SECRET, "login": "sync"}
ISO = datetime.fromtimestamp(NOW, UTC).isoformat().replace("+00:00", "Z")


def mac(digest: str, covered: bytes) -> bytes:
    return hmac.new(SECRET.encode(), covered, getattr(hashlib, digest)).digest()


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


# (what, the proof, headers of a right request)
WAYS = [
    ("GitHub", Proof(header="x", prefix="sha256="), {"x": "sha256=" + mac("sha256", BODY).hex()}),
    ("SHA-1 in hex", Proof(header="x", digest="sha1", prefix="sha1="), {"x": "sha1=" + mac("sha1", BODY).hex()}),
    ("SHA-512", Proof(header="x", digest="sha512", encoding="base64"), {"x": b64(mac("sha512", BODY))}),
    (
        "Zendesk",
        Proof(header="x", encoding="base64", signed=("timestamp", "body"), timestamp="t", unit="iso"),
        {"x": b64(mac("sha256", ISO.encode() + BODY)), "t": ISO},
    ),
    (
        "time in milliseconds",
        Proof(header="x", signed=("timestamp", ".", "body"), timestamp="t", unit="ms"),
        {"x": mac("sha256", f"{NOW * 1000:.0f}.".encode() + BODY).hex(), "t": f"{NOW * 1000:.0f}"},
    ),
    ("a bearer secret", Proof(how="token", prefix="Bearer "), {"authorization": f"Bearer {SECRET}"}),
    ("a secret in a header", Proof(how="token", header="x-token"), {"x-token": SECRET}),
    ("Basic", Proof(how="basic", user="login"), {"authorization": "Basic " + b64(f"sync:{SECRET}".encode())}),
]
IDS = [name for name, _, _ in WAYS]
EACH = pytest.mark.parametrize(("proof", "headers"), [(proof, headers) for _, proof, headers in WAYS], ids=IDS)


def request(headers: dict[str, str], body: bytes = BODY) -> DeliveryRequest:
    return DeliveryRequest("POST", "/hooks/x/", headers, body)


@EACH
def test_a_right_one_is_verified(proof: Proof, headers: dict[str, str]) -> None:
    verdict = check(proof, VALUES, request(headers), NOW)
    assert (verdict.verified, verdict.reason) == (True, "")


@EACH
def test_a_wrong_or_missing_proof_is_not(proof: Proof, headers: dict[str, str]) -> None:
    given = headers[proof.header]
    for wrong in ("", given[:-1], given + "0", given.swapcase(), "é" + given, given.replace(proof.prefix, "", 1) + "="):
        verdict = check(proof, VALUES, request({**headers, proof.header: wrong}), NOW)
        assert not verdict.verified and verdict.reason and verdict.provable, wrong
    assert not check(proof, {**VALUES, "webhook_secret": "another"}, request(headers), NOW).verified


@EACH
def test_an_altered_body_is_noticed_where_it_is_signed(proof: Proof, headers: dict[str, str]) -> None:
    assert check(proof, VALUES, request(headers, BODY + b" "), NOW).verified is (proof.how != "hmac")


@EACH
def test_a_replayed_one_is_noticed_where_its_time_is_signed(proof: Proof, headers: dict[str, str]) -> None:
    for late in (-301, 301, 1e9):
        assert check(proof, VALUES, request(headers), NOW + late).verified is not bool(proof.timestamp)
    assert check(proof, VALUES, request(headers), NOW + 299).verified
    if proof.timestamp:
        for odd in ("", "nan", "x", "1e999", "0"):
            assert not check(proof, VALUES, request({**headers, "t": odd}), NOW).verified


@EACH
def test_without_an_agreed_secret_nothing_can_be_proved(proof: Proof, headers: dict[str, str]) -> None:
    verdict = check(proof, {"login": "sync"}, request(headers), NOW)
    assert (verdict.verified, verdict.provable) == (False, False)
    assert not check(None, VALUES, request(headers), NOW).provable


def test_a_window_of_its_own_counts() -> None:
    proof, headers = WAYS[4][1], WAYS[4][2]
    assert check(replace(proof, window=3600), VALUES, request(headers), NOW + 3000).verified

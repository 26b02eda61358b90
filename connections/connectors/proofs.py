"""How webhook requests prove who sent them, as data, and the one place that checks it. Pure.

A connector declares a `Proof`; what it is cannot be got wrong by each connector in its own way: constant-time
comparison, the bytes as received, the replay window. Another vendor's habit is another row, not another function.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

# A signed request is believed for so long: clocks differ, and the sender's queue of outgoing calls may be full.
REPLAY_SECONDS = 300.0
DIGESTS = {"sha1": hashlib.sha1, "sha256": hashlib.sha256, "sha512": hashlib.sha512}

NOT_SET_UP = "nothing is agreed that could prove who sends: the connection has no webhook secret"
CANNOT = "this system signs nothing, so nothing proves who sends"
MISSING = "the request is not signed"
WRONG = "the signature does not fit"
WRONG_SECRET = "the secret it carries is not ours"  # noqa: S105 - a sentence
OLD = "it was signed too long ago, or by a clock that is far off"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a request must carry.

    =======  ===========================================================================================
    how      the header holds
    =======  ===========================================================================================
    hmac     `prefix`, then the HMAC by `digest` of `signed` under the secret, as `encoding`
    token    `prefix` ("Bearer "), then the secret itself
    basic    HTTP Basic authentication: the user is the setting `user`, the password is the secret
    =======  ===========================================================================================

    `signed`: what is covered, in order: "timestamp" and "body" stand for those, anything else for itself (".").
    `timestamp`: the header with the sender's time; where it is not signed it protects from nothing and must stay empty.
    """

    header: str = "authorization"  # lower case
    how: str = "hmac"
    secret: str = "webhook_secret"  # noqa: S105 - a name: of the connection's secret that both sides know
    digest: str = "sha256"
    encoding: str = "hex"  # or "base64"
    prefix: str = ""
    signed: Sequence[str] = ("body",)
    timestamp: str = ""
    unit: str = "s"  # of the timestamp: "s", "ms" (since 1970) or "iso"
    window: float = REPLAY_SECONDS
    user: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason`: why it is not verified, in words; `provable`: whether a sender could have proved itself at all."""

    verified: bool
    reason: str = ""
    provable: bool = True


class Request(Protocol):
    """The part of base.DeliveryRequest that proves something."""

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def body(self) -> bytes: ...


def check(proof: Proof | None, values: Mapping[str, str], request: Request, now: float) -> Verdict:
    """values: the connection's settings and secrets; now: seconds, our clock."""
    if proof is None:
        return Verdict(False, CANNOT, provable=False)
    secret = values.get(proof.secret, "")
    if not secret:
        return Verdict(False, NOT_SET_UP, provable=False)
    given = request.headers.get(proof.header, "")
    if not given:
        return Verdict(False, MISSING)
    if proof.how != "hmac":
        wanted = _basic(values.get(proof.user, ""), secret) if proof.how == "basic" else proof.prefix + secret
        return Verdict(True) if _same(given, wanted) else Verdict(False, WRONG_SECRET)
    sent_at = request.headers.get(proof.timestamp, "") if proof.timestamp else ""
    if proof.timestamp and not sent_at:
        return Verdict(False, MISSING)
    covered = b"".join({"timestamp": sent_at.encode(), "body": request.body}.get(p, p.encode()) for p in proof.signed)
    mac = hmac.new(secret.encode(), covered, DIGESTS[proof.digest]).digest()
    encoded = mac.hex() if proof.encoding == "hex" else base64.b64encode(mac).decode()
    if not _same(given, proof.prefix + encoded):
        return Verdict(False, WRONG)
    if proof.timestamp and not _recent(sent_at, proof, now):
        return Verdict(False, OLD)
    return Verdict(True)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _recent(sent_at: str, proof: Proof, now: float) -> bool:
    try:
        seconds = datetime.fromisoformat(sent_at).timestamp() if proof.unit == "iso" else float(sent_at)
    except (ValueError, OverflowError):
        return False
    return abs(now - (seconds / 1000 if proof.unit == "ms" else seconds)) <= proof.window

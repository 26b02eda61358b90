"""The bell of a ServiceNow instance: a business rule of ours that an administrator pastes in, and its signed requests.

ServiceNow has no webhooks of its own. The rule runs after each change and sends without waiting, so that nobody's save
is slowed down; what gets lost on the way is found by polling. Its signature covers the time and the body:
base64(HMAC-SHA256(secret, time + "." + body)). Facts: "GlideCertificateEncryption, generateMac" (its key is base64).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence

from connections.connectors.base import DeliveryRequest, Hint, ParsedDelivery
from connections.connectors.servicenow_fields import moment, version_in
from connections.connectors.servicenow_query import is_id, name

SIGNATURE, SENT_AT = "x-syncadmin-signature", "x-syncadmin-timestamp"
# A signed request is believed for so long: clocks differ, and the instance's queue of outgoing calls may be full.
REPLAY_SECONDS = 300.0
PROPERTY = "syncadmin.webhook_secret"

SCRIPT = """(function executeRule(current, previous) {
    var body = JSON.stringify({
        delivery: gs.generateGUID() + "",
        table: current.getRecordClassName() + "",
        sys_id: current.getUniqueValue() + "",
        operation: current.operation() + "",
        by: gs.getUserName() + "",
        sys_mod_count: current.getValue("sys_mod_count") + "",
        sys_updated_on: current.getValue("sys_updated_on") + "",
        title: current.getDisplayValue() + " " + (current.getValue("short_description") || "")
    }).replace(/[\\u007f-\\uffff]/g, function(sign) {
        return "\\\\u" + ("000" + sign.charCodeAt(0).toString(16)).slice(-4);
    });
    var sent = Math.floor(new Date().getTime() / 1000) + "";
    var key = GlideStringUtil.base64Encode(gs.getProperty("%(property)s"));
    var mac = new GlideCertificateEncryption().generateMac(key, "HmacSHA256", sent + "." + body);
    var request = new sn_ws.RESTMessageV2();
    request.setEndpoint("%(url)s");
    request.setHttpMethod("post");
    request.setRequestHeader("Content-Type", "application/json");
    request.setRequestHeader("X-SyncAdmin-Timestamp", sent);
    request.setRequestHeader("X-SyncAdmin-Signature", mac);
    request.setRequestBody(body);
    request.executeAsync();
})(current, previous);"""


def parse(request: DeliveryRequest, secret: str, account: str | None, now: float) -> ParsedDelivery:
    """account: what our own account signs in with, if known; now: seconds. Raises ValueError on what is no delivery."""
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise ValueError("the body is no JSON") from None
    table, id = (body.get("table"), body.get("sys_id")) if isinstance(body, Mapping) else (None, None)
    if not isinstance(table, str) or not is_id(id):
        raise ValueError("the body names no record")
    reason = _why_unverified(request, secret, now)
    deleted = body.get("operation") == "delete"
    by, delivery = body.get("by"), body.get("delivery")
    hint = Hint(
        object_type=name(table),
        external_id=str(id),
        version=None if deleted else version_in(body.get("sys_mod_count"), body.get("sys_updated_on")),
        own_account=bool(account) and by == account,
        deleted=deleted,
        verified=not reason,
        at=moment(body.get("sys_updated_on")),
        created=body.get("operation") == "insert",
    )
    return ParsedDelivery(
        delivery_id=delivery if isinstance(delivery, str) and delivery else None,
        event=f"{table} {body.get('operation') or 'change'}",
        verified=not reason,
        reason=reason,
        hints=(hint,),
    )


def _why_unverified(request: DeliveryRequest, secret: str, now: float) -> str:
    if not secret:
        return "the connection has no webhook secret"
    given, sent = request.headers.get(SIGNATURE, ""), request.headers.get(SENT_AT, "")
    if not given or not sent:
        return "the request is not signed"
    wanted = base64.b64encode(hmac.new(secret.encode(), f"{sent}.".encode() + request.body, hashlib.sha256).digest())
    if not hmac.compare_digest(given.encode(), wanted):
        return "the signature does not fit"
    if not sent.isdecimal() or abs(now - int(sent)) > REPLAY_SECONDS:
        return "it was signed too long ago, or by a clock that is far off"
    return ""


def by_hand(tables: Sequence[str], where: str, url: str) -> str:
    """How an administrator sets the bell up: two records, one of them with this script."""
    each = "; ".join(tables)
    return (
        "ServiceNow has no webhooks of its own: an administrator makes a property and a business rule of ours. · Enter "
        f"sys_properties.list in the navigator and make a property {PROPERTY}: type string, Private ticked, read role "
        "admin, as value the webhook secret of this connection. Then open System Definition → Business Rules → New, "
        f"once for each table ({each}): Active and Advanced ticked; When: after; Insert, Update and Delete ticked"
        f"{f'; Filter: {where}' if where else ''}; and this script: · {SCRIPT % {'property': PROPERTY, 'url': url}}"
    )

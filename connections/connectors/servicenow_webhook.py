"""The bell of a ServiceNow instance: a business rule of ours that an administrator pastes in, and its signed requests.

ServiceNow has no webhooks of its own. The rule runs after each change and sends without waiting, so that nobody's save
is slowed down; what gets lost on the way is found by polling. Its signature covers the time and the body:
base64(HMAC-SHA256(secret, time + "." + body)). Facts: "GlideCertificateEncryption, generateMac" (its key is base64).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from connections.connectors.base import DeliveryRequest, Hint, ParsedDelivery, Step
from connections.connectors.proofs import Proof, Verdict
from connections.connectors.servicenow_fields import moment, version_in
from connections.connectors.servicenow_query import is_id, name

PROOF = Proof(
    header="x-syncadmin-signature",
    encoding="base64",
    signed=("timestamp", ".", "body"),
    timestamp="x-syncadmin-timestamp",
)
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


def parse(request: DeliveryRequest, verdict: Verdict, account: str | None) -> ParsedDelivery:
    """account: what our own account signs in with, if known. Raises ValueError on what is no delivery."""
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise ValueError("the body is no JSON") from None
    table, id = (body.get("table"), body.get("sys_id")) if isinstance(body, Mapping) else (None, None)
    if not isinstance(table, str) or not is_id(id):
        raise ValueError("the body names no record")
    deleted = body.get("operation") == "delete"
    by, delivery = body.get("by"), body.get("delivery")
    hint = Hint(
        object_type=name(table),
        external_id=str(id),
        version=None if deleted else version_in(body.get("sys_mod_count"), body.get("sys_updated_on")),
        own_account=bool(account) and by == account,
        deleted=deleted,
        verified=verdict.verified,
        at=moment(body.get("sys_updated_on")),
        created=body.get("operation") == "insert",
    )
    return ParsedDelivery(
        delivery_id=delivery if isinstance(delivery, str) and delivery else None,
        event=f"{table} {body.get('operation') or 'change'}",
        verified=verdict.verified,
        reason=verdict.reason,
        hints=(hint,),
        provable=verdict.provable,
    )


def by_hand(tables: Sequence[str], where: str, url: str) -> Sequence[Step]:
    """How an administrator sets the bell up: two records, one of them with this script."""
    ticked = f"Insert, Update and Delete ticked{f'; Filter: {where}' if where else ''}"
    return (
        Step(
            "ServiceNow has no webhooks of its own: two records of ours make one. Enter sys_properties.list in the "
            "navigator and make a property of type string, Private ticked, read role admin. Its value is the webhook "
            "secret of this connection, its name:",
            PROPERTY,
        ),
        Step(
            "Open System Definition → Business Rules → New, once for each of these tables. Tick Active and Advanced; "
            f"When: after; {ticked}.",
            "\n".join(tables),
        ),
        Step(
            "Paste this as the script of each rule. It sends without waiting, so nobody's save takes longer.",
            SCRIPT % {"property": PROPERTY, "url": url},
        ),
    )

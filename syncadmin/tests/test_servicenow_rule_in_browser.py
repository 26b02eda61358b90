"""The business rule that administrators paste into ServiceNow, run by a script engine: what it sends is believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

from django.test import SimpleTestCase
from playwright.sync_api import sync_playwright

from connections.connectors.base import DeliveryRequest
from connections.connectors.proofs import check
from connections.connectors.servicenow_webhook import PROOF, by_hand, parse
from syncadmin.tests.browsing import CHROMIUM

ID, SECRET, URL = "a" * 32, "a-long-webhook-secret", "https://sync.example/hooks/x/"
TITLE = 'Grüße, 日本 \\ "x"\n'
# The parts of the instance that the script uses, as the vendor's documentation has them.
INSTANCE = """
    var sent = {headers: {}};
    var gs = {
        generateGUID: function() { return "guid-1"; },
        getUserName: function() { return "jane"; },
        getProperty: function(name) { return name === "syncadmin.webhook_secret" ? %(secret)s : null; }
    };
    var GlideStringUtil = {base64Encode: function(text) { return btoa(text); }};
    function GlideCertificateEncryption() {
        this.generateMac = function(key, algorithm, data) { sent.mac = [key, algorithm, data]; return "MAC"; };
    }
    var sn_ws = {RESTMessageV2: function() {
        this.setEndpoint = function(url) { sent.url = url; };
        this.setHttpMethod = function(method) { sent.method = method; };
        this.setRequestHeader = function(name, value) { sent.headers[name] = value; };
        this.setRequestBody = function(body) { sent.body = body; };
        this.executeAsync = function() { sent.gone = true; };
    }};
    var values = {sys_mod_count: "3", sys_updated_on: "2026-01-01 00:00:00", short_description: %(title)s};
    var previous = {}, current = {
        getRecordClassName: function() { return "incident"; },
        getUniqueValue: function() { return %(id)s; },
        operation: function() { return "update"; },
        getValue: function(name) { return values[name]; },
        getDisplayValue: function() { return "INC0010001"; }
    };
"""


class RuleTests(SimpleTestCase):
    def test_what_the_pasted_rule_sends_is_verified_and_names_the_version(self) -> None:
        script = by_hand(["incident"], "active=true", URL)[2].code
        given = {name: json.dumps(value) for name, value in (("secret", SECRET), ("title", TITLE), ("id", ID))}
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page()
            # Copied from a page that folds white space, the script is one line.
            runs = [
                page.evaluate(f"() => {{ {INSTANCE % given} {text}; return sent; }}")
                for text in (script, _folded(script))
            ]
            browser.close()
        for sent in runs:
            self.assertEqual((sent["url"], sent["method"], sent["gone"]), (URL, "post", True))
            self.assertTrue(sent["body"].isascii())
            key, algorithm, data = sent["mac"]
            self.assertEqual(algorithm, "HmacSHA256")
            mac = hmac.new(base64.b64decode(key), data.encode(), hashlib.sha256).digest()
            headers = {name.lower(): value for name, value in sent["headers"].items()}
            headers["x-syncadmin-signature"] = base64.b64encode(mac).decode()
            request = DeliveryRequest("POST", "/hooks/x/", headers, sent["body"].encode())
            verdict = check(PROOF, {"webhook_secret": SECRET}, request, time.time())
            parsed = parse(request, verdict, "jane")
            [hint] = parsed.hints
            self.assertEqual((parsed.verified, parsed.reason, parsed.delivery_id), (True, "", "guid-1"))
            self.assertEqual((hint.external_id, hint.version), (ID, "3 2026-01-01 00:00:00"))
            self.assertTrue(hint.own_account)
            self.assertEqual(json.loads(sent["body"])["title"], f"INC0010001 {TITLE}")


def _folded(script: str) -> str:
    return " ".join(script.split())

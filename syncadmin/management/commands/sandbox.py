from __future__ import annotations

import argparse
import secrets
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from syncadmin.demo import standins
from syncadmin.demo.credentials import GITHUB_LOGIN, INTEGRATION_EMAIL, SERVICENOW_USER, Credentials
from syncadmin.demo.seed_github import REPOSITORY


class Command(BaseCommand):
    help = "Serve a local stand-in for a vendor's API, on this machine only: `sandbox jira --port 9101 --data FILE`."
    requires_system_checks = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("kind", choices=sorted(standins.KINDS))
        parser.add_argument("--port", type=int, required=True)
        parser.add_argument("--data", default=":memory:", help="SQLite file that keeps the records (default: none)")
        parser.add_argument("--latency", type=float, default=0.0, help="seconds each API call takes")
        parser.add_argument("--seed", choices=["demo"], help="fill it with the demo's records at the first start")
        parser.add_argument("--word", help="with --seed: what the sign-ins are derived from (default: a random one)")

    def handle(self, *args: Any, **options: Any) -> None:
        credentials = None
        if options["seed"]:
            credentials = Credentials(options["word"] or secrets.token_hex(16))
        if options["data"] != ":memory:" and not Path(options["data"]).resolve().parent.is_dir():
            raise CommandError(f"There is no folder for {options['data']}. Nothing was started. Make it first.")
        try:
            standin = standins.make(options["kind"], options["data"], options["latency"], credentials)
            server = standins.Server(standin, options["port"])
        except OSError as error:
            raise CommandError(
                f"The stand-in cannot listen on port {options['port']} ({error.strerror}). Nothing was started. "
                "Choose another --port."
            ) from None
        self.stdout.write(f"Stand-in for {options['kind']} at {server.address}")
        if credentials is not None:
            self.stdout.write(f"Sign in as {self.sign_in(options['kind'], credentials)}")
        server.server.run()

    def sign_in(self, kind: str, credentials: Credentials) -> str:
        client = "client id {} and client secret {}".format(*credentials.salesforce_app(INTEGRATION_EMAIL))
        return {
            "github": f"{GITHUB_LOGIN} with the token {credentials.github_token()} (repository {REPOSITORY})",
            "jira": f"{INTEGRATION_EMAIL} with the API token {credentials.jira_token(INTEGRATION_EMAIL)}",
            "salesforce": f"{INTEGRATION_EMAIL} with {client}",
            "servicenow": f"{SERVICENOW_USER} with the password {credentials.servicenow_password()}",
            "zendesk": f"{INTEGRATION_EMAIL} with the API token {credentials.zendesk_token()}",
        }[kind]

"""`python -m syncadmin.demo --port 8123`: the demo's settings first, then Django with them."""

from __future__ import annotations

import argparse
import os
import sys

from syncadmin.demo import environment


def main() -> None:
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    try:
        settings = environment.prepare(options.port)
    except environment.Unusable as error:
        sys.exit(f"\n{error}\n")
    os.environ.update(settings)
    os.environ["ENV_FILE"] = str(environment.FOLDER / "env")  # a .env beside it belongs to another installation
    os.environ["DJANGO_SETTINGS_MODULE"] = "syncadmin.settings"
    os.environ.pop("DEBUG", None)

    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", "demo", "--port", str(options.port)])


if __name__ == "__main__":
    main()

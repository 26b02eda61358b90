"""Settings of the test suite: fast password hashing, plain static files, stand-ins on loopback allowed."""

import os
import tempfile

os.environ.setdefault("DATA_DIR", tempfile.mkdtemp(prefix="syncadmin-test-"))

from syncadmin.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # noqa: F405
ALLOWED_PRIVATE_ADDRESSES = ["127.0.0.0/8"]
ALLOWED_HOSTS = ["*"]
AXES_ENABLED = False
EPOCH_FILE = ""  # each test has a database of its own, while a file would stay
INBOX_FILE = ""  # a test's transaction takes back what it stored; a file would keep it

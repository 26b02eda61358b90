"""Settings: everything a deployment decides comes from the environment (.env.example lists it all)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import environ

from connections.senders import networks
from syncadmin import embedded

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environ.Env.read_env(env("ENV_FILE", default=str(BASE_DIR / ".env")))  # the environment itself goes first

# Where the embedded parts keep their files: SQLite, Valkey, generated keys.
DATA_DIR = Path(env("DATA_DIR", default=str(BASE_DIR / ".data"))).resolve()

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env("SECRET_KEY", default="")
CREDENTIAL_KEYS = env.list("CREDENTIAL_KEYS", default=[])
if not SECRET_KEY or not CREDENTIAL_KEYS:
    from syncadmin.keys import generated_keys

    _generated = generated_keys(DATA_DIR)
    SECRET_KEY = SECRET_KEY or _generated["SECRET_KEY"]
    CREDENTIAL_KEYS = CREDENTIAL_KEYS or [_generated["CREDENTIAL_KEY"]]

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# The address under which the outside reaches us: webhook addresses are built from it.
PUBLIC_URL = env("PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")

INSTALLED_APPS = [
    "syncadmin",
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "syncadmin.apps.SiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_rq",
    "axes",
    "csp",
    "connections",
    "mappings",
    "sync",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]

ROOT_URLCONF = "syncadmin.urls"
WSGI_APPLICATION = "syncadmin.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "connections.access.context",
                "syncadmin.context.shell",
            ],
        },
    }
]

if env("DATABASE_URL", default=""):
    DATABASES = {"default": env.db("DATABASE_URL")}
else:
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA_DIR / "syncadmin.sqlite3"}}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE takes the write lock at BEGIN, so no transaction fails half way for a lock; FULL survives power loss.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
else:
    DATABASES["default"].setdefault("CONN_MAX_AGE", 60)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Webhooks are written to a file of their own first where the database takes one write at a time; "": to the database.
_inbox = str(DATA_DIR / "inbox.sqlite3") if DATABASES["default"]["ENGINE"].endswith("sqlite3") else ""
INBOX_FILE = env("INBOX_FILE", default=_inbox)
# Notes how far the database has counted, so that a restored backup is noticed: best on a disk that no backup covers.
EPOCH_FILE = env("EPOCH_FILE", default=str(DATA_DIR / "epoch.json"))
REDIS_URL = env("REDIS_URL", default="")  # empty: the embedded Valkey of `manage.py up` and `demo`
_queue = {"URL": REDIS_URL or embedded.url(DATA_DIR), "SERIALIZER": "rq.serializers.JSONSerializer"}
RQ_QUEUES = {name: dict(_queue, DEFAULT_TIMEOUT=600) for name in ("live", "bulk", "housekeeping")}
RQ_SHOW_ADMIN_LINK = False
# Functions that connections/hooks.py calls by name, so that the lower apps need not import `sync`.
BELL = "sync.jobs.bell"
AUDIT = "sync.audit.write"
WAKE = "sync.jobs.wake"
OBJECT_TYPES = "mappings.in_use.object_types"
OPEN_CONNECTOR = "connections.open.open_connector"

# Addresses that connections may reach although they are private: "127.0.0.1:9101", "10.1.0.0/16".
ALLOWED_PRIVATE_ADDRESSES = env.list("ALLOWED_PRIVATE_ADDRESSES", default=[])
# The folder whose SQLite files connections may open; empty: none.
SQLITE_FOLDER = env("SQLITE_FOLDER", default="")
REMOTE_TIMEOUT_SECONDS = env.float("REMOTE_TIMEOUT_SECONDS", default=20.0)

LANGUAGE_CODE = "en-gb"
TIME_ZONE = env("TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = env("STATIC_ROOT", default=str(DATA_DIR / "static"))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# Pages --------------------------------------------------------------------------------------------------------------

# Which installation this is, shown under the product's name: "brightwater · production".
PLACE_NAME = env("PLACE_NAME", default=urlsplit(PUBLIC_URL).hostname or "")

LOGIN_URL = "login"
CSRF_FAILURE_VIEW = "syncadmin.views.errors.form_too_old"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

_HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_AGE = 12 * 3600  # a working day; then a person proves again who they are
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31536000 if _HTTPS else 0
X_FRAME_OPTIONS = "DENY"
if env.bool("BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# Proxies whose `X-Forwarded-For` is believed: addresses and networks. Empty: the socket's address is the sender's.
TRUSTED_PROXIES = networks(env("TRUSTED_PROXIES", default=""))
# How long received webhooks are listed, and known again if they are replayed.
KEEP_DELIVERIES_DAYS = env.float("KEEP_DELIVERIES_DAYS", default=30.0)
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# Five wrong passwords close the log-in for this user name from this address.
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=30)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "syncadmin.views.login.locked_out"
AXES_VERBOSE = False  # its log lines would name people

# No script and no style but our own files. Unfold's model forms need inline styles; syncadmin/site.py allows them
# for those pages alone.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "font-src": ["'self'"],
        "form-action": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

UNFOLD = {
    "SITE_TITLE": "SyncAdmin",
    "SITE_HEADER": "SyncAdmin",
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "8px",
}

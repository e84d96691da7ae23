"""Settings of the guestbook: SQLite, sessions in signed cookies, and no more than it needs.

GUESTBOOK_DATABASE and GUESTBOOK_SECRET name the database and the key of what is signed.
"""

import os
import secrets
from pathlib import Path

# Without a key of its own, whatever was signed is worth nothing after a restart.
SECRET_KEY = os.environ.get("GUESTBOOK_SECRET") or secrets.token_urlsafe(50)
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
INSTALLED_APPS = ["django.contrib.sessions", "guestbook"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "guestbook.urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("GUESTBOOK_DATABASE", str(Path.cwd() / "guestbook.sqlite3")),
        # Two writers at once wait for each other instead of failing.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode = WAL"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
USE_TZ = True

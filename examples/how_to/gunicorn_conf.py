"""The configuration for gunicorn_app.py."""

from pathlib import Path
from typing import Any

chdir = str(Path(__file__).parent)
wsgi_app = "gunicorn_app:app"
workers = 2
preload_app = True


def on_exit(server: Any) -> None:
    """Remove the semaphore when the master ends; the segment needs no removal."""
    from gunicorn_app import reports

    reports.remove()

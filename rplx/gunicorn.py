"""Hooks and settings for gunicorn: `gunicorn -c python:rplx.gunicorn rplx.wsgi:application`."""

from rplx.hosts.gunicorn_worker import *  # noqa: F403
from rplx.hosts.gunicorn_worker import __all__ as __all__

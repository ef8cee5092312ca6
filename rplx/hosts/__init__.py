"""The WAIT and IN lines inside other servers; `rplx.wsgi`, `rplx.gunicorn` and `rplx.runtime` are the doors."""

"""The version of rplx."""

__version__ = "1.0.0"

"""Sockets of both lines."""

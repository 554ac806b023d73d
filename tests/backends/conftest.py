"""A raw server on the loopback, for whoever sends requests."""

from tests.raw_server import answer, server

__all__ = ["answer", "server"]

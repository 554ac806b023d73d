"""A fixture with a raw server on the loopback."""

from tests.raw_server import answer, server

__all__ = ["answer", "server"]

"""AWS on this machine, as the tests of configuration have it, and a raw server."""

from tests.configuration.conftest import aws, environ, moto_url
from tests.raw_server import answer, server

__all__ = ["answer", "aws", "environ", "moto_url", "server"]

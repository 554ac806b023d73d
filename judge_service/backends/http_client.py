"""The HTTP client under the direct backends, with a judge's manners, and whom it trusts and goes through.

Seen of pyreqwest 0.15 (reqwest 0.13) and held by `tests/backends/test_transport_tls.py`: a CA file
without a certificate in it and a proxy of a scheme it does not know are silently ignored, the latter
by going directly. So both are read by us first.
"""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import BuilderError
from pyreqwest.proxy import ProxyBuilder

from judge_service.errors import SettingsError
from judge_service.settings import HttpSettings

USER_AGENT = "judge-service"
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


def open_client(http: HttpSettings, max_connections: int) -> Client:
    """A client that goes where it is told and nowhere else. Opens no connection yet.

    Redirects, cookies, decompression and proxies from the environment are off. Certificates are
    verified against the system's roots, or those of `SSL_CERT_FILE`, and `http.ca_file` besides.
    TCP keep-alive (15 s, three probes) and `TCP_USER_TIMEOUT` (30 s) are reqwest's own defaults: a
    peer that vanished without a word is found out before the call's timeout.

    Raises SettingsError for a CA file or a proxy that cannot be used.
    """
    builder = (
        ClientBuilder()
        .user_agent(USER_AGENT)
        .follow_redirects(False)
        .referer(False)
        .no_proxy()
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .max_connections(max_connections)
        .pool_max_idle_per_host(max_connections)
        .connect_timeout(timedelta(seconds=http.connect_timeout_s))
        .pool_idle_timeout(timedelta(seconds=http.idle_timeout_s))
    )
    if http.ca_file:
        builder = builder.add_root_certificate_pem(read_certificates(http.ca_file))
    if proxy_url := proxy_url_of(http):
        builder = builder.proxy(ProxyBuilder.all(proxy_url))
    try:
        return builder.build()
    except BuilderError as problem:
        raise SettingsError(
            f"the HTTP client cannot be built ({_cause(problem)}): see http.ca_file, or install the"
            " system's certificates (ca-certificates)"
        ) from problem


def proxy_url_of(http: HttpSettings) -> str | None:
    """The proxy that the settings name. Raises SettingsError; the message does not show its password."""
    proxy_url = http.proxy_url
    if proxy_url and shown(proxy_url) is None:
        raise SettingsError(
            "http.proxy_url is no proxy: write http://host:port or https://host:port,"
            " with user:password@ before the host if it asks for them"
        )
    return proxy_url or None


def read_certificates(ca_file: str) -> bytes:
    """The PEM bytes of a CA file. Reads a file, so not on the loop. Raises SettingsError."""
    try:
        content = Path(ca_file).read_bytes()
    except OSError as problem:
        raise SettingsError(f"http.ca_file cannot be read: {problem}") from problem
    if _CERTIFICATE not in content:
        raise SettingsError(f"http.ca_file ({ca_file}) holds no certificate in PEM form")
    return content


def shown(proxy_url: str) -> str | None:
    """A proxy's URL without user and password, `None` if it is no URL of a proxy."""
    try:
        parts = urlsplit(proxy_url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    known = parts.scheme in {"http", "https"} and parts.hostname
    return f"{parts.scheme}://{parts.hostname}{port}" if known else None


def _cause(problem: BuilderError) -> str:
    details = getattr(problem, "details", None) or {}
    causes = details.get("causes") or ()
    return str(causes[-1]["message"]) if causes else str(problem)

"""API keys: identify the caller, with its share of the service and its lane.

The file contains only hashes. A key has 256 random bits, so its plain SHA-256 cannot be inverted or looked
up, and a slow password hash would add nothing.
"""

import hashlib
import hmac
import secrets
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from judge_service.api.errors import HttpError
from judge_service.errors import SettingsError

Lane = Literal["interactive", "training", "bulk"]
MAX_LIVE_KEYS = 2
"""Most keys of one tenant: the present one and its replacement."""


class Caller(Struct, frozen=True, kw_only=True):
    """The caller of a request.

    tenant: empty if no keys are configured.
    share: the share of the queue that this caller may use, 0 (suspended) to 1 (all of it).
    lane: the lane in which its work waits for the judge's quota.
    """

    tenant: str = ""
    share: float = 1.0
    lane: Lane = "training"


ANYBODY = Caller()


class KeyEntry(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[keys]]` table of the file. sha256: hash of the key, in hexadecimal."""

    tenant: Annotated[str, Meta(min_length=1, max_length=64)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    share: Annotated[float, Meta(ge=0, le=1)] = 1.0
    lane: Lane = "training"


class _KeyFile(Struct, frozen=True, forbid_unknown_fields=True):
    keys: list[KeyEntry]


class Keys:
    """The API keys of the service."""

    def __init__(self, entries: Iterable[KeyEntry]) -> None:
        self._by_hash: Mapping[str, KeyEntry] = {one.sha256: one for one in entries}

    def __repr__(self) -> str:
        tenants = {one.tenant for one in self._by_hash.values()}
        return f"<Keys {len(self._by_hash)} of {len(tenants)} tenants>"

    def caller(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """The caller that sent these headers. Raises HttpError 401, or 403 for a tenant whose share is 0."""
        key = _sent_key(headers)
        if key is None:
            raise _unauthorized("send an API key as `Authorization: Bearer ...` or `X-API-Key`")
        digest = hashlib.sha256(key).hexdigest()
        entry = self._by_hash.get(digest)
        if entry is None or not hmac.compare_digest(entry.sha256, digest):
            raise _unauthorized("the API key is unknown; ask the operator for one")
        if entry.share == 0:
            raise HttpError(403, "suspended", "this API key is suspended; ask the operator")
        return Caller(tenant=entry.tenant, share=entry.share, lane=entry.lane)


def read_keys(path: Path) -> Keys:
    """Reads the file of keys. Raises SettingsError that names the mistake."""
    try:
        entries = msgspec.convert(tomllib.loads(path.read_text()), _KeyFile).keys
    except OSError as problem:
        raise SettingsError(
            f"`service.api_keys_file`: {path} cannot be read ({problem.strerror})"
        ) from None
    except (ValueError, msgspec.ValidationError) as problem:
        raise SettingsError(f"`service.api_keys_file`: {path}: {problem}") from None
    for tenant, count in Counter(one.tenant for one in entries).items():
        if count > MAX_LIVE_KEYS:
            raise SettingsError(
                f"`service.api_keys_file`: {path}: {tenant} has {count} keys; remove the oldest, so"
                f" that {MAX_LIVE_KEYS} are left"
            )
    if not entries:
        raise SettingsError(f"`service.api_keys_file`: {path}: has no keys; make one")
    return Keys(entries)


def new_key(tenant: str, *, share: float = 1.0, lane: Lane = "training") -> tuple[str, str]:
    """A new key, and its table for the file.

    Raises SettingsError for a tenant, share or lane that is not valid in the file.
    """
    key = f"jk_{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    entry = {"tenant": tenant, "sha256": digest, "share": share, "lane": lane}
    try:
        msgspec.convert(entry, KeyEntry)
    except msgspec.ValidationError as problem:
        raise SettingsError(f"{problem}") from None
    # a JSON string is a TOML string
    lines = [f"{name} = {msgspec.json.encode(value).decode()}" for name, value in entry.items()]
    return key, "\n".join(["[[keys]]", *lines, ""])


def _sent_key(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name == b"x-api-key":
            return value
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
    return None


def _unauthorized(message: str) -> HttpError:
    return HttpError(401, "unauthorized", message, headers={"www-authenticate": "Bearer"})

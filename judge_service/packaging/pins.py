"""The packages that a function needs in addition to ours, with versions and hashes of their files.

In a checkout they are those of `requirements.lock`. An installed judge-service has no lock: it uses the
versions that are installed and checks no hashes.
"""

import re
from pathlib import Path

from msgspec import Struct

from judge_service.errors import SettingsError
from judge_service.settings import Settings

NEEDED = ("httptools", "msgspec", "tenacity")
"""Our dependencies without `rich`, which only the terminal needs."""

LOCK = Path(__file__).parents[2] / "requirements.lock"
_PIN = re.compile(
    r"^([a-zA-Z0-9._-]+)==(\S+)((?:\s*\\\n\s+--hash=sha256:[0-9a-f]{64})*)", re.MULTILINE
)
_HASH = re.compile(r"[0-9a-f]{64}")


class Pin(Struct, frozen=True, order=True):
    """One package. hashes: sha256 of its files, empty without a lock."""

    name: str
    version: str
    hashes: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def pins(settings: Settings, lock: Path = LOCK) -> list[Pin]:
    """The packages that a function with these settings imports; never boto.

    Raises SettingsError for settings that need packages which do not fit.
    """
    _refuse_what_does_not_fit(settings)
    names = [*NEEDED]
    if settings.limits.store == "redis" or settings.cache.redis_url:
        names.append("redis")
    locked = _locked(lock)
    return [locked.get(name) or _installed(name) for name in sorted(names)]


def _installed(name: str) -> Pin:
    from importlib.metadata import version  # noqa: PLC0415 - 10 ms, only without a lock

    return Pin(name, version(name))


def _locked(lock: Path) -> dict[str, Pin]:
    if not lock.exists():
        return {}
    return {
        name: Pin(name, number, frozenset(_HASH.findall(hashes)))
        for name, number, hashes in _PIN.findall(lock.read_text("utf-8"))
    }


def _refuse_what_does_not_fit(settings: Settings) -> None:
    bedrock = settings.bedrock
    if settings.backend == "bedrock" and (bedrock.transport == "aioboto3" or bedrock.profile):
        key = "bedrock.profile" if bedrock.profile else "bedrock.transport"
        raise SettingsError(
            f"`{key}` needs aioboto3, which a function's package does not hold; leave it out, the"
            " function signs its calls with the credentials of its role"
        )

"""Reads the present settings and rubric from the places that `JUDGE_CONFIG` and `rubric` name."""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from judge_service.configuration.places import Places
from judge_service.errors import SettingsError
from judge_service.settings import Settings, is_remote, parse_settings

TTL_VARIABLE = "JUDGE_CONFIG_TTL_S"
TTL_S = 60.0
"""Default time to live: a changed rubric is used soon, and a read a minute costs little."""


class Configured(Struct, frozen=True):
    """The configuration of a judge. Equal for equal texts.

    settings: a remote rubric is included as its text.
    origin: the places that were read, for messages; `""` for the environment alone.
    is_remote: whether it may change while the process runs.
    """

    settings: Settings
    origin: str = ""
    is_remote: bool = False


async def read_configuration(
    place: str | None, environ: Mapping[str, str], places: Places
) -> Configured:
    """Reads the settings, and the rubric if it is remote.

    place: of the TOML file, as in `JUDGE_CONFIG`; `None` reads the environment alone.
    environ: `JUDGE_...` variables, which have precedence over the file.

    Raises SettingsError.
    """
    text = await places.read(place) if place else ""
    settings = parse_settings(text, place or "", environ)
    read = [place] if place else []
    if is_remote(settings.rubric):
        read.append(settings.rubric)
        settings = replace(settings, rubric=await places.read(settings.rubric) + "\n")
    return Configured(settings, " and ".join(read), any(map(is_remote, read)))


def ttl_s(environ: Mapping[str, str]) -> float:
    """Seconds for which a remote configuration is valid, 1 to 86,400. Raises SettingsError."""
    text = environ.get(TTL_VARIABLE, "")
    try:
        seconds = float(text) if text else TTL_S
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86_400:
        raise SettingsError(f"{TTL_VARIABLE}: `{text}` is not a number of seconds from 1 to 86400")
    return seconds

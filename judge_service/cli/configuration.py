"""Finds the settings of a command: those of `--config`, else of `JUDGE_CONFIG`, else the defaults.

A file in the working directory is never read without being named, because the judge must not depend on it.
"""

import argparse
import asyncio
import os
from pathlib import Path

from judge_service.errors import SettingsError
from judge_service.settings import Settings, is_remote, load_settings


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--config`."""
    parser.add_argument(
        "--config",
        metavar="TOML",
        help="settings: a file, s3://bucket/key or ssm:/parameter/name"
        " (default: the place that JUDGE_CONFIG names, else the built-in defaults)",
    )


def read_settings(arguments: argparse.Namespace) -> Settings:
    """The settings of a command.

    Raises SettingsError with one sentence that names file and key.
    """
    place = config_place(arguments)
    if place is not None and is_remote(place):
        return asyncio.run(_fetch(place))
    return load_settings(Path(place) if place else None, os.environ)


def config_place(arguments: argparse.Namespace) -> str | None:
    """The place of the settings, `None` if none is named."""
    return arguments.config or os.environ.get("JUDGE_CONFIG") or None


def config_path(arguments: argparse.Namespace) -> Path | None:
    """The settings file, `None` if none is named.

    Raises SettingsError for a place that is not a file.
    """
    place = config_place(arguments)
    if place is not None and is_remote(place):
        raise SettingsError(f"{place}: this command needs a file; name one with --config")
    return Path(place) if place else None


async def _fetch(place: str) -> Settings:
    # imported only if such a place is named
    from judge_service.configuration import Places, read_configuration  # noqa: PLC0415 - as said above

    places = Places(os.environ)
    try:
        return (await read_configuration(place, os.environ, places)).settings
    finally:
        await places.aclose()

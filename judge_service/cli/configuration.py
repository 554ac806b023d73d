"""Where the settings of a command come from: `--config`, else `JUDGE_CONFIG`, else none; never a
file that merely lies in the working directory, because what judges must not depend on where one stands.
"""

import argparse
import os
from pathlib import Path

from judge_service.settings import Settings, load_settings


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--config`."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="TOML",
        help="settings (default: the file that JUDGE_CONFIG names, else the built-in defaults)",
    )


def read_settings(arguments: argparse.Namespace) -> Settings:
    """The settings a command runs with.

    Raises SettingsError in one sentence that names file and key.
    """
    return load_settings(config_path(arguments), os.environ)


def config_path(arguments: argparse.Namespace) -> Path | None:
    """The settings file, `None` when none is named."""
    named = arguments.config or os.environ.get("JUDGE_CONFIG")
    return Path(named) if named else None

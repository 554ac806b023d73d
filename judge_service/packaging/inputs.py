"""The user's files that go into a package."""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from judge_service.errors import SettingsError
from judge_service.settings import Settings


class Inputs(Struct, frozen=True):
    """The user's files of a package.

    config: becomes `judge.toml`.
    beside: files that the settings name, kept at the same place relative to `config`.
    modules: Python files, put where they can be imported.
    """

    config: Path | None = None
    beside: tuple[Path, ...] = ()
    modules: tuple[Path, ...] = ()


def inputs_of(config: Path | None, settings: Settings, modules: Sequence[Path]) -> Inputs:
    """Finds the files that the settings name.

    Raises SettingsError for settings that could not work in the function.
    """
    if config is None:
        return Inputs(modules=tuple(modules))
    _refuse_embedded(config, settings)
    beside = []
    if settings.rubric.endswith(".toml") and not settings.rubric.startswith(("s3://", "ssm:")):
        beside.append(Path(settings.rubric))
    module, _, _ = settings.grader.rpartition(":")
    if module.endswith(".py"):
        beside.append(Path(module))
    elif module and module.partition(".")[0] not in [path.stem for path in modules]:
        raise SettingsError(
            f"{config}: `grader` names the module {module}, which the package does not hold; give its"
            f" file with --grader {module}.py"
        )
    return Inputs(config, tuple(beside), tuple(modules))


def _refuse_embedded(config: Path, settings: Settings) -> None:
    """Refuses the embedded judge: without its model a function would silently use the lexical stand-in."""
    if settings.backend == "local" and not settings.grader:
        raise SettingsError(
            f"{config}: the embedded judge's model and runtime are too large for a function's"
            ' package; set `backend = "bedrock"`, or build the Lambda image, which can hold them'
        )

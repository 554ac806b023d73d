"""The built package: reproducible, small, without boto, and it says how fast it starts."""

import zipfile
from pathlib import Path

import pytest

from judge_service.errors import JudgeServiceError
from judge_service.packaging.cold_start import measure
from judge_service.packaging.inputs import Inputs
from judge_service.packaging.package import build
from judge_service.packaging.target import Interpreter, Target, find_interpreter
from judge_service.settings import Settings
from tests.packaging import built

MAX_PACKED_BYTES = 8_000_000
LAMBDAS_UNPACKED_BYTES = 250_000_000
ARM = Target(python="3.13", architecture="arm64")


def names(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as packed:
        return packed.namelist()


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    first = built.package()
    again = built.build_example(tmp_path / "again.zip")

    assert any(name.endswith(".pyc") for name in names(again.path))
    assert again.sha256 == first.sha256
    assert again.path.read_bytes() == first.path.read_bytes()


def test_it_is_small_and_has_no_boto() -> None:
    package = built.package()
    tops = {name.split("/")[0].split("-")[0] for name in names(package.path)}

    assert package.packed_bytes == package.path.stat().st_size <= MAX_PACKED_BYTES
    assert package.unpacked_bytes <= LAMBDAS_UNPACKED_BYTES
    assert tops == {
        "judge.toml",
        "rubrics",
        "judge_service",
        "lambda_adapter",
        "httptools",
        "msgspec",
        "tenacity",
    }


def test_the_import_of_the_handler_is_measured_where_the_package_can_run() -> None:
    cold_start = built.package().cold_start

    assert cold_start.import_s is not None
    assert 0.001 < cold_start.import_s < 10
    assert cold_start.note.startswith("on this machine, CPython 3.")


def test_for_another_architecture_the_wheels_are_its_own_and_nothing_is_measured(
    tmp_path: Path,
) -> None:
    built.package()  # skips where there is no index
    package = build(tmp_path / "a.zip", "layer", ARM, Settings(), Inputs(), cache=built.WHEELS)
    native = [name for name in names(package.path) if name.endswith(".so")]

    assert native
    assert all("cpython-313-aarch64" in name for name in native)
    assert package.packed_bytes <= MAX_PACKED_BYTES
    assert package.hashes_checked
    assert package.cold_start.import_s is None
    assert package.cold_start.note.startswith("not measured: ")


def test_a_package_whose_handler_does_not_import_is_no_package(tmp_path: Path) -> None:
    archive = tmp_path / "broken.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("lambda_adapter/handler.py", "import something_missing")

    with pytest.raises(JudgeServiceError, match="No module named 'something_missing'"):
        measure(archive, "lambda", built.HERE, find_interpreter(built.PYTHON))


def test_what_cannot_be_measured_here_says_why() -> None:
    other = Interpreter(Path("python"), "3.13.0", "riscv64")

    assert measure(Path("x"), "lambda", ARM, None).note.endswith("no Python 3.13 on this machine")
    assert measure(Path("x"), "lambda", ARM, other).note == "not measured: this machine is riscv64"

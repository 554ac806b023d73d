"""The layout of a package's files."""

import platform
from pathlib import Path

import pytest

from judge_service.errors import JudgeServiceError, SettingsError
from judge_service.packaging.inputs import Inputs, inputs_of
from judge_service.packaging.target import Target, find_interpreter
from judge_service.packaging.tree import UNUSED, compile_bytecode, lay_out
from judge_service.settings import Settings, load_settings

PYTHON = ".".join(platform.python_version_tuple()[:2])
BEDROCK = 'backend = "bedrock"\nmodel = "amazon.nova-lite-v1:0"\n'


def config(folder: Path, *lines: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "mine.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_functions_code_and_settings_are_at_the_top(tmp_path: Path) -> None:
    lay_out(tmp_path / "out", "lambda", [], Inputs(config(tmp_path / "in", BEDROCK)))

    assert (tmp_path / "out/judge.toml").read_text() == BEDROCK + "\n"
    assert (tmp_path / "out/lambda_adapter/handler.py").exists()
    assert (tmp_path / "out/judge_service/service.py").exists()


def test_a_layers_code_is_under_python_and_its_settings_at_the_top(tmp_path: Path) -> None:
    lay_out(tmp_path / "out", "layer", [], Inputs(config(tmp_path / "in", BEDROCK)))

    assert {path.name for path in (tmp_path / "out").iterdir()} == {"python", "judge.toml"}
    assert (tmp_path / "out/python/lambda_adapter/handler.py").exists()


def test_what_a_function_never_runs_stays_out(tmp_path: Path) -> None:
    lay_out(tmp_path, "lambda", [], Inputs())

    assert not [name for name in UNUSED if (tmp_path / "judge_service" / name).exists()]
    assert not (tmp_path / "lambda_adapter/template.yaml").exists()
    assert not list(tmp_path.rglob("*.pyc"))


def test_rubric_and_grader_keep_their_place_beside_the_settings(tmp_path: Path) -> None:
    path = config(tmp_path / "in", 'rubric = "rubrics/r.toml"', 'grader = "own.py:grade"')
    (tmp_path / "in/rubrics").mkdir()
    (tmp_path / "in/rubrics/r.toml").write_text("x = 1")
    (tmp_path / "in/own.py").write_text("def grade(sample): ...")

    lay_out(tmp_path / "out", "layer", [], inputs_of(path, load_settings(path), []))

    assert (tmp_path / "out/rubrics/r.toml").read_text() == "x = 1"
    assert (tmp_path / "out/own.py").exists()


def test_a_graders_module_can_be_imported(tmp_path: Path) -> None:
    path = config(tmp_path / "in", 'grader = "own:grade"')
    (tmp_path / "own.py").write_text("def grade(sample): ...")
    inputs = inputs_of(path, load_settings(path), [tmp_path / "own.py"])

    lay_out(tmp_path / "out", "layer", [], inputs)

    assert (tmp_path / "out/python/own.py").exists()


def test_a_module_that_is_not_given_is_asked_for(tmp_path: Path) -> None:
    path = config(tmp_path, 'grader = "own:grade"')

    with pytest.raises(SettingsError, match=r"does not hold; give its file with --grader own.py"):
        inputs_of(path, load_settings(path), [])


def test_a_rubric_outside_of_the_settings_folder_is_refused(tmp_path: Path) -> None:
    path = config(tmp_path / "in", BEDROCK, 'rubric = "../r.toml"')
    (tmp_path / "r.toml").write_text("x = 1")

    with pytest.raises(SettingsError, match=r"r\.toml: is outside"):
        lay_out(tmp_path / "out", "lambda", [], inputs_of(path, load_settings(path), []))


@pytest.mark.parametrize("rubric", ["s3://bucket/r.toml", "ssm:/judge/r.toml", "similarity"])
def test_a_rubric_that_the_function_has_or_fetches_is_not_packed(
    tmp_path: Path, rubric: str
) -> None:
    settings = Settings(backend="bedrock", model="m", rubric=rubric)

    assert inputs_of(tmp_path / "judge.toml", settings, []).beside == ()


def test_a_file_that_would_hide_one_of_the_packages_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lambda_adapter").write_text("")

    with pytest.raises(SettingsError, match="the package has a lambda_adapter already"):
        lay_out(tmp_path / "out", "lambda", [], Inputs(modules=(tmp_path / "lambda_adapter",)))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"own\.py: cannot be packed \(No such file"):
        lay_out(tmp_path / "out", "lambda", [], Inputs(modules=(tmp_path / "own.py",)))


def test_the_embedded_judge_is_refused_and_told_where_to_go(tmp_path: Path) -> None:
    path = config(tmp_path, 'backend = "local"')

    with pytest.raises(SettingsError, match="embedded judge's model and runtime are too large"):
        inputs_of(path, load_settings(path), [])


def test_bytecode_names_files_as_lambda_mounts_them(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("def f(): ...")
    interpreter = find_interpreter(PYTHON)
    assert interpreter is not None

    compile_bytecode(tmp_path, "lambda", interpreter)

    (compiled,) = tmp_path.rglob("*.pyc")
    assert b"/var/task/one.py" in compiled.read_bytes()
    assert str(tmp_path).encode() not in compiled.read_bytes()
    assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00"  # by hash, unchecked


def test_a_grader_that_is_no_python_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("x = 1\ndef f(:\n")
    interpreter = find_interpreter(PYTHON)
    assert interpreter is not None

    with pytest.raises(JudgeServiceError, match=r"does not compile .*own\.py.*line 2"):
        compile_bytecode(tmp_path, "lambda", interpreter)


def test_there_is_no_interpreter_of_a_python_nobody_has() -> None:
    assert find_interpreter("3.99") is None


def test_an_architecture_that_lambda_has_not_is_refused() -> None:
    with pytest.raises(
        SettingsError, match="Lambda has no architecture `riscv`; use one of x86_64"
    ):
        Target(architecture="riscv")

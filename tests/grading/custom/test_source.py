"""A mistake in a custom grader is one sentence of a SettingsError when the service opens."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from judge_service.errors import SettingsError
from judge_service.grading import CustomGrader, open_custom_grader
from judge_service.grading.custom import grader as own_module
from judge_service.settings import load_settings

FORM = "`grader`: `own_x:f` takes "

CASES = {
    "no such module": (
        "",
        "no_such:f",
        "there is no module `no_such` on Python's path; install it",
    ),
    "no such package": ("", "no_such.x:f", "there is no module `no_such` on Python's path"),
    "no such function": ("", "own_x:f", "there is no function `f` in own_x"),
    "no function": ("f = 3", "own_x:f", "there is no function `f` in own_x"),
    "no such file": ("", "./none.py:f", "there is no file /"),
    "a module it imports is missing": (
        "\nimport no_such\n",
        "own_x:f",
        "importing own_x failed at own_x.py:2: ModuleNotFoundError: No module named 'no_such'",
    ),
    "a name it imports is missing": (
        "from json import no_such",
        "own_x:f",
        "importing own_x failed at own_x.py:1: ImportError: cannot import name 'no_such'",
    ),
    "it raises": ("\n\n1 / 0", "own_x:f", "failed at own_x.py:3: ZeroDivisionError: division by"),
    "it exits": ("import sys\nsys.exit(1)", "own_x:f", "failed at own_x.py:2: SystemExit: 1"),
    "it interrupts": (
        "raise KeyboardInterrupt",
        "own_x:f",
        "own_x:f cannot be imported: KeyboardInt",
    ),
    "its syntax": ("def f(:\n pass", "own_x:f", "failed at own_x.py:1: SyntaxError: invalid"),
    "no parameters": ("def f(): pass", "own_x:f", f"{FORM}(), which is none of the known forms"),
    "other parameters": ("def f(response, gold): pass", "own_x:f", f"{FORM}(response, gold)"),
    "one parameter too many": ("def f(sample, model): pass", "own_x:f", f"{FORM}(sample, model)"),
    "only positional": ("def f(sample, /): pass", "own_x:f", f"{FORM}(sample)"),
    "anything": ("def f(*args, **kwargs): pass", "own_x:f", f"{FORM}(args, kwargs)"),
    "without a signature": ("f = print.__self__.vars", "own_x:f", "of `own_x:f` cannot be read"),
    "half of verl's": ("def f(solution_str): pass", "own_x:f", f"{FORM}(solution_str)"),
    "what only a trainer has": (
        "def f(completions, trainer_state): pass",
        "own_x:f",
        "`own_x:f` needs `trainer_state`, which only a trainer has; give it a default",
    ),
}


@pytest.fixture(autouse=True)
def _forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("own_x", None)


@pytest.mark.parametrize("case", CASES)
async def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, case: str) -> None:
    text, spec, sentence = CASES[case]
    (tmp_path / "own_x.py").write_text(text)

    with pytest.raises(SettingsError) as caught:
        await open_custom_grader(spec, timeout_s=1.0)

    assert str(caught.value).startswith("`grader`: ")
    assert sentence in str(caught.value)
    assert str(caught.value).isprintable()


async def test_a_file_is_loaded_by_its_path_and_its_version_is_its_content(tmp_path: Path) -> None:
    (path := tmp_path / "mine.py").write_text("def f(sample): return 1")
    first = await open_custom_grader(f"{path}:f", timeout_s=1.0)
    path.write_text("def f(sample): return 0.5")
    second = await open_custom_grader(f"{path}:f", timeout_s=1.0)

    assert first.rubric.version != second.rubric.version
    assert len(first.rubric.version) == 16


async def test_of_a_package_every_file_is_the_users_own(tmp_path: Path) -> None:
    (folder := tmp_path / "own_pack").mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "deep.py").write_text("def g(sample):\n raise ValueError('deep')\n")
    (folder / "rewards.py").write_text(
        "from own_pack.deep import g\ndef f(sample): return g(sample)\n"
    )
    grader = await open_custom_grader("own_pack.rewards:f", timeout_s=1.0)

    failure = grader._attempt(None)  # type: ignore[arg-type] # the function does not look at it

    assert "failed at own_pack/deep.py:2: ValueError: deep" in failure.detail  # type: ignore[union-attr]


async def test_an_import_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_x.py").write_text("import threading; threading.Event().wait(1)")
    monkeypatch.setattr(own_module, "IMPORT_TIMEOUT_S", 0.05)

    with pytest.raises(SettingsError, match=r"own_x:f did not end within 0\.05 s"):
        await open_custom_grader("own_x:f", timeout_s=1.0)


def test_a_path_in_the_settings_starts_from_their_folder(tmp_path: Path) -> None:
    (tmp_path / "judge.toml").write_text('grader = "mine.py:f"')

    assert load_settings(tmp_path / "judge.toml").grader == f"{tmp_path}/mine.py:f"


@pytest.mark.parametrize("spec", ["mine", "mine:", ":f", "mine:f()", "mine:a.b"])
def test_a_name_that_cannot_be_one_is_refused_with_the_settings(spec: str) -> None:
    with pytest.raises(SettingsError, match="is neither `module:function` nor"):
        load_settings(None, {"JUDGE_GRADER": spec})


def test_votes_and_packs_are_for_judges(tmp_path: Path) -> None:
    environ = {"JUDGE_GRADER": "mine:f", "JUDGE_VOTE_DRAWS": "3"}

    with pytest.raises(SettingsError, match=r"`vote.draws` is for a judge"):
        load_settings(None, environ)


def test_the_import_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    (tmp_path / "own_x.py").write_text("import time; time.sleep(0.1)\ndef f(sample): return 1")

    async def scenario() -> tuple[CustomGrader, int]:
        opening = asyncio.create_task(open_custom_grader("own_x:f", timeout_s=1.0))
        turns = 0
        while not opening.done():
            await asyncio.sleep(0.01)
            turns += 1
        return await opening, turns

    make: Callable[[], tuple[CustomGrader, int]] = lambda: asyncio.run(scenario())  # noqa: E731 - typed
    assert make()[1] >= 5

"""The journal keeps acknowledged results, and refuses those of another judge."""

from pathlib import Path

import pytest

from judge_service.cli.journal import Journal
from judge_service.errors import SettingsError
from tests.cli.conftest import entry

META = {"rubric": "similarity 1", "judge": "local"}


def test_an_entry_comes_back_as_it_was(tmp_path: Path) -> None:
    entries = [entry(0), entry(1, "throttled"), entry(2, 1.0)]
    with Journal(tmp_path / "j") as journal:
        journal.commit(entries)
    with Journal(tmp_path / "j") as journal:
        assert list(journal.entries(3)) == entries
        assert list(journal.entries(2)) == entries[:2]


def test_a_position_has_one_result_the_last(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.commit([entry(0, 0.1)])
        journal.commit([entry(0, 0.9)])

        assert [one.reward.score for one in journal.entries(9)] == [0.9]


def test_known_rows_are_found_by_range(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.commit([entry(0), entry(1, "refused"), entry(2), entry(7)])

        assert set(journal.known(0, 5, scored_only=False)) == {0, 1, 2}
        assert set(journal.known(0, 5, scored_only=True)) == {0, 2}


def test_a_second_run_on_the_same_output_is_refused(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "j"),
        pytest.raises(SettingsError, match="another run is writing this output"),
    ):
        Journal(tmp_path / "j")


def test_another_judge_is_refused_with_the_difference(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.claim(META, restart=False)
        journal.claim(META, restart=False)
        with pytest.raises(SettingsError, match=r"another judge local \(now x:y\); use --restart"):
            journal.claim({**META, "judge": "x:y"}, restart=False)


def test_a_restart_forgets(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.claim(META, restart=False)
        journal.commit([entry(0)])
        journal.claim({**META, "judge": "x:y"}, restart=True)

        assert list(journal.entries(1)) == []


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_text("my novel, chapter one\n" * 100)

    with pytest.raises(SettingsError, match="is not a journal"):
        Journal(path)

    assert path.read_text().startswith("my novel")


def test_a_missing_directory_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="check that the directory exists"):
        Journal(tmp_path / "nowhere" / "j")


def test_groups_are_prompts_with_several_scored_rows(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        assert journal.groups(9) == (0, 0)
        journal.commit([entry(0, 0.2, group="a"), entry(1, 0.4, group="a")])
        journal.commit([entry(2, 0.5, group="b"), entry(3, 0.5, group="b")])
        journal.commit([entry(4, 0.5, group="c"), entry(5, "refused", group="c")])
        journal.commit([entry(6, 0.5, group=""), entry(7, 0.5, group="")])

        assert journal.groups(9) == (2, 1)
        assert journal.groups(3) == (1, 0)

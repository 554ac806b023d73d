"""Rows of the input, and the places of unreadable rows in errors."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from judge_service.cli.rows import (
    CHUNK_ROWS,
    EventRows,
    LineRows,
    Rows,
    chunks,
    decode,
    id_of,
    open_rows,
)
from judge_service.errors import SettingsError, WireError
from tests.cli.conftest import row, write_rows

MAX_BYTES = 100_000


Opening = Callable[[str], Rows]


@pytest.fixture
def opening() -> Iterator[Opening]:
    """`open_rows`, closed when the test ends."""
    with ExitStack() as closing:
        yield lambda name: closing.enter_context(open_rows(name, MAX_BYTES))


def test_every_line_is_a_row_and_blank_ones_are_none(opening: Opening, tmp_path: Path) -> None:
    path = tmp_path / "in"
    lines = [
        "\ufeff" + json.dumps(row(1)),
        "",
        "  ",
        json.dumps(row(2)) + "\r",
        json.dumps(row("3")),
    ]
    path.write_text("\n".join(lines))
    rows = opening(str(path))

    assert isinstance(rows, LineRows)
    assert rows.total == 3
    assert [one.place for one in rows] == ["line 1", "line 4", "line 5"]
    assert [decode(one).id for one in rows] == [1, 2, "3"]


def test_rows_can_be_read_again(opening: Opening, tmp_path: Path) -> None:
    rows = opening(str(write_rows(tmp_path / "in", [row(1), row(2)])))

    assert list(rows) == list(rows)


@pytest.mark.parametrize(
    "event",
    [
        [row(1), row(2)],
        {"batch": [row(1), row(2)]},
        {"body": json.dumps({"batch": [row(1), row(2)]})},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_an_event_is_all_of_its_rows(
    opening: Opening, tmp_path: Path, event: object, indent: int | None
) -> None:
    path = tmp_path / "in"
    path.write_text(json.dumps(event, indent=indent))
    rows = opening(str(path))

    assert isinstance(rows, EventRows)
    assert [decode(one).id for one in rows] == [1, 2]


def test_a_file_of_one_line_is_one_row(opening: Opening, tmp_path: Path) -> None:
    rows = opening(str(write_rows(tmp_path / "in", [row(1)])))

    assert isinstance(rows, LineRows)
    assert rows.total == 1


def test_a_broken_line_says_where_it_is_and_keeps_its_id_if_it_can(
    opening: Opening, tmp_path: Path
) -> None:
    path = tmp_path / "in"
    path.write_text(
        json.dumps(row(1)) + '\n{"id": 2, "mess\n' + json.dumps({"id": 3, "messages": 4})
    )
    _, cut, wrong = opening(str(path))

    with pytest.raises(WireError, match=r"^line 2: is not JSON"):
        decode(cut)
    with pytest.raises(WireError, match=r"^line 3\.messages: must be a list"):
        decode(wrong)
    assert (id_of(cut), id_of(wrong)) == (None, 3)


def test_a_line_without_end_takes_no_memory_and_hides_no_other(
    opening: Opening, tmp_path: Path
) -> None:
    path = tmp_path / "in"
    path.write_text(f'{json.dumps(row(1))}\n"{"x" * 3 * MAX_BYTES}"\n{json.dumps(row(3))}\n')
    first, long, last = opening(str(path))

    assert (decode(first).id, decode(last).id) == (1, 3)
    assert len(long.data) <= MAX_BYTES + 1
    with pytest.raises(WireError, match="line 2: longer than 100,000 bytes"):
        decode(long)


def test_the_digest_changes_with_the_row(opening: Opening, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in", [row(1), row(1), row(1, answer="5")])
    one, same, other = opening(str(path))

    assert one.digest() == same.digest() != other.digest()


def test_a_broken_event_is_refused_as_a_whole(opening: Opening, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text('[\n{"id": 1},\n')

    with pytest.raises(WireError, match="is not JSON"):
        opening(str(path))


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_a_file_without_rows_is_refused(opening: Opening, tmp_path: Path, text: str) -> None:
    path = tmp_path / "in"
    path.write_text(text)

    with pytest.raises(SettingsError, match="has no rows"):
        opening(str(path))


def test_a_missing_file_is_named(opening: Opening, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing: there is no such file"):
        opening(str(tmp_path / "nothing"))


def test_chunks_are_bounded_and_complete(opening: Opening, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in", [row(i) for i in range(2 * CHUNK_ROWS + 1)])
    sizes = [len(chunk) for chunk in chunks(opening(str(path)))]

    assert sizes == [CHUNK_ROWS, CHUNK_ROWS, 1]

"""The zip: the same files, the same bytes."""

import os
import zipfile
from pathlib import Path

import pytest

from judge_service.packaging.archive import EPOCH, unpacked_bytes, write_archive

FILES = {"b.py": b"two = 2\n", "a/core.so": b"\x7fELF", "a/__init__.py": b""}


def tree(folder: Path, names: list[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILES[name])
    return folder


def test_the_same_files_give_the_same_bytes_whenever_and_however_they_were_made(
    tmp_path: Path,
) -> None:
    first = tree(tmp_path / "first", list(FILES))
    second = tree(tmp_path / "second", list(reversed(FILES)))
    os.utime(second / "b.py", (1, 1))
    (second / "b.py").chmod(0o600)
    for folder in (first, second):
        write_archive(folder, tmp_path / f"{folder.name}.zip")

    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


@pytest.fixture
def entries(tmp_path: Path) -> list[zipfile.ZipInfo]:
    write_archive(tree(tmp_path / "tree", list(FILES)), tmp_path / "tree.zip")
    return zipfile.ZipFile(tmp_path / "tree.zip").infolist()


def test_names_are_in_order_and_times_are_fixed(entries: list[zipfile.ZipInfo]) -> None:
    assert [entry.filename for entry in entries] == sorted(FILES)
    assert {entry.date_time for entry in entries} == {EPOCH}


def test_everybody_may_read_and_only_native_code_may_be_run(entries: list[zipfile.ZipInfo]) -> None:
    modes = {entry.filename: oct(entry.external_attr >> 16) for entry in entries}

    assert modes == {"a/__init__.py": "0o100644", "a/core.so": "0o100755", "b.py": "0o100644"}


def test_the_unpacked_size_is_that_of_the_files(tmp_path: Path) -> None:
    write_archive(tree(tmp_path / "tree", list(FILES)), tmp_path / "tree.zip")

    assert unpacked_bytes(tmp_path / "tree.zip") == sum(map(len, FILES.values()))

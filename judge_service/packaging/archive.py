"""Writes zips whose bytes depend only on the names and contents of their files."""

import zipfile
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold."""

REGULAR = 0o100644 << 16
PROGRAM = 0o100755 << 16
UNIX = 3


def write_archive(folder: Path, archive: Path) -> None:
    """Packs all files under `folder`: sorted names, one time, two modes, no entries for folders.

    The same files and the same zlib give the same bytes.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name in names:
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = UNIX
            entry.external_attr = PROGRAM if name.endswith(".so") else REGULAR
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, (folder / name).read_bytes())


def unpacked_bytes(archive: Path) -> int:
    """The size that Lambda counts against its limit of 250 MB."""
    with zipfile.ZipFile(archive) as packed:
        return sum(entry.file_size for entry in packed.infolist())


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]

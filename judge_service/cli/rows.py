"""Reads the input of `judge score`: one row per line, or one event with all rows."""

import hashlib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct

from judge_service.errors import SettingsError, WireError
from judge_service.values import Sample
from judge_service.wire import decode_event, decode_row, dump_json, is_wrapped, read_json

STDIN = "-"
CHUNK_ROWS = 256
CHUNK_BYTES = 1_000_000
BOM = b"\xef\xbb\xbf"
MAX_SHOWN_ROWS = 100
"""Rows whose keys an error names."""

OTHER_FORMS = {
    b"\x1f\x8b": "is compressed with gzip; pipe its text in: zcat FILE | judge score - -o OUT",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; pipe its text in: zstdcat FILE | judge score - -o OUT",
    b"PAR1": "is a Parquet file; write its rows as JSONL",
    b"\xff\xfe": "is UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8 FILE | judge score - -o OUT",
    b"\xfe\xff": "is UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8 FILE | judge score - -o OUT",
}
"""First bytes of forms that are often given and are not read, with the remedy."""


class Row(Struct, frozen=True):
    """One row of the input, not yet decoded.

    position: from 0, without blank lines.
    place: the place for a person, such as `line 7`.
    data: its bytes.
    sample: set if the row comes from an event, which is already decoded.
    problem: why it cannot be decoded, if that is known already.
    """

    position: int
    place: str
    data: bytes
    sample: Sample | None = None
    problem: str = ""

    def digest(self) -> bytes:
        """A digest of the row, equal if and only if the row is unchanged."""
        return hashlib.sha256(self.data).digest()


class LineRows:
    """Rows of a JSONL file, read again on each iteration; memory is bounded by one line.

    max_row_bytes: a longer line is not read; it becomes a row with a problem.
    """

    def __init__(self, file: IO[bytes], max_row_bytes: int) -> None:
        self._file = file
        self._max_row_bytes = max_row_bytes
        self.total = sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"LineRows({self.total})"

    def __iter__(self) -> Iterator[Row]:
        self._file.seek(0)
        position = number = 0
        while line := self._file.readline(self._max_row_bytes + 1):
            number += 1
            data = line.removeprefix(BOM).strip() if number == 1 else line.strip()
            problem = ""
            if len(line) > self._max_row_bytes and not line.endswith(b"\n"):
                problem = f"longer than {self._max_row_bytes:,} bytes (wire.max_event_bytes)"
                self._skip_line()
            if data or problem:
                yield Row(position, f"line {number}", data, problem=problem)
                position += 1

    def _skip_line(self) -> None:
        while (rest := self._file.readline(CHUNK_BYTES)) and not rest.endswith(b"\n"):
            pass


class EventRows:
    """Rows of one event (a list, `{"batch": ...}` and so on), all in memory."""

    def __init__(self, samples: tuple[Sample, ...]) -> None:
        self._samples = samples
        self.total = len(samples)

    def __repr__(self) -> str:
        return f"EventRows({self.total})"

    def __iter__(self) -> Iterator[Row]:
        for position, sample in enumerate(self._samples):
            data = dump_json(msgspec.to_builtins(sample))  # an id may contain a lone surrogate
            yield Row(position, f"row {position + 1}", data, sample)


Rows = LineRows | EventRows


@contextmanager
def open_rows(name: str, max_event_bytes: int) -> Iterator[Rows]:
    """The rows of a file, or of the standard input for `-`.

    max_event_bytes: limit of a whole event file, and of each line of a JSONL file.

    Raises SettingsError if the file does not exist, is empty or has another form, WireError if it is a broken
    event.
    """
    with _spooled_stdin() if name == STDIN else _opened(Path(name)) as file:
        head = file.read(max_event_bytes + 1).removeprefix(BOM).strip()
        _refuse_other_forms(name, head)
        if not head:
            raise SettingsError(f"{name}: has no rows")
        yield _event_rows(head, max_event_bytes) or LineRows(file, max_event_bytes)


def decode(row: Row) -> Sample:
    """Decodes a row.

    Raises WireError if it is not a sample.
    """
    if row.problem:
        raise WireError(row.place, row.problem)
    if row.sample is not None:
        return row.sample
    try:
        value = read_json(row.data, max_bytes=len(row.data))
    except WireError as problem:
        raise WireError(row.place, str(problem).removeprefix("$: ")) from None
    return decode_row(value, row.place)


def id_of(row: Row) -> Any:
    """The id of a row that cannot be decoded, `None` if the id cannot be read either."""
    try:
        fields = read_json(row.data, max_bytes=len(row.data))
        return decode_row({"id": fields["id"]}).id if isinstance(fields, dict) else None
    except (WireError, KeyError):
        return None


def first_samples(rows: Rows) -> Iterator[Sample]:
    """The samples of the first 100 rows that can be decoded."""
    for row in islice(rows, MAX_SHOWN_ROWS):
        with suppress(WireError):
            yield decode(row)


def chunks(rows: Rows) -> Iterator[list[Row]]:
    """The rows in lists that are small enough for memory and large enough for a thread switch."""
    chunk: list[Row] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(row.data)
        if len(chunk) >= CHUNK_ROWS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _refuse_other_forms(name: str, head: bytes) -> None:
    for magic, sentence in OTHER_FORMS.items():
        if head.startswith(magic):
            raise SettingsError(f"{name}: {sentence}")


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such file") from None
    except OSError as problem:
        raise SettingsError(f"{path}: cannot be read ({problem.strerror})") from None


def _spooled_stdin() -> IO[bytes]:
    """Copies the standard input to disk, because it is needed twice: rows are counted and then read."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    while block := sys.stdin.buffer.read(CHUNK_BYTES):
        file.write(block)
    file.seek(0)
    return file


def _event_rows(head: bytes, max_event_bytes: int) -> EventRows | None:
    """The file as one event; `None` if it has one row per line.

    A file with a second value after the first is not one JSON value, and the reader notices that at the
    end of the first value.
    """
    try:
        event = read_json(head, max_bytes=max_event_bytes)
    except WireError:
        if head.startswith(b"[") and not _is_json(head.partition(b"\n")[0], max_event_bytes):
            raise
        return None
    if isinstance(event, dict) and b"\n" not in head and not is_wrapped(event):
        return None  # a JSONL file of one row
    return EventRows(_samples(event))


def _samples(event: object) -> tuple[Sample, ...]:
    return tuple(decode_event(event).samples)


def _is_json(line: bytes, max_bytes: int) -> bool:
    try:
        read_json(line, max_bytes=max_bytes)
    except WireError:
        return False
    return True

"""Writes the output of `judge score`: complete and in the input's order, or not at all."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from judge_service.cli.journal import Entry, Journal, journal_path
from judge_service.cli.rows import STDIN
from judge_service.cli.summary import Summary
from judge_service.errors import JudgeServiceError, SettingsError, TooManyUnscored
from judge_service.settings import Settings, UnscoredSettings
from judge_service.values import INPUT_REASONS, UNSCORED_REASONS, Part, Reward, Sample
from judge_service.wire import (
    Answer,
    ReplyPolicy,
    dump_json,
    encode_item,
    explain_unread,
    read_json,
)

MAX_ID_BYTES = 1_000_000_000
"""Limit of an id read from the journal; in effect none, because the row's size was limited at input."""


SCORE = ""
"""Name of the column with the whole reward; the other columns have the names of criteria."""

Column = tuple[str, str]
"""Group and criterion."""


def refuse_output(source: str, output: Path) -> None:
    """Checks the output's place at the start, before a call is paid for.

    At the end a complete file is renamed to `output`, which would replace a device, a pipe or a link.

    Raises SettingsError for a place that cannot be written so, and for the input.
    """
    if str(output) == STDIN:
        raise SettingsError(
            "-o -: the output must be a file, because results are kept beside it until all rows are judged;"
            " name one and read it afterwards"
        )
    if output.is_dir():
        raise SettingsError(f"{output}: is a directory; name a file in it")
    for path in (output, journal_path(output), _partial_path(output)):
        if path.is_symlink():
            raise SettingsError(f"{path}: is a link; name the file that it points to with -o")
        if path.exists() and not path.is_file():
            raise SettingsError(
                f"{path}: is a device, a pipe or a socket; name a regular file with -o"
            )
    if source != STDIN and output.exists() and Path(source).exists() and output.samefile(source):
        raise SettingsError(f"{output}: is the input; name another output")


def check_unscored(
    summary: Summary, policy: UnscoredSettings, samples: Iterable[Sample] = ()
) -> None:
    """Checks the share of rows without a score: a trainer must not learn from a file with too many of them.

    A file without any score is refused under every policy, also if only its input is the cause: all its
    substitutes would be one constant.

    samples: rows of the input, whose keys the error names.

    Raises TooManyUnscored with the remedy.
    """
    if not summary.reward.scored:
        raise TooManyUnscored(_say_nothing_scored(summary, samples))
    allowed = 0.0 if policy.policy == "fail" else policy.max_fraction
    if summary.failed <= allowed * summary.rows:
        return
    worst = next(r for r in summary.unscored_reasons if r not in INPUT_REASONS)
    raise TooManyUnscored(
        f"{summary.failed:,} of {summary.rows:,} rows could not be judged, more than the {allowed:.0%}"
        f" of `unscored.max_fraction`, most often `{worst}`; {summary.output} is not written: fix the"
        " cause (`judge check` may name it) and run the same command with --retry-unscored"
    )


def _say_nothing_scored(summary: Summary, samples: Iterable[Sample]) -> str:
    worst = next(iter(summary.unscored_reasons))
    if worst in INPUT_REASONS:
        why = explain_unread(worst, samples)
        mend = "mend the input, and run the same command again"
    else:
        why = f"`{worst}`: {UNSCORED_REASONS.get(worst, 'unknown')}"
        mend = "fix the cause (`judge check` may name it) and run the same command with --retry-unscored"
    return (
        f"none of {summary.rows:,} rows has a score, most often {why};"
        f" {summary.output} is not written: {mend}"
    )


def write_rewards(
    path: Path, journal: Journal, summary: Summary, settings: Settings, *, reasons: bool = True
) -> None:
    """Writes one line per row of the input. Memory grows only with the prompts that have a missing score.

    reasons: whether a row's line has the judge's reason, where it gave one.

    Raises JudgeServiceError if the file cannot be written or a row has no result.
    """
    answering = Answering(journal, summary, settings)
    expected = 0
    with _replaced_at_end(path) as file:
        for entry in journal.entries(summary.rows):
            if entry.position != expected:
                break
            item = encode_item(answering.answer(entry))
            if reasons and entry.reward.explanation:
                item["explanation"] = entry.reward.explanation
            file.write(dump_json(item) + b"\n")
            expected += 1
        if expected != summary.rows:
            raise JudgeServiceError(
                f"{journal.path}: has no result for row {expected + 1}; run the same command again"
            )


class Answering:
    """Applies the reply policy to a file as one batch, although it processes one row at a time.

    A row with all scores needs no other row. Any other row is given to the reply policy together with one
    stand-in row. For each column the stand-in has the mean of the scored rows of the row's group, or of the
    whole file if the group has none: the numbers that the reply policy would compute from the whole file.
    """

    def __init__(self, journal: Journal, summary: Summary, settings: Settings) -> None:
        self._policy = ReplyPolicy(
            policy=settings.unscored.policy,
            max_fraction=1.0,  # `check_unscored` has checked the whole file
            memory_s=0.0,
            score_range=settings.wire.score_range,
        )
        self._of_group = _group_means(journal, summary.rows)
        self._of_file = {spread.name: spread.mean for spread in summary.criteria}
        self._of_file[SCORE] = summary.reward.mean

    def __repr__(self) -> str:
        return f"Answering({len(self._of_group)} group means, {self._policy!r})"

    def answer(self, entry: Entry) -> Answer:
        """The answer for one row."""
        sample = Sample(id=read_json(entry.id, max_bytes=MAX_ID_BYTES), group_key=entry.group_key)
        reward = entry.reward
        if reward.score is not None and all(part.score is not None for part in reward.parts):
            return self._policy.answer([sample], [reward])[0]
        stand_in = self._stand_in(entry.group_key, reward)
        return self._policy.answer([sample, sample], [reward, stand_in])[0]

    def _stand_in(self, group: str, reward: Reward) -> Reward:
        score = self._mean(group, SCORE)
        parts = tuple(
            Part(part.name, self._mean(group, part.name), part.weight) for part in reward.parts
        )
        reason = (
            "no_response" if score is None else None
        )  # not counted by the reply policy as a failure
        return Reward(score=score, reason=reason, parts=parts)

    def _mean(self, group: str, name: str) -> float | None:
        return self._of_group.get((group, name), self._of_file.get(name))


def _group_means(journal: Journal, total: int) -> dict[Column, float]:
    """Means per group and column, for the groups with a missing score."""
    sums: dict[Column, tuple[float, int]] = {}
    for entry in journal.rows_beside_gaps(total):
        scores = [(SCORE, entry.reward.score)]
        scores += [(part.name, part.score) for part in entry.reward.parts]
        for name, score in scores:
            if score is not None:
                sum_, count = sums.get((entry.group_key, name), (0.0, 0))
                sums[entry.group_key, name] = (sum_ + score, count + 1)
    return {column: sum_ / count for column, (sum_, count) in sums.items()}


@contextmanager
def _replaced_at_end(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file that is renamed to `path` when it is complete and on the disk.

    Its temporary name is always the same, so that the next run replaces the file of a killed one; the
    journal's lock keeps other runs from using it.
    """
    partial = _partial_path(path)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_directory(path.parent)
    except OSError as problem:
        raise JudgeServiceError(
            f"{path}: cannot be written ({problem.strerror}); the results are kept in the journal:"
            " free some space and run the same command again"
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def _partial_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _sync_directory(directory: Path) -> None:
    """Syncs the directory, so that the new name survives a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

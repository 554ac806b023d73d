"""The fences around untrusted texts: pairs of tags with a nonce that the texts do not contain.

Each text has its own nonce, a keyed hash of that text. It cannot be predicted without the process's secret,
so a candidate cannot close its own fence. Because it is a hash, equal texts get equal fences: the rollouts of
one prompt have task and reference in the same fences, and a judge's prompt cache can use what they share.
"""

from collections.abc import Sequence
from hashlib import blake2b, sha256

from msgspec import Struct

from judge_service.values import Question

MIN_SECRET_BYTES = 16
"""Shortest secret; a shorter one could be guessed."""

LONG_CHARS = 512
"""A longer text is hashed once, and its hash stands for it. To hash a shorter one twice costs less."""


class Names(Struct, frozen=True):
    """What stands for the texts of a question where they are hashed; empty for a text that is not there."""

    task: bytes
    response: bytes
    reference: bytes


class _SharedFences(Struct, frozen=True):
    """A task and a reference in their fences, which the rollouts of one prompt share.

    task_name, reference_name: what they were made from. nonces: of those that are there.
    joined: the nonces, one after the other. before: the nonces as a sentence names them before the last one.
    """

    task_name: bytes
    reference_name: bytes
    task: str
    reference: str
    nonces: list[str]
    joined: str
    before: str


_NONE = _SharedFences(b"-", b"-", "", "", [], "", "")
"""Made from no names: those begin otherwise."""


class Fences:
    """Encloses the texts of questions.

    secret: 16 to 64 random bytes, one set per process; keys the nonces.

    Raises ValueError for a secret of another length.
    """

    def __init__(self, secret: bytes) -> None:
        if not MIN_SECRET_BYTES <= len(secret) <= blake2b.MAX_KEY_SIZE:
            raise ValueError(f"fence_secret has {len(secret)} bytes; give 16 to 64")
        self._keyed = blake2b(digest_size=8, key=secret)
        self._last = _NONE  # rollouts of one prompt come one after the other

    def __repr__(self) -> str:
        return "<Fences>"

    def nonce(self, seed: bytes, texts: Sequence[str]) -> str:
        """16 hex characters that nobody outside can tell, and that occur in none of `texts`."""
        return choose_nonce(self._keyed, seed, texts)

    def enclose(self, question: Question, names: Names) -> tuple[dict[str, str], str]:
        """What a template's placeholders stand for, and what names the shared ones (`enclose_shared`)."""
        response = question.response
        shared = self._shared(question, names, response)
        texts = (response, question.task, question.reference or "")
        nonce = choose_nonce(self._keyed, b"response" + names.response, texts)
        values = {
            "task": shared.task,
            "reference": shared.reference,
            "response": f"<response {nonce}>\n{response}\n</response {nonce}>\n",
            "nonce": shared.before + nonce,
        }
        return values, shared.joined

    def enclose_shared(
        self, question: Question, names: Names, after: str
    ) -> tuple[dict[str, str], list[str]]:
        """The task and the reference in their fences, and the nonces of those that are there.

        after: all untrusted text that follows. A nonce depends on nothing but what it encloses, unless this
            text contains it.
        """
        shared = self._shared(question, names, after)
        return {"task": shared.task, "reference": shared.reference}, shared.nonces

    def _shared(self, question: Question, names: Names, after: str) -> _SharedFences:
        shared = self._last
        if shared.task_name != names.task or shared.reference_name != names.reference:
            shared = self._last = self._choose(question, names, "")
        for nonce in shared.nonces:
            if nonce in after:
                return self._choose(question, names, after)
        return shared

    def _choose(self, question: Question, names: Names, after: str) -> _SharedFences:
        task, reference = question.task or None, question.reference
        texts, nonces = (task or "", reference or "", after), []
        of_task = of_reference = ""
        if task is not None:
            of_task = choose_nonce(self._keyed, b"task" + names.task, texts)
            nonces.append(of_task)
        if reference is not None:
            of_reference = choose_nonce(self._keyed, b"reference" + names.reference, texts)
            nonces.append(of_reference)
        return _SharedFences(
            names.task,
            names.reference,
            fenced("task", task, of_task),
            fenced("reference", reference, of_reference),
            nonces,
            "".join(nonces),
            listed([*nonces, ""]),
        )


def name_texts(question: Question) -> Names:
    """What stands for the question's texts. An empty task is none; an empty reference is one."""
    task, reference = question.task, question.reference
    return Names(
        _name(task) if task else b"",
        _name(question.response),
        b"" if reference is None else _name(reference),
    )


def _name(text: str) -> bytes:
    """The text itself, or a long one's SHA-256; the first byte says which."""
    if len(text) <= LONG_CHARS:
        return b"=" + text.encode()
    return b"#" + sha256(text.encode()).digest()


def choose_nonce(keyed: blake2b, seed: bytes, texts: Sequence[str]) -> str:
    """16 hex characters that occur in none of `texts`.

    keyed: a hash with the process's secret, before it has read anything.
    seed: says what is enclosed.
    """
    digest = keyed.copy()  # half the cost of a new hash with a key
    digest.update(seed)
    nonce = digest.hexdigest()
    for text in texts:
        if nonce in text:
            return choose_nonce(keyed, seed + b"\0", texts)
    return nonce


def fenced(name: str, text: str | None, nonce: str) -> str:
    """`text` between its tags; empty if there is no text."""
    return "" if text is None else f"<{name} {nonce}>\n{text}\n</{name} {nonce}>\n"


def listed(nonces: Sequence[str]) -> str:
    """The nonces as a sentence names them: `a`, `a and b`, `a, b and c`."""
    if len(nonces) < 3:
        return " and ".join(nonces)
    return f"{', '.join(nonces[:-1])} and {nonces[-1]}"

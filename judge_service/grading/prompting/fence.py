"""The fence around untrusted text: a pair of marks with a nonce that the text cannot contain.

The nonce is a keyed hash of the question. Without the process's secret nobody can tell it beforehand,
so a candidate cannot close its own fence; with it, equal questions give equal prompts.
"""

from collections.abc import Sequence
from hashlib import blake2b

MIN_SECRET_BYTES = 16
"""A shorter secret could be guessed."""


def choose_nonce(secret: bytes, seed: bytes, texts: Sequence[str]) -> str:
    """16 hex characters that occur in none of `texts`.

    secret: 16 to 64 bytes, one per process.
    seed: a hash of everything the prompt is made of.
    """
    nonce = _digest(secret, seed)
    while any(nonce in text for text in texts):
        seed += b"\0"
        nonce = _digest(secret, seed)
    return nonce


def _digest(secret: bytes, seed: bytes) -> str:
    return blake2b(seed, digest_size=8, key=secret).hexdigest()


def fenced(name: str, text: str | None, nonce: str) -> str:
    """`text` between its marks, or nothing when there is no text."""
    return "" if text is None else f"<{name} {nonce}>\n{text}\n</{name} {nonce}>\n"

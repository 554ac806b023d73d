"""The fence around untrusted text: a pair of tags with a nonce that the text does not contain.

The nonce is a keyed hash of the question. It cannot be predicted without the process's secret, so a
candidate cannot close its own fence. Because it is a hash, equal questions give equal prompts.
"""

from collections.abc import Sequence
from hashlib import blake2b

MIN_SECRET_BYTES = 16
"""Shortest secret; a shorter one could be guessed."""


def keyed_hash(secret: bytes) -> blake2b:
    """The keyed hash function that makes nonces, without input yet.

    secret: 16 to 64 random bytes, one set per process.

    Raises ValueError for a secret of another length.
    """
    if not MIN_SECRET_BYTES <= len(secret) <= blake2b.MAX_KEY_SIZE:
        raise ValueError(f"fence_secret has {len(secret)} bytes; give 16 to 64")
    return blake2b(digest_size=8, key=secret)


def choose_nonce(keyed: blake2b, seed: bytes, texts: Sequence[str]) -> str:
    """16 hex characters that occur in none of `texts`.

    keyed: see `keyed_hash`.
    seed: a hash of all parts of the prompt.
    """
    nonce = _digest(keyed, seed)
    while _is_in_any(texts, nonce):
        seed += b"\0"
        nonce = _digest(keyed, seed)
    return nonce


def _digest(keyed: blake2b, seed: bytes) -> str:
    digest = keyed.copy()  # half the cost of a new hash with a key
    digest.update(seed)
    return digest.hexdigest()


def _is_in_any(texts: Sequence[str], nonce: str) -> bool:
    for text in texts:  # noqa: SIM110 - `any` of a generator takes twice as long
        if nonce in text:
            return True
    return False


def fenced(name: str, text: str | None, nonce: str) -> str:
    """`text` between its tags; empty if there is no text."""
    return "" if text is None else f"<{name} {nonce}>\n{text}\n</{name} {nonce}>\n"

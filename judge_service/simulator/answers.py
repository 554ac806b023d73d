"""Valid answers that depend on the seed and the prompt only.

The score of a prompt is a hash of the seed and of the prompt's text: it does not depend on the order of
the calls and is spread evenly over the range. Runs of 16 and more hexadecimal digits are removed from the
text first, because prompts contain such a run as a fence that is new in every process, and a sample must
get the same score in all of them.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from string import hexdigits
from typing import Any, Literal

import msgspec
from msgspec import Struct

Channel = Literal["schema", "tool", "text"]

HEX_RUN = b"x" * 16
HEX_MASK = bytes(ord("x") if chr(byte) in hexdigits else ord(" ") for byte in range(256))
RANGE_IN_WORDS = re.compile(
    r"(-?\d{1,9}(?:\.\d{1,9})?)\s{0,3}(?:to|\u2013|\.\.|and)\s{0,3}(-?\d{1,9}(?:\.\d{1,9})?)",
    re.ASCII,
)
MAX_DEPTH = 16


class Question(Struct, frozen=True, kw_only=True, gc=False):
    """What a call asks, in any dialect.

    prompt: all text of the call, system first. tool: name of the forced tool.
    schema: of the answer, or of the tool's input; `None` for a text answer.
    top_logprobs: how many alternatives of each token are wanted, `None` for no probabilities at all.
    cache_points: characters of the prompt before each cache point; `None` where the server chooses.
    cache_key: prompts under another key share no cache.
    """

    model: str
    prompt: str
    max_output_tokens: int | None = None
    channel: Channel = "text"
    tool: str | None = None
    schema: Mapping[str, Any] | None = None
    top_logprobs: int | None = None
    temperature: float | None = None
    cache_points: tuple[int, ...] | None = ()
    cache_key: str = ""


class Answer(Struct, frozen=True, kw_only=True, gc=False):
    """The model's answer, in any dialect. `stop` is in Converse's words, `tokens` as in `likelihood`."""

    text: str | None = None
    tool: str | None = None
    tool_input: Mapping[str, Any] | None = None
    reasoning: str | None = None
    stop: str = "end_turn"
    tokens: list[dict[str, Any]] | None = None

    @property
    def characters(self) -> int:
        """The answer's length in characters."""
        spoken = len(self.text or "") + len(self.reasoning or "")
        return spoken + (len(msgspec.json.encode(self.tool_input)) if self.tool_input else 0)


class SchemaError(Exception):
    """The schema cannot be answered; the message says where it is wrong."""


def digest_prompt(prompt: str, seed: int) -> int:
    """The prompt's identity: a 64-bit hash of the seed and of its text without hexadecimal runs."""
    text = without_hex_runs(prompt.encode("utf-8", "surrogatepass"))
    return int.from_bytes(blake2b(text, digest_size=8, key=b"%d" % seed).digest(), "big")


def without_hex_runs(text: bytes) -> bytes:
    """The text without runs of 16 or more hexadecimal digits.

    It searches a masked copy: that costs a twelfth of a regular expression (1 us for 1.2 kB).
    """
    mask = text.translate(HEX_MASK)
    kept, start = [], 0
    while (run := mask.find(HEX_RUN, start)) >= 0:
        kept.append(text[start:run])
        start = mask.find(b" ", run)
        if start < 0:
            return b"".join(kept)
    kept.append(text[start:])
    return b"".join(kept)


def unit(digest: int, name: str = "") -> float:
    """A number in [0, 1) that depends on the prompt and a name, evenly spread."""
    key = digest.to_bytes(8, "big")
    drawn = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=6, key=key).digest()
    return int.from_bytes(drawn, "big") / 2**48


def instance(schema: Mapping[str, Any], digest: int) -> Any:
    """A valid instance of a JSON schema, derived from the digest.

    Objects keep the order of their properties. A number's bounds are `minimum` and `maximum`, else
    the first range in its description ("from 1 to 5"), else 0 and 1.

    Raises SchemaError for a schema that it cannot answer.
    """
    try:
        return _instance(schema, digest, "$")
    except (TypeError, ValueError, AttributeError, LookupError, OverflowError) as problem:
        raise SchemaError(f"$: is not a JSON schema ({problem})") from None


def _instance(schema: Any, digest: int, path: str) -> Any:
    if not isinstance(schema, Mapping) or path.count("/") > MAX_DEPTH:
        raise SchemaError(f"{path}: is not a schema, or is nested too deep")
    if "const" in schema:
        return schema["const"]
    if choices := schema.get("enum"):
        return choices[int(unit(digest, path) * len(choices))]
    if alternatives := schema.get("anyOf"):
        return _instance(alternatives[0], digest, path)
    kind = schema.get("type")
    if isinstance(kind, list) and kind:
        kind = kind[0]
    make = MAKERS.get(kind) if isinstance(kind, str) else None
    if make is None:
        raise SchemaError(f"{path}: the type {kind!r} is not supported")
    return make(schema, digest, path)


def _object(schema: Mapping[str, Any], digest: int, path: str) -> dict[str, Any]:
    properties = schema.get("properties", {})
    return {name: _instance(part, digest, f"{path}/{name}") for name, part in properties.items()}


def _array(schema: Mapping[str, Any], digest: int, path: str) -> list[Any]:
    if schema.get("minItems", 1) > 1:  # as Bedrock does; nested lists would multiply
        raise SchemaError(f"{path}: minItems above 1 is not supported")
    return [_instance(schema.get("items"), digest, f"{path}/0")]


def _number(schema: Mapping[str, Any], digest: int, path: str) -> float:
    low, high = _bounds(schema)
    return min(max(round(low + (high - low) * unit(digest, path), 2), low), high)


def _integer(schema: Mapping[str, Any], digest: int, path: str) -> int:
    low, high = (int(bound) for bound in _bounds(schema))
    return low + int((high - low + 1) * unit(digest, path))


def _string(_schema: Mapping[str, Any], digest: int, path: str) -> str:
    return f"Simulated {path.rpartition('/')[2]}, case {int(unit(digest, path) * 1000)}."


def _boolean(_schema: Mapping[str, Any], digest: int, path: str) -> bool:
    return unit(digest, path) < 0.5


def _null(_schema: Mapping[str, Any], _digest: int, _path: str) -> None:
    return None


MAKERS = {
    "object": _object,
    "array": _array,
    "number": _number,
    "integer": _integer,
    "string": _string,
    "boolean": _boolean,
    "null": _null,
}


def _bounds(schema: Mapping[str, Any]) -> tuple[float, float]:
    said = RANGE_IN_WORDS.search(str(schema.get("description", "")))
    low, high = (float(said[1]), float(said[2])) if said else (0.0, 1.0)
    return schema.get("minimum", min(low, high)), schema.get("maximum", max(low, high))

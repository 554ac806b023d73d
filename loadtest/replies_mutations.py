"""Mutations of well-formed replies, with a known effect on their verdict.

A mutation says what it leaves of the reply's verdict: `KEEPS` it, `KILLS` it (nobody may read a score out of
it), or `MAY` (it can be read or not, but nothing else can). Mutations of one reply change different parts of
it, so that their effects add up.
"""

import copy
import gzip
import json
import random
from typing import Any

from replies_case import KEEPS, KILLS, LIMIT, MAY, ODD, Case, assembled, tool_input

# Of the answer: one of these at most


def other(case: Case, chance: random.Random) -> str:
    """A whole verdict that differs."""
    values = dict(case.verdict)
    values["good"] = chance.choice([level for level in range(1, 6) if level != values["good"]])
    return str(values["good"]) if case.is_number else json.dumps(values)


def reasoning_closed(case: Case, chance: random.Random) -> None:
    if case.channel == "tool":
        return
    opening, closing = chance.choice(CLOSED)
    thought = chance.choice(["", "hm", "He wants a 5.", f"He says\n{other(case, chance)}\n"])
    case.said = f"{opening}{thought}{closing}{chance.choice(['', ' ', chr(10) * 2])}{case.said}"
    case.did(f"reasoning {opening}", KEEPS)


def reasoning_open(case: Case, chance: random.Random) -> None:
    if case.channel == "tool":
        return
    opening, _ = chance.choice(CLOSED[:8])
    before = chance.choice(["", "\n", "Okay. ", "<think></think>"])
    case.said = f"{before}{opening}I must answer\n{case.said}"
    case.did(f"reasoning open {opening}", KILLS)


CLOSED = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("", "</think>"),
)


def second_verdict(case: Case, chance: random.Random) -> None:
    """Another verdict in the answer, before or after the judge's."""
    differing = chance.random() < 0.7
    if case.is_number or case.channel == "tool":
        return
    more = other(case, chance) if differing else json.dumps(case.verdict)
    case.said = f"{more}\n{case.said}" if chance.random() < 0.5 else f"{case.said}\n{more}"
    case.did("second verdict", KILLS if differing else MAY)


def key_twice(case: Case, chance: random.Random) -> None:
    if case.is_number:
        return
    place = case.said.rfind("}")
    value = chance.choice([level for level in range(1, 6) if level != case.verdict["good"]])
    case.said = f'{case.said[:place]}, "good": {value}{case.said[place:]}'
    case.did("key twice", KILLS)


def cut_answer(case: Case, chance: random.Random) -> None:
    """Cut by the limit, which the reply tells in one way or another, and perhaps closed by a gateway."""
    case.said = case.said[: chance.randrange(len(case.said) + 1)]
    if chance.random() < 0.5 and not case.is_number:
        case.said += "}"
    _tell_cut(case, chance)
    case.did("cut", KILLS)


def _tell_cut(case: Case, chance: random.Random) -> None:
    if chance.random() < 0.5:
        word = chance.choice(["length", "max_tokens", "MAX_TOKENS", "max-tokens"])
        if case.is_chat:
            case.reply["choices"][0]["finish_reason"] = word
        else:
            case.reply["stopReason"] = word
    elif case.is_chat:
        case.reply["usage"]["completion_tokens"] = LIMIT
        case.reply["usage"]["total_tokens"] = 40 + LIMIT
    else:
        case.reply["usage"]["outputTokens"] = LIMIT


def off_menu(case: Case, chance: random.Random) -> None:
    good = str(case.verdict["good"])
    place = case.said.rfind(good)
    if place < 0 or not (case.is_number or case.said[:place].rstrip().endswith('"good":')):
        return
    odd = chance.choice(["9", "0", "2.5", '"4"', "true", "NaN", "[4]", "1e9", "null", "-3"])
    case.said = case.said[:place] + odd + case.said[place + len(good) :]
    case.did(f"off menu {odd}", KILLS)


def fenced(case: Case, chance: random.Random) -> None:
    if case.is_number or case.channel == "tool" or (case.reason and case.channel == "text"):
        return
    case.said = f"```{chance.choice(['', 'json'])}\n{case.said}\n```"
    case.did("fenced", KEEPS)


def spaced(case: Case, chance: random.Random) -> None:
    case.said = (
        chance.choice(["\n", "  ", "\r\n\t"]) + case.said + chance.choice(["", "\n", " \n "])
    )
    case.did("spaced", KEEPS)


def end_token(case: Case, chance: random.Random) -> None:
    if case.channel == "tool":
        return
    case.said += chance.choice(
        ["<|im_end|>", "</s>", "<|eot_id|>", "<end_of_turn>\n", "<|return|>"]
    )
    case.did("end token", KEEPS)


# Of the stop word: one of these at most


def stop_word(case: Case, chance: random.Random) -> None:
    word, effect = chance.choice(STOPS)
    if effect == MAY and not case.is_number and not (case.reason and case.channel == "text"):
        effect = KEEPS  # one JSON object says by itself that it is whole
    if case.is_chat:
        case.reply["choices"][0]["finish_reason"] = word
    else:
        case.reply["stopReason"] = word
    case.did(f"stop {word!r}", effect)


STOPS: tuple[tuple[Any, int], ...] = (
    ("STOP", KEEPS), ("end_turn", KEEPS), ("eos", KEEPS), ("EndTurn", KEEPS), ("stop_sequence", KEEPS),
    ("", MAY), (None, MAY), ("a new word", MAY), (7, MAY),
    ("length", KILLS), ("MAX_TOKENS", KILLS), ("content_filter", KILLS), ("SAFETY", KILLS),
    ("malformed_model_output", KILLS), ("abort", KILLS), ("model_context_window_exceeded", KILLS),
    ("error", KILLS), ("insufficient_system_resource", KILLS),
)  # fmt: skip


# Of what stands around the answer: any number of these

DECORATION = (
    *(("id",), ("object",), ("created",), ("model",), ("system_fingerprint",), ("metrics",)),
    *(("choices", 0, "index"), ("choices", 0, "logprobs"), ("choices", 0, "message", "role")),
    *(("choices", 0, "message", "tool_calls", 0, name) for name in ("id", "type", "index")),
    *(("usage", name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")),
    *(("usage", name) for name in ("inputTokens", "outputTokens", "totalTokens")),
    *(
        ("usage",),
        ("usage", "prompt_tokens_details"),
        ("usage", "prompt_tokens_details", "cached_tokens"),
    ),
    *(("metrics", "latencyMs"), ("output", "message", "role")),
)
"""Paths of what nobody needs."""


def decoration(case: Case, chance: random.Random) -> None:
    """A field that nobody needs is dropped, or has another type. Huge counts of tokens are no decoration."""
    path = chance.choice(DECORATION)
    holder = case.reply
    try:
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]]
    except (KeyError, IndexError, TypeError):
        return
    if chance.random() < 0.3:
        del holder[path[-1]]
    else:
        odd = chance.choice(ODD)
        if isinstance(odd, (int, str)) and not isinstance(odd, bool) and path[0] == "usage":
            odd = None if odd == 10**30 else odd
        holder[path[-1]] = odd
    case.did(f"decoration {path}", KEEPS)


def addition(case: Case, chance: random.Random) -> None:
    """A field that nobody knows."""
    names = ["provider", "error", "timings", "warnings", "x"]
    case.reply[chance.choice(names)] = chance.choice([None, {}, [], "", False, 0])
    case.did("addition", KEEPS)


def reordered(case: Case, chance: random.Random) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = [(key, shuffled(one)) for key, one in value.items()]
            chance.shuffle(items)
            return dict(items)
        return [shuffled(one) for one in value] if isinstance(value, list) else value

    case.reply = shuffled(case.reply)
    case.did("reordered", KEEPS)


# Of the whole reply: one of these at most, and last


def parts(case: Case, chance: random.Random, reply: Any) -> Any:
    """The content of a chat message as a list, perhaps with reasoning before it."""
    if not case.is_chat or case.channel == "tool":
        return reply
    message = reply["choices"][0]["message"]
    thought = [{"type": "thinking", "thinking": [{"type": "text", "text": other(case, chance)}]}]
    message["content"] = [
        *(thought if chance.random() < 0.5 else []),
        {"type": "text", "text": message["content"]},
    ]
    case.did("content as parts", KEEPS)
    return reply


def as_object(case: Case, _chance: random.Random, reply: Any) -> Any:
    """The tool's arguments as an object, or the input as text."""
    if case.channel != "tool":
        return reply
    if case.is_chat:
        function = reply["choices"][0]["message"]["tool_calls"][0]["function"]
        function["arguments"] = tool_input(function["arguments"])
    else:
        used = reply["output"]["message"]["content"][0]["toolUse"]
        used["input"] = (
            used["input"] if isinstance(used["input"], str) else json.dumps(used["input"])
        )
    case.did("input in another form", KEEPS)
    return reply


def doubled(case: Case, chance: random.Random, reply: Any) -> Any:
    """A second choice or block with another verdict."""
    if (case.is_number and not case.is_chat) or case.effect != KEEPS:
        return reply  # the second one would be the only verdict
    said, case.said = case.said, other(case, chance)
    second = assembled(copy.deepcopy(case))
    case.said = said
    if case.is_chat:
        reply["choices"].append(second["choices"][0])
    else:
        reply["output"]["message"]["content"].append(second["output"]["message"]["content"][0])
    case.did("doubled", KILLS)
    return reply


def wrapped(case: Case, chance: random.Random, reply: Any) -> Any:
    case.did("wrapped", KEEPS)
    key = chance.choice(["data", "response", "result"])
    return chance.choice([[reply], {key: reply}, json.dumps(reply), {"body": json.dumps(reply)}])


def streamed(case: Case, chance: random.Random, reply: Any) -> Any:
    if not case.is_chat:
        return reply
    has_end = chance.random() < 0.8
    comment = chance.choice(["", ": keep-alive\n\n"])

    def encode(reply: Any) -> bytes:
        choice = dict(reply["choices"][0])
        choice["delta"] = choice.pop("message")
        event = json.dumps({**reply, "choices": [choice]})
        return f"{comment}data: {event}\n\n{'data: [DONE]' if has_end else ''}\n\n".encode()

    case.encode = encode
    case.did("streamed", KEEPS if has_end else MAY)
    return reply


def in_bytes(case: Case, chance: random.Random, reply: Any) -> Any:
    if case.backend == "sdk":  # boto has read the bytes
        return reply

    def cut(reply: Any) -> bytes:
        body = json.dumps(reply).encode()
        return body[: chance.randrange(len(body))]

    way, encode, effect = chance.choice(
        [
            ("byte order mark", lambda reply: b"\xef\xbb\xbf" + json.dumps(reply).encode(), KEEPS),
            ("gzip", lambda reply: gzip.compress(json.dumps(reply).encode()), KEEPS),
            ("blank lines", lambda reply: b"\n \n" + json.dumps(reply).encode() + b"\n", KEEPS),
            ("UTF-16", lambda reply: json.dumps(reply).encode("utf-16"), KEEPS),
            ("cut body", cut, KILLS),
        ]
    )
    case.encode = encode
    case.did(way, effect)
    return reply


ANSWERS = (reasoning_closed, reasoning_open, second_verdict, key_twice, cut_answer, off_menu,
           fenced, spaced, end_token)  # fmt: skip
AROUND = (decoration, addition, reordered)
WHOLE = (parts, as_object, doubled, wrapped, streamed, in_bytes)


def mutated(case: Case, chance: random.Random) -> Any:
    """Mutates the case one to five times; returns its reply with the answer in place."""
    answer = chance.choice(ANSWERS) if chance.random() < 0.6 else None
    if answer is not None:
        answer(case, chance)
    if answer is not cut_answer and chance.random() < 0.4:
        stop_word(case, chance)
    reply = assembled(case)
    for _ in range(0 if answer is cut_answer else chance.randrange(3)):
        chance.choice(AROUND)(case, chance)
    reply = case.reply
    if chance.random() < 0.4:
        return chance.choice(WHOLE)(case, chance, reply)
    return reply

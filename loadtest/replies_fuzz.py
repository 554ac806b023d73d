"""Mutates well-formed replies of every backend and reads them: no wrong score, no lost verdict, no exception.

    python loadtest/replies_fuzz.py [--mutations 100000]

Each reply has one verdict. Mutations (`replies_mutations.py`) drop, retype, reorder, cut, double and wrap
parts of it, and know what they leave of the verdict. The backend reads the bytes as it reads those of a
judge, from a transport that never leaves the process, and `parse` reads the completion. A score that differs
from the verdict, or that a killed verdict still gives, is wrong; a kept verdict without its score is lost;
anything but a CallError out of the backend is an exception. A tenth is blind: bytes change at random, and
the score may only be the verdict's or none.
"""

import asyncio
import json
import random
import time
from collections import Counter
from typing import Any

from measuring import at_least, at_most, report, say, sizes
from replies_case import KEEPS, KILLS, LIMIT, Case, assembled, case_of
from replies_mutations import mutated

from judge_service.aws.identity_source import identity_source
from judge_service.backends.bedrock.backend import Bedrock
from judge_service.backends.bedrock.sdk import BedrockSdk
from judge_service.backends.chat.openai import OpenAI
from judge_service.backends.chat.sagemaker import SageMaker
from judge_service.errors import CallError
from judge_service.flow import Request
from judge_service.grading import parse
from judge_service.http.reply import Reply
from judge_service.settings import BedrockSettings, HttpSettings, SageMakerSettings
from judge_service.values import Criterion, Message, Prompt, Question, Verdict

KEYS = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
GOOD = Criterion(name="good", description="", minimum=1, maximum=5, levels=(1, 2, 3, 4, 5))
SAFE = Criterion(name="safe", description="")
SCHEMA = {"type": "object"}
MAX_SHOWN = 20


class Canned:
    """A transport and a client of boto at once: answers every call with one reply."""

    def __init__(self) -> None:
        self.body = b""
        self.value: Any = None

    async def send(self, *_: Any) -> Reply:
        return Reply(200, {}, self.body)

    async def converse(self, **_: Any) -> Any:
        return self.value


def judges(canned: Any) -> dict[str, Any]:
    """Every backend, on the canned transport."""
    identities = identity_source(KEYS)
    sagemaker = {
        name: SageMaker(
            "e",
            transport=canned,
            identities=identity_source(KEYS, service="sagemaker"),
            sagemaker=SageMakerSettings(dialect=dialect),  # type: ignore[arg-type] # of two words
        )
        for name, dialect in (("sagemaker", "chat"), ("nova", "nova"))
    }

    class CannedSdk(BedrockSdk):
        async def _open(self) -> Any:
            return canned

    sdk = CannedSdk(
        "amazon.nova-lite-v1:0",
        bedrock=BedrockSettings(),
        http=HttpSettings(),
        environ=KEYS,
        max_connections=1,
    )
    return {
        "openai": OpenAI("m", transport=canned, base_url="http://judge/v1", api_key="k"),
        "bedrock": Bedrock("amazon.nova-lite-v1:0", transport=canned, identities=identities),
        "sdk": sdk,
        **sagemaker,
    }


def prompt_of(case: Case) -> Prompt:
    """The prompt that the reply answers."""
    return Prompt(
        question=Question(criteria=(), task="", response=""),
        messages=(Message("system", "rubric"), Message("user", "question")),
        channel=case.channel,
        schema=None if case.channel == "text" else SCHEMA,
        max_output_tokens=LIMIT,
    )


async def score_of(judge: Any, case: Case) -> dict[str, float] | None:
    """The scores that are read out of the canned reply, `None` if there are none."""
    criteria = (GOOD, SAFE) if "safe" in case.verdict else (GOOD,)
    try:
        completion = await judge(Request(prompt_of(case)))
    except CallError:
        return None
    found = parse(completion, criteria, case.channel, "brief" if case.reason else "none")
    return dict(found.scores) if isinstance(found, Verdict) and not found.unscorable else None


def expected(case: Case) -> dict[str, float]:
    """The scores of the verdict."""
    scores = {"good": (case.verdict["good"] - 1) / 4}
    return scores | ({"safe": case.verdict["safe"]} if "safe" in case.verdict else {})


def blind(case: Case, chance: random.Random) -> bytes:
    """Bytes changed at random, the digits of the verdict excepted: another digit is another verdict."""
    body = bytearray(json.dumps(assembled(case)).encode())
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(body))
        if bytes(body[place : place + 1]).isdigit() or body[place] in b".-":
            continue
        if chance.random() < 0.5:
            body[place] = chance.choice(b'{}[]",:\\ nulltrefas<>\x00\xff')
        else:
            del body[place]
    return bytes(body)


async def run(mutations: int, seed: int) -> dict[str, Any]:
    """Mutates and reads so many replies; returns the counts and the first faults."""
    chance, canned = random.Random(seed), Canned()
    every, counts, shown = judges(canned), Counter[str](), []
    for _ in range(mutations):
        case = case_of(chance)
        if chance.random() < 0.1 and case.backend != "sdk":
            canned.body, case.effect, case.names = blind(case, chance), 1, ["blind"]
        else:
            reply = mutated(case, chance)
            canned.body = case.encode(reply)
            canned.value = reply
        fault = await fault_of(every[case.backend], case, counts)
        if fault:
            counts[fault.split(":")[0]] += 1
            if len(shown) < MAX_SHOWN:
                shown.append(
                    f"{fault} {case.backend} {case.channel} {case.names} {canned.body[:600]!r}"
                )
    return {"counts": counts, "shown": shown}


async def fault_of(judge: Any, case: Case, counts: Counter[str]) -> str:
    """What is wrong with the reading, `""` for nothing."""
    try:
        found = await score_of(judge, case)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return f"exception: {type(error).__name__}: {error}"
    counts[("kept", "may", "killed")[case.effect]] += 1
    counts["scored"] += found is not None
    if found is not None and (case.effect == KILLS or found != expected(case)):
        return "wrong"
    return "lost" if found is None and case.effect == KEEPS else ""


def main() -> None:
    options = sizes(__doc__, mutations=(100_000, 3_000), seed=(20_261_201, 7))
    started = time.monotonic()
    found = asyncio.run(run(options.mutations, options.seed))
    counts, shown = found["counts"], found["shown"]
    for line in shown:
        say(line)
    took_s = time.monotonic() - started
    figures = [
        at_least("mutated replies read", options.mutations, options.mutations),
        at_most("scores that no whole, single, finished verdict carries", counts["wrong"], 0),
        at_most("verdicts that were kept and not read", counts["lost"], 0),
        at_most("exceptions besides CallError out of a backend", counts["exception"], 0),
    ]
    details = {"seed": options.seed, "took_s": round(took_s, 1), **dict(sorted(counts.items()))}
    print(details)
    report("replies_fuzz", figures, details, smoke=options.smoke)


if __name__ == "__main__":
    main()

"""The value types that the parts of the package exchange: samples, prompts, completions, rewards.

All are immutable records with almost no behaviour. They are `msgspec.Struct`s, because a reward needs six of
them and making a frozen dataclass takes ten times as long (docs/decisions/0005).

Scores are always in [0, 1] here; the reply policy applies the wire range. A score of
`None` means "not judged" and always has a reason; it never means "bad".
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

Channel = Literal["schema", "tool", "text"]
"""The form of a judge's answer: JSON-schema structured output, one forced tool, or strict text."""

StopReason = Literal[
    "complete",
    "unknown",
    "max_tokens",
    "refused",
    "malformed",
    "context_full",
    "reasoning",
    "several",
]
"""Why the judge stopped, in one vocabulary for all backends. Only `complete` and `unknown` may carry a
verdict.

`unknown` is a missing stop word or one that is in no table: a verdict counts if its form shows that it is
whole, as one JSON object does and a number does not. `refused` covers content filters and guardrails;
`malformed` is a backend that reports malformed output; `context_full` is a prompt that is longer than the
context; `reasoning` is an answer of reasoning that was opened and not closed; `several` are answers in one
reply that differ.
"""

Kind = Literal["judge", "verify"]
"""What scores a criterion: a model (`judge`), or a program (`verify`)."""

Reasoning = Literal["none", "brief"]
"""The text that a judge writes before its scores: none, or one sentence."""

NO_METADATA: Mapping[str, Any] = {}


class Message(Struct, frozen=True):
    """One message of a conversation; its content is already reduced to text.

    unseen: kinds of content that are not text and that the judge does not see: `image`, `audio`, `video`,
        `document`.
    """

    role: str
    content: str
    unseen: tuple[str, ...] = ()


class Sample(Struct, frozen=True, kw_only=True):
    """One rollout to grade, as the trainer sent it.

    id: kept as sent, type included; `None` when the row has none. It is a label, and may not be unique.
    messages: the conversation before the response.
    response: the policy's answer; `None` when the row has none (pre-flight rows), `""` for an empty
        answer, which is a bad answer and not a missing one.
    reference: the reference answer as text, `None` when there is none.
    metadata: every other field of the row.
    group_key: equal for the rollouts of one prompt (a GRPO group).
    unseen: kinds of other content in the response, see `Message`.
    """

    id: Any = None
    messages: tuple[Message, ...] = ()
    response: str | None = None
    reference: str | None = None
    metadata: Mapping[str, Any] = NO_METADATA
    group_key: str = ""
    unseen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises TypeError that names the field, here and not in the middle of a batch."""
        for name, text in (("response", self.response), ("reference", self.reference)):
            if text is not None and not isinstance(text, str):
                raise TypeError(f"Sample.{name}: must be text or None, not {type(text).__name__}")
        for place, message in enumerate(self.messages):
            if not isinstance(message, Message):
                raise TypeError(
                    f"Sample.messages[{place}]: must be a Message, not {type(message).__name__}"
                )


def require_sample(sample: Any) -> Sample:
    """The sample itself. Raises TypeError for anything else, such as a row of a file."""
    if not isinstance(sample, Sample):
        raise TypeError(
            f"a sample must be a judge_service.Sample, not {type(sample).__name__}; write"
            " Sample(response=..., reference=...), or give a trainer's rows to JudgeService.answer"
        )
    return sample


class Gate(Struct, frozen=True):
    """A criterion that limits the whole reward.

    below: the criterion's score below which it limits the reward, in [0, 1].
    cap: the limit at `below - width` and below; from there to `below` the limit rises linearly to 1.
    width: 0 makes it a step; at most `below`, so that a score of 0 always has the limit `cap`.

    For example, with `below = 0.5`, `width = 0.2` and `cap = 0.1` a score of 0.4 limits the reward to 0.55.
    """

    below: float
    cap: float = 0.0
    width: float = 0.2

    def limit(self, score: float) -> float:
        """The limit of the reward if this criterion scores `score`."""
        width = min(self.width, self.below)
        if score >= self.below:
            return 1.0
        if score <= self.below - width:
            return self.cap
        return self.cap + (1.0 - self.cap) * (score - self.below + width) / width


class Criterion(Struct, frozen=True, kw_only=True):
    """One dimension of a rubric.

    name: the metric's name on the wire and the key in the judge's answer, `[a-z][a-z0-9_]*`.
    description: the question for the judge.
    weight: share in the mean, > 0; only ratios matter.
    minimum, maximum: the scale of the judge's answer, which is mapped to [0, 1] when parsed.
    levels: the only answers allowed, ascending, empty for any number on the scale.
    needs_reference: the criterion compares with the reference; without one it cannot be judged.
    kind: what scores the criterion, a judge or a program.
    verify, options: the kind of verifier and its options; for `verify` only.
    reasoning, model, system, user: values for this criterion; `None` uses the rubric's or the settings'.
    """

    name: str
    description: str
    weight: float = 1.0
    minimum: float = 0.0
    maximum: float = 1.0
    levels: tuple[float, ...] = ()
    needs_reference: bool = False
    gate: Gate | None = None
    kind: Kind = "judge"
    verify: str = ""
    options: Mapping[str, Any] | None = None
    reasoning: Reasoning | None = None
    model: str | None = None
    system: str | None = None
    user: str | None = None


class Question(Struct, frozen=True, kw_only=True):
    """The question for a judge, as typed parts. The embedded judge reads this instead of the messages."""

    criteria: tuple[Criterion, ...]
    task: str
    response: str
    reference: str | None = None


class Prompt(Struct, frozen=True, kw_only=True):
    """One prompt for a judge.

    messages: exactly the text that a model sees; roles `system`, `user`, `assistant`.
    schema: JSON schema of the answer, for the channels `schema` and `tool`; `None` for `text`.
    max_output_tokens: always set, because Bedrock reserves it against the quota up front.
    temperature: `None` sends none (some models refuse the field).
    draw: index of a repeated draw, so that draws are not answered by one cache entry.
    key: hash of the rubric's version and of everything above that can change the answer, without the
        fence's nonce. Prompts with equal keys are the same question.
    shared_chars: characters of the last message before anything that is specific to this response. With the
        messages before it, they are the beginning that a prompt cache can keep for the other rollouts.
    shared_key: equal for the prompts of this process that share that beginning; at most 64 characters, empty
        if nothing is shared.
    """

    question: Question
    messages: tuple[Message, ...]
    channel: Channel = "text"
    schema: Mapping[str, Any] | None = None
    max_output_tokens: int = 16
    temperature: float | None = 0.0
    draw: int = 0
    key: str = ""
    shared_chars: int = 0
    shared_key: str = ""


class Usage(Struct, frozen=True):
    """Tokens spent, as the backend counted them. `calls` counts judge calls that were answered."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    calls: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.calls + other.calls,
        )


NO_USAGE = Usage()


class TokenChoice(Struct, frozen=True):
    """One token of an answer that contains a digit, with the probabilities of its alternatives.

    start: position of the token in `Completion.text`, characters.
    text: the token as written, with white space around it.
    probabilities: by token, itself included, each in [0, 1]; the rest to 1 belongs to tokens
        without a digit, or too unlikely to be reported.
    """

    start: int
    text: str
    probabilities: Mapping[str, float]


class Completion(Struct, frozen=True, kw_only=True):
    """The answer of a judge.

    text: the answer's text blocks joined, `None` without any.
    data: the forced tool's input, or the embedded judge's measurement; `None` otherwise. A value of
        `None` for a criterion means that this judge cannot judge that criterion.
    model: the model that answered.
    cached: whether the answer comes from the cache, without a call.
    choices: token probabilities of each number in `text`, in the text's order; empty if they
        were not requested (`openai.logprobs`, `sagemaker.logprobs`) or not sent.
    asked: the changes to the request that the judge needed, such as `no temperature`; `""` for none.
    """

    text: str | None = None
    data: Mapping[str, Any] | None = None
    stop_reason: StopReason = "complete"
    usage: Usage = NO_USAGE
    model: str = ""
    cached: bool = False
    choices: tuple[TokenChoice, ...] = ()
    asked: str = ""


class Verdict(Struct, frozen=True):
    """A parsed completion.

    scores: by criterion, mapped to [0, 1].
    unscorable: by criterion without a score, the reason (a word of `UNSCORED_REASONS`).
    off_menu: by criterion whose score is an expected level, the probability in [0, 1]
        that the judge gave to anything but a level.
    explanation: see `Reward`.
    """

    scores: Mapping[str, float]
    unscorable: Mapping[str, str]
    off_menu: Mapping[str, float] = NO_METADATA
    explanation: str = ""


class Part(Struct, frozen=True):
    """One criterion of a reward. `score` is in [0, 1], or `None` with a reason.

    off_menu: see `Verdict`; `None` when the score is what the judge wrote.
    kind: what gave the score.
    """

    name: str
    score: float | None
    weight: float
    reason: str | None = None
    off_menu: float | None = None
    kind: Kind = "judge"


class Reward(Struct, frozen=True, kw_only=True):
    """The reward of one sample.

    score: in [0, 1], finite; `None` when the sample was not judged.
    reason: a word of `UNSCORED_REASONS` if and only if the score is `None`.
    detail: one sentence for a person, without text of the candidate.
    parts: one per criterion of the rubric, always all of them, in the rubric's order.
    metrics: other finite numbers by name, which are not criteria: those of a custom grader,
        and the factors of shaping.
    cost_usd: `None` when the model's price is not configured.
    explanation: the judge's written reason on one line, at most 1,000 printable characters per judge call;
        `""` if the rubric does not ask for one. It may quote the candidate's text.
    channel: the form in which the judge answered, and the changes to the request that it needed, such as
        `tool; no temperature`; `""` where no judge answered.
    """

    score: float | None
    reason: str | None = None
    detail: str = ""
    parts: tuple[Part, ...] = ()
    metrics: Mapping[str, float] = NO_METADATA
    usage: Usage = NO_USAGE
    cost_usd: float | None = None
    model: str = ""
    cached: bool = False
    explanation: str = ""
    channel: str = ""


class Ranking(Struct, frozen=True, kw_only=True):
    """The ranking of several responses to one prompt.

    rewards: one per sample, in order; a score is relative to *these* responses.
    ranks: 1 for the best; equal scores have the same rank; `None` without a score.
    compared: whether the judge saw them together; `False` when each was scored alone.
    orders: number of orders (at most 2) with a complete verdict; 0 when not compared.
    consistency: share of the pairs that both orders rank in the same way, `None` without both orders. A low
        value means a judge that prefers positions, or responses of nearly equal quality.
    """

    rewards: tuple[Reward, ...]
    ranks: tuple[int | None, ...]
    compared: bool
    orders: int = 0
    consistency: float | None = None


class Wait(Struct, frozen=True, kw_only=True):
    """The event that a run waits for its judge, or continues.

    reason: a word of `UNSCORED_REASONS`. detail: a sentence for a person.
    waited_s: seconds since the wait began. next_s: seconds until the next probe; 0 during a probe.
    is_over: whether the run continues.
    """

    reason: str
    detail: str
    waited_s: float
    next_s: float = 0.0
    is_over: bool = False


MAX_DIFFERENCES = 6
"""Most differences between two instruments that a message lists."""


def differences(found: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Describes how two instruments differ: each setting with both values; `""` if they are equal.

    found: the earlier instrument (`JudgeService.instrument`). now: the present one.
    """
    names = [name for name in {**now, **found} if found.get(name) != now.get(name)]
    told = [
        f"{name} {found.get(name) or 'none'} (now {now.get(name) or 'none'})"
        for name in names[:MAX_DIFFERENCES]
    ]
    more = len(names) - len(told)
    return ", ".join([*told, f"and {more} more"] if more else told)


UNSCORED_REASONS: Mapping[str, str] = {
    "no_response": "the row has no model answer to judge",
    "no_reference": "the rubric compares with a reference answer and the row has none",
    "unreadable": "the row could not be read",
    "abstained": "the user's custom grader chose not to judge the row",
    "unparseable": "the judge's answer was not in the allowed form, also after re-asking",
    "truncated": "the judge's answer was cut off by its token limit",
    "refused": "the judge refused, or a content filter stopped it",
    "too_long": "the prompt does not fit the judge",
    "cannot_judge": "this judge cannot judge this criterion",
    "deadline": "there was no time left",
    "throttled": "the judge's quota allowed no call before the deadline or the limit of attempts",
    "quota_exhausted": "the judge's quota is used up for the day",
    "unavailable": "the judge could not be reached or kept failing",
    "denied": "the judge refused the call: credentials, permission, model or request",
    "interrupted": "the work was cancelled before it was done",
    "grader_error": "the grader itself failed",
}
"""All reasons for a missing score, each with a sentence for a person.

`no_response`, `no_reference` and `unreadable` are problems of the input, `abstained` is intended; all others
are failures to judge.
"""

INPUT_REASONS = frozenset({"no_response", "no_reference", "unreadable", "abstained"})
"""Reasons that do not count as a failure of the judge (see `max_unscored_fraction`)."""

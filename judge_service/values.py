"""The nouns of the house: what travels between the rooms.

All are immutable records with next to no behaviour. They are `msgspec.Struct`s because a reward costs six of
them and a frozen dataclass is ten times dearer to make (docs/decisions/0005).

Scores are always in [0, 1] here; the reply policy applies the wire range. A score of
`None` means "not judged" and always comes with a reason; it never means "bad".
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

Channel = Literal["schema", "tool", "text"]
"""How a judge is made to answer: JSON-schema structured output, one forced tool, or strict text."""

StopReason = Literal["complete", "max_tokens", "refused", "malformed", "context_full"]
"""Why the judge stopped, in one vocabulary for every backend. Only `complete` may carry a verdict.

`refused` covers content filters and guardrails; `malformed` is a backend that says itself that its
output broke; `context_full` is a prompt that did not fit.
"""

Kind = Literal["judge", "verify"]
"""Who scores a criterion: a model, or a program that checks it."""

Reasoning = Literal["none", "brief"]
"""What a judge writes before its scores: nothing, or one sentence."""

NO_METADATA: Mapping[str, Any] = {}


class Message(Struct, frozen=True):
    """One turn of a conversation, its content already reduced to text."""

    role: str
    content: str


class Sample(Struct, frozen=True, kw_only=True):
    """One rollout to grade, as the trainer sent it.

    id: kept as sent, type included; `None` when the row had none. It is a label, never a key.
    messages: the conversation up to, and without, the response.
    response: the policy's answer; `None` when the row has none (pre-flight rows), `""` when the
        policy said nothing, which is a bad answer and not a missing one.
    reference: the reference answer as text, `None` when there is none.
    metadata: every other field of the row.
    group_key: equal for the rollouts of one prompt (a GRPO group).
    """

    id: Any = None
    messages: tuple[Message, ...] = ()
    response: str | None = None
    reference: str | None = None
    metadata: Mapping[str, Any] = NO_METADATA
    group_key: str = ""


class Gate(Struct, frozen=True):
    """A criterion that limits the whole reward.

    below: where it begins, in [0, 1]; from there up it limits nothing.
    cap: the most the reward can be at and under `below - width`; in between the limit is a line.
    width: 0 is a cliff; never wider than `below`, so that a criterion of 0 always meets the cap.
    """

    below: float
    cap: float = 0.0
    width: float = 0.2

    def limit(self, score: float) -> float:
        """The most the reward can be, where this criterion scored `score`."""
        width = min(self.width, self.below)
        if score >= self.below:
            return 1.0
        if score <= self.below - width:
            return self.cap
        return self.cap + (1.0 - self.cap) * (score - self.below + width) / width


class Criterion(Struct, frozen=True, kw_only=True):
    """One dimension of a rubric.

    name: the metric's name on the wire and the key in the judge's answer, `[a-z][a-z0-9_]*`.
    description: what the judge is asked, in words.
    weight: share in the mean, > 0; only ratios matter.
    minimum, maximum: the scale the judge answers in; mapped to [0, 1] when parsed.
    levels: the only answers allowed, ascending, empty for any number on the scale.
    needs_reference: the criterion compares with the reference; without one it cannot be judged.
    kind: who says the score, a judge or a program.
    verify, options: which verifier, and how it is set; for `verify` only.
    reasoning, model, system, user: this criterion's own, `None` for the rubric's and the settings'.
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
    """What is asked of a judge, as typed parts: the embedded judge reads this, not the messages."""

    criteria: tuple[Criterion, ...]
    task: str
    response: str
    reference: str | None = None


class Prompt(Struct, frozen=True, kw_only=True):
    """One question to a judge.

    messages: exactly what a text model sees; roles `system`, `user`, `assistant`.
    schema: JSON schema of the answer, for the channels `schema` and `tool`; `None` for `text`.
    max_output_tokens: always set, because Bedrock reserves it against the quota up front.
    temperature: `None` leaves it to the model (some models refuse the field).
    draw: index of a repeated draw, so that draws are not answered by one cache entry.
    key: hash of everything above that can change the answer and of the rubric's version, and of
        nothing else (not of the fence's nonce): equal key, same question.
    """

    question: Question
    messages: tuple[Message, ...]
    channel: Channel = "text"
    schema: Mapping[str, Any] | None = None
    max_output_tokens: int = 16
    temperature: float | None = 0.0
    draw: int = 0
    key: str = ""


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
    """One token of an answer that holds a digit, and the digits that could have stood in its place.

    start: where the token begins in `Completion.text`, characters.
    text: the token as it was written, white space around it included.
    probabilities: by token, itself included, each in [0, 1]; what is missing to 1 went to tokens
        without a digit or too unlikely to be told.
    """

    start: int
    text: str
    probabilities: Mapping[str, float]


class Completion(Struct, frozen=True, kw_only=True):
    """What came back from a judge.

    text: the answer's text blocks joined, `None` when there were none.
    data: the forced tool's input, or what the embedded judge measured; `None` otherwise. A value of
        `None` under a criterion's name says that this judge cannot judge that criterion.
    model: the model that really answered.
    cached: no call was made for this one.
    choices: how sure the judge was of each number in `text`, in the text's order; empty where it
        was not asked (`openai.logprobs`, `sagemaker.logprobs`) or did not say.
    """

    text: str | None = None
    data: Mapping[str, Any] | None = None
    stop_reason: StopReason = "complete"
    usage: Usage = NO_USAGE
    model: str = ""
    cached: bool = False
    choices: tuple[TokenChoice, ...] = ()


class Verdict(Struct, frozen=True):
    """A completion, parsed.

    scores: per criterion, already mapped to [0, 1].
    unscorable: per criterion that has no score, the reason (a word of `UNSCORED_REASONS`).
    off_menu: per criterion whose score is an expectation over its levels, the probability in [0, 1]
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
    kind: who said the score.
    """

    name: str
    score: float | None
    weight: float
    reason: str | None = None
    off_menu: float | None = None
    kind: Kind = "judge"


class Reward(Struct, frozen=True, kw_only=True):
    """What a trainer gets for one sample.

    score: in [0, 1], finite; `None` when the sample was not judged.
    reason: a word of `UNSCORED_REASONS` exactly when score is `None`.
    detail: one sentence for a person, with no candidate text in it.
    parts: one per criterion of the rubric, always all of them and in the rubric's order.
    metrics: other finite numbers by name, which are no criteria: those of a custom grader,
        and by how much the reward was shaped.
    cost_usd: `None` when the model's price is not configured.
    explanation: the judge's written reason on one line, at most 1,000 printable characters of each judge
        call; `""` unless the rubric asks for one. It may quote the candidate's text.
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


class Ranking(Struct, frozen=True, kw_only=True):
    """Several responses to one prompt, judged against each other.

    rewards: one per sample, in order; a score says how good a response is *among these*.
    ranks: 1 for the best, equal scores share a rank, `None` where there is no score.
    compared: whether the judge saw them together; `False` when each was scored alone and then ranked.
    orders: in how many orders (2 at best) the judge gave a whole verdict; 0 when not compared.
    consistency: share of the pairs that both orders put the same way round, `None` without both. Low
        is a judge that goes by position, or responses too close to tell apart.
    """

    rewards: tuple[Reward, ...]
    ranks: tuple[int | None, ...]
    compared: bool
    orders: int = 0
    consistency: float | None = None


class Wait(Struct, frozen=True, kw_only=True):
    """A run waits for its judge, or has stopped waiting.

    reason: a word of `UNSCORED_REASONS`. detail: the same in a sentence for a person.
    waited_s: since the wait began, seconds. next_s: until the judge is asked again, seconds; 0 while it is
        being asked.
    is_over: the run goes on.
    """

    reason: str
    detail: str
    waited_s: float
    next_s: float = 0.0
    is_over: bool = False


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
    "throttled": "the judge's quota gave no room before the deadline or the attempt cap",
    "quota_exhausted": "the judge's quota is used up for the day",
    "unavailable": "the judge could not be reached or kept failing",
    "denied": "the judge refused the call: credentials, permission, model or request",
    "interrupted": "the work was cancelled before it was done",
    "grader_error": "the grader itself failed",
}
"""Every word that can explain a missing score, with the sentence a person reads.

`no_response`, `no_reference` and `unreadable` are the input's doing, and `abstained` is meant; all others
are a failure to judge.
"""

INPUT_REASONS = frozenset({"no_response", "no_reference", "unreadable", "abstained"})
"""Reasons that do not count as a failure of the judge (see `max_unscored_fraction`)."""

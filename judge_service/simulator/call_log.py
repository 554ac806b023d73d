"""Counts of calls, and a bounded log of them."""

from collections import Counter, deque
from collections.abc import Mapping

from msgspec import Struct

from judge_service.simulator.config import SimulatorConfig
from judge_service.simulator.quota import QuotaStatistics, WorstWindow


class CallLogged(Struct, frozen=True, kw_only=True, gc=False):
    """One call that ended.

    started_s: on the simulator's clock. latency_s: as drawn; 0 for a call that was refused at once.
    status: of the reply, 0 when there was no readable reply (`reset`, `hang`).
    input_tokens: of the whole prompt. cache_read_tokens, cache_write_tokens: parts of it.
    prompt_digest: identity of the prompt (see `answers`), 0 when the request could not be read.
    in_spell: the fault is that of a spell. heard: the client was still connected when the call ended.
    """

    number: int
    started_s: float
    latency_s: float
    dialect: str
    model: str
    status: int
    code: str = ""
    fault: str | None = None
    in_spell: bool = False
    channel: str = ""
    prompt_digest: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    max_output_tokens: int | None = None
    heard: bool = True


class Statistics(Struct, frozen=True, kw_only=True):
    """What `GET /simulator/statistics` answers.

    calls: calls that arrived. worst_window_calls: the most of them in any 60 s.
    input_tokens: of whole prompts; what the prompt cache read and wrote are parts of them.
    by_status: ended calls by status; 0 is a call without a readable reply.
    by_fault: faults that were drawn at their rates or scripted. by_spell: faults of spells. Neither counts
        what a quota refused, see `QuotaStatistics`.
    in_flight: admitted and not ended.
    answered: well-formed, complete answers whose client was still connected.
    unheard: answers whose client had disconnected; they cost quota too.
    distinct_prompts: prompts that were answered. answered_again: answers to a prompt that had an answer
        already; a cache or a resumed run should keep it 0. Both are exact for the first
        `max_tracked_prompts` prompts.
    """

    calls: int
    worst_window_calls: float
    answered: int
    unheard: int
    in_flight: int
    peak_in_flight: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    by_status: Mapping[int, int]
    by_fault: Mapping[str, int]
    by_spell: Mapping[str, int]
    distinct_prompts: int
    answered_again: int
    open_connections: int
    quotas: Mapping[str, QuotaStatistics]

    @property
    def worst_window_requests(self) -> float:
        """The most requests that any model admitted in any 60 s."""
        return max((q.worst_window_requests for q in self.quotas.values()), default=0.0)

    @property
    def worst_window_tokens(self) -> float:
        """The most tokens that any model admitted in any 60 s."""
        return max((q.worst_window_tokens for q in self.quotas.values()), default=0.0)


class CallLog:
    """Counts calls from arrival to end."""

    def __init__(self, config: SimulatorConfig) -> None:
        self._max_tracked_prompts = config.max_tracked_prompts
        self.events: deque[CallLogged] = deque(maxlen=config.max_events)
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Clears everything except the calls in flight."""
        self.events.clear()
        self.calls = 0
        self._arrivals = WorstWindow()
        self._answered = self._unheard = self._answered_again = 0
        self._input_tokens = self._output_tokens = 0
        self._cache_read_tokens = self._cache_write_tokens = 0
        self._peak_in_flight = self._in_flight
        self._by_status: Counter[int] = Counter()
        self._by_fault: Counter[str] = Counter()
        self._by_spell: Counter[str] = Counter()
        self._prompts: set[int] = set()

    def arrived(self, now_s: float) -> int:
        """Counts a call that arrived and returns its number, from 1."""
        self.calls += 1
        self._arrivals.add(1.0, now_s)
        return self.calls

    def admitted(self) -> None:
        """Counts a call that is in flight from now on."""
        self._in_flight += 1
        self._peak_in_flight = max(self._peak_in_flight, self._in_flight)

    def left(self) -> None:
        """Counts the end of a call in flight."""
        self._in_flight -= 1

    def ended(self, event: CallLogged) -> None:
        """Logs a call that ended. For a call in flight `left` is called too."""
        self.events.append(event)
        self._by_status[event.status] += 1
        self._input_tokens += event.input_tokens
        self._output_tokens += event.output_tokens
        self._cache_read_tokens += event.cache_read_tokens
        self._cache_write_tokens += event.cache_write_tokens
        self._unheard += not event.heard
        if event.fault is not None:
            (self._by_spell if event.in_spell else self._by_fault)[event.fault] += 1
        elif event.status == 200 and event.heard:
            self._remember(event.prompt_digest)

    def _remember(self, prompt_digest: int) -> None:
        self._answered += 1
        if prompt_digest in self._prompts:
            self._answered_again += 1
        elif len(self._prompts) < self._max_tracked_prompts:
            self._prompts.add(prompt_digest)

    def statistics(
        self, open_connections: int, quotas: Mapping[str, QuotaStatistics]
    ) -> Statistics:
        return Statistics(
            calls=self.calls,
            worst_window_calls=self._arrivals.worst,
            answered=self._answered,
            unheard=self._unheard,
            in_flight=self._in_flight,
            peak_in_flight=self._peak_in_flight,
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
            cache_read_tokens=self._cache_read_tokens,
            cache_write_tokens=self._cache_write_tokens,
            by_status=dict(sorted(self._by_status.items())),
            by_fault=dict(sorted(self._by_fault.items())),
            by_spell=dict(sorted(self._by_spell.items())),
            distinct_prompts=len(self._prompts),
            answered_again=self._answered_again,
            open_connections=open_connections,
            quotas=quotas,
        )

    def __repr__(self) -> str:
        return f"<CallLog calls={self.calls} in_flight={self._in_flight}>"

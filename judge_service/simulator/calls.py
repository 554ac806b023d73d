"""One call from its arrival to its end: credentials, quota, latency, fault, answer."""

from collections.abc import Callable
from functools import partial

from msgspec import Struct

from judge_service.simulator.alarms import Alarms
from judge_service.simulator.answers import Question
from judge_service.simulator.call_log import CallLog, CallLogged
from judge_service.simulator.chance import Chance, Draw
from judge_service.simulator.chat import refuse_logprobs
from judge_service.simulator.config import SimulatorConfig
from judge_service.simulator.delivery import HEADLESS, Delivery, holds
from judge_service.simulator.dialects import Dialect
from judge_service.simulator.faults import (
    AFTER_LATENCY,
    AT_THE_DOOR,
    ON_THE_WIRE,
    ApiError,
    Refusal,
)
from judge_service.simulator.judge import Judgement, judge
from judge_service.simulator.prompt_cache import NOTHING, Lookup, PromptCache, Tokens
from judge_service.simulator.protocol import Connection, HttpRequest
from judge_service.simulator.quota import Quota, Reservation
from judge_service.simulator.spells import Spells


class Call(Struct, eq=False):
    """A call under way. The fields below `draw` are set once it is read, judged and admitted."""

    number: int
    started_s: float
    dialect: Dialect
    connection: Connection
    draw: Draw
    question: Question
    judgement: Judgement | None = None
    hold: tuple[Quota, Reservation] | None = None
    cached: Lookup = NOTHING

    def tokens(self, *, is_answered: bool = True) -> Tokens:
        """What it costs: nothing if it was refused, its input alone if it failed."""
        if self.judgement is None or self.hold is None:
            return Tokens(0, 0)
        read, write, _ = self.cached
        prompt, output = self.judgement.usage
        return Tokens(prompt - read - write, output if is_answered else 0, read, write)

    def charged_input(self, tokens: Tokens) -> int:
        """The tokens of the prompt that count against the quota."""
        return tokens.prompt - (tokens.cache_read if self.dialect.reads_are_free else 0)


class Calls:
    """Runs all calls of one simulator.

    clock: of quotas and statistics, seconds. wall_clock: seconds since 1970, for signatures and the
    `date` header. Tests set both.
    """

    def __init__(
        self, config: SimulatorConfig, clock: Callable[[], float], wall_clock: Callable[[], float]
    ) -> None:
        self._config = config
        self._clock = clock
        self._wall_clock = wall_clock
        self._alarms = Alarms()
        self.call_log = CallLog(config)
        self.reset()

    def reset(self) -> None:
        """Starts quotas, draws and counts afresh; calls in flight end on the old quotas."""
        self._spells = Spells(self._config.spells)
        self.chance = Chance(self._config, self._spells)
        self.quotas: dict[str, Quota] = {}
        self._caches: dict[str, PromptCache] = {}
        self.call_log.reset()

    def begin(
        self, dialect: Dialect, model: str, request: HttpRequest, connection: Connection
    ) -> None:
        """Admits the call and starts its latency, or refuses it at once."""
        now_s = self._clock()
        call = Call(
            self.call_log.arrived(now_s),
            now_s,
            dialect,
            connection,
            self.chance.draw(now_s),
            Question(model=model, prompt=""),
        )
        try:
            dialect.authorise(request, self._config, self._wall_clock())
            call.question = dialect.read(request.body, model)
            self._admit(call)
        except ApiError as error:
            self._fail(call, error)
            return
        self.call_log.admitted()
        if call.draw.latency_s > 0:
            self._alarms.after(call.draw.latency_s, self._finish, call)
        else:
            self._finish(call)

    def close(self) -> None:
        """Stops every timer; calls that wait for one are not answered."""
        self._alarms.cancel()

    def _admit(self, call: Call) -> None:
        config, question, fault = self._config, call.question, call.draw.fault
        if fault is not None and fault in AT_THE_DOOR:
            raise AT_THE_DOOR[fault].error()
        if question.channel == "schema" and config.refuses_schema:
            raise call.dialect.refuse_schema()
        if question.channel == "tool" and config.refuses_tool:
            raise call.dialect.refuse_tool()
        if question.top_logprobs is not None and config.refuses_logprobs:
            raise refuse_logprobs()
        if question.temperature is not None and config.refuses_temperature:
            raise call.dialect.refuse_temperature()
        if (question.cache_points or question.cache_key) and config.refuses_caching:
            raise call.dialect.refuse_caching()
        call.judgement = judge(question, fault, config)
        quota = self._quota(question.model)
        max_output_tokens = question.max_output_tokens or config.model_max_output_tokens
        call.cached = self._cache(question.model).look(question, call.started_s)
        free = call.cached.read if call.dialect.reads_are_free else 0
        reserved = quota.admit(call.judgement.usage[0] - free + max_output_tokens, call.started_s)
        if isinstance(reserved, Refusal):
            raise reserved.error()
        call.hold = quota, reserved

    def _cache(self, model: str) -> PromptCache:
        cache = self._caches.get(model)
        if cache is None:
            cache = self._caches[model] = PromptCache(self._config)
        return cache

    def _quota(self, model: str) -> Quota:
        quota = self.quotas.get(model)
        if quota is None:
            if len(self.quotas) >= self._config.max_models:
                raise AT_THE_DOOR["not_found"].error()
            quota = self.quotas[model] = Quota(self._config, self._spells)
        return quota

    def _finish(self, call: Call) -> None:
        """Answers a call whose latency is over."""
        judgement, fault = call.judgement, call.draw.fault
        if judgement is None or fault in AFTER_LATENCY:
            self._fail(call, AFTER_LATENCY[fault or "internal_error"].error())
            return
        self._cache(call.question.model).keep(call.cached, self._clock())
        tokens = call.tokens()
        body = call.dialect.write(
            judgement.answer, call.question, tokens, call.number, call.draw.latency_s
        )
        if fault is not None and fault in ON_THE_WIRE:
            status = 0 if fault in HEADLESS else 200
            end = partial(self._end, call, status, tokens)
            if not holds(fault):
                end()
            self._delivery(call).send_broken(fault, body, end)
        else:
            self._end(call, 200, tokens)
            self._delivery(call).send(200, body)

    def _fail(self, call: Call, error: ApiError) -> None:
        """Answers with an error: a call refused at once costs nothing, a failed one costs its input."""
        status, headers, body = call.dialect.write_error(error)
        self._end(call, status, call.tokens(is_answered=False), error.code)
        self._delivery(call, headers).send(status, body)

    def _delivery(self, call: Call, headers: str = "") -> Delivery:
        request_id = (
            f"x-amzn-requestid: {self._config.seed:08x}-0000-4000-8000-{call.number:012x}\r\n"
        )
        date_s, slow_byte_s = self._wall_clock(), self._config.slow_byte_s
        return Delivery(call.connection, request_id + headers, date_s, slow_byte_s)

    def _end(self, call: Call, status: int, tokens: Tokens, code: str = "") -> None:
        """Settles the quota and logs the call; once for each call."""
        if call.hold is not None:
            quota, reservation = call.hold
            charged = call.charged_input(tokens) + tokens.output * self._config.output_burndown
            quota.settle(reservation, charged, self._clock())
            self.call_log.left()
        self.call_log.ended(
            CallLogged(
                number=call.number,
                started_s=call.started_s,
                latency_s=call.draw.latency_s if call.hold else 0.0,
                dialect=call.dialect.name,
                model=call.question.model,
                status=status,
                code=code,
                fault=call.draw.fault,
                in_spell=call.draw.in_spell,
                channel=call.question.channel,
                prompt_digest=call.judgement.digest if call.judgement else 0,
                input_tokens=tokens.prompt,
                output_tokens=tokens.output,
                cache_read_tokens=tokens.cache_read,
                cache_write_tokens=tokens.cache_write,
                max_output_tokens=call.question.max_output_tokens,
                heard=not call.connection.is_gone,
            )
        )

    def __repr__(self) -> str:
        return f"<Calls {self.call_log!r} models={len(self.quotas)}>"

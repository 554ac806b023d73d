"""A judge for virtual time that behaves like the simulator: its quota, random draws, spells and counts."""

import asyncio
import math
from typing import Any

from measuring import InstantJudge

from judge_service.errors import QuotaExhausted, Throttled, Unavailable
from judge_service.flow import Request
from judge_service.simulator import SimulatorConfig, Statistics
from judge_service.simulator.call_log import CallLog, CallLogged
from judge_service.simulator.chance import Chance, Draw
from judge_service.simulator.faults import GARBAGE, Refusal
from judge_service.simulator.quota import Quota
from judge_service.simulator.spells import Spells
from judge_service.values import Completion, Prompt, Usage

REFUSED = {"throttle": Throttled, "daily_quota": QuotaExhausted}
"""Faults that refuse a call at once, without a charge."""


class WorldJudge(InstantJudge):
    """The simulator without sockets: the same draws, quota and statistics.

    It supports the faults `throttle`, `daily_quota`, `error_5xx` and its two kinds, `reset` and `garbage`.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        super().__init__()
        spells = Spells(config.spells)
        self._config = config
        self._chance = Chance(config, spells)
        self._quota = Quota(config, spells)
        self._call_log = CallLog(config)

    def read(self) -> Statistics:
        """The same statistics as `GET /simulator/statistics`."""
        return self._call_log.statistics(0, {self.model: self._quota.statistics()})

    async def __call__(self, request: Request[Prompt]) -> Completion:
        loop = asyncio.get_running_loop()
        now_s = request.sent_at = loop.time()
        number, draw = self._call_log.arrived(now_s), self._chance.draw(now_s)
        characters = sum(len(message.content) for message in request.body.messages)
        tokens = math.ceil(characters / self._config.chars_per_token)
        if draw.fault in REFUSED:
            self._log(number, now_s, draw, 429)
            raise REFUSED[draw.fault]("the simulated judge refuses at random")
        reserved = self._quota.admit(tokens + request.body.max_output_tokens, now_s)
        if isinstance(reserved, Refusal):
            self._log(number, now_s, draw, 429)
            raise Throttled(reserved.message)
        self._call_log.admitted()
        await asyncio.sleep(draw.latency_s)
        self._quota.settle(reserved, tokens + 1, loop.time())
        self._call_log.left()
        return self._end(number, now_s, draw, tokens)

    def _end(self, number: int, started_s: float, draw: Draw, tokens: int) -> Completion:
        status = {None: 200, "garbage": 200, "reset": 0}.get(draw.fault, 500)
        self._log(number, started_s, draw, status)
        if draw.fault == "reset":
            raise Unavailable("the connection broke", charged=True, backoff_s=0.05)
        if status == 500:
            raise Unavailable(f"the simulated judge fails ({draw.fault})", charged=True)
        text = GARBAGE if draw.fault == "garbage" else "0.75"
        return Completion(text=text, usage=Usage(tokens, 1, calls=1), model=self.model)

    def _log(self, number: int, started_s: float, draw: Draw, status: int) -> None:
        logged: dict[str, Any] = {"dialect": "virtual", "model": self.model, "status": status}
        self._call_log.ended(
            CallLogged(
                number=number,
                started_s=started_s,
                latency_s=draw.latency_s,
                fault=draw.fault,
                in_spell=draw.in_spell,
                **logged,
            )
        )

"""A simulator of Amazon Bedrock for tests: wire format, quotas, latency and faults.

It speaks Converse and OpenAI chat completions, the latter also behind a SageMaker endpoint, over HTTP/1.1
in one process. It imports nothing else of judge-service, so that the service is not tested with itself.
See `docs/simulator.md`.
"""

from judge_service.simulator.call_log import CallLogged, Statistics
from judge_service.simulator.config import SimulatorConfig
from judge_service.simulator.faults import FAULTS, Fault
from judge_service.simulator.quota import QuotaStatistics
from judge_service.simulator.server import Simulator, run, simulate
from judge_service.simulator.spells import Spell

__all__ = [
    "FAULTS",
    "CallLogged",
    "Fault",
    "QuotaStatistics",
    "Simulator",
    "SimulatorConfig",
    "Spell",
    "Statistics",
    "run",
    "simulate",
]

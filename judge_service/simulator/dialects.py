"""The wire formats of the simulator, each as one record of functions."""

from collections.abc import Callable
from functools import partial

from msgspec import Struct

from judge_service.simulator import chat, converse, sagemaker
from judge_service.simulator.answers import Answer, Question
from judge_service.simulator.config import SimulatorConfig
from judge_service.simulator.faults import ApiError
from judge_service.simulator.prompt_cache import Tokens
from judge_service.simulator.protocol import HttpRequest
from judge_service.simulator.signature import authorise, check_bearer


def _authorise_chat(request: HttpRequest, config: SimulatorConfig, _now_s: float) -> None:
    if not config.bearer_token:
        return
    try:
        check_bearer(request.headers.get("authorization", ""), config.bearer_token)
    except ApiError as refused:
        raise ApiError(401, "invalid_api_key", refused.message) from None


class Dialect(Struct, frozen=True, kw_only=True):
    """A wire format: functions that check, read, answer and refuse a call.

    reads_are_free: tokens read from the prompt cache take nothing of the quota.
    """

    name: str
    authorise: Callable[[HttpRequest, SimulatorConfig, float], None]
    read: Callable[[bytes, str], Question]
    write: Callable[[Answer, Question, Tokens, int, float], bytes]
    write_error: Callable[[ApiError], tuple[int, str, bytes]]
    refuse_schema: Callable[[], ApiError]
    refuse_tool: Callable[[], ApiError]
    refuse_temperature: Callable[[], ApiError]
    refuse_caching: Callable[[], ApiError]
    reads_are_free: bool = False


CONVERSE = Dialect(
    name="converse",
    authorise=authorise,
    read=converse.read,
    write=converse.write,
    write_error=converse.write_error,
    refuse_schema=converse.refuse_schema,
    refuse_tool=converse.refuse_tool,
    refuse_temperature=converse.refuse_temperature,
    refuse_caching=converse.refuse_caching,
    reads_are_free=True,
)
CHAT = Dialect(
    name="chat",
    authorise=_authorise_chat,
    read=chat.read,
    write=chat.write,
    write_error=chat.write_error,
    refuse_schema=chat.refuse_schema,
    refuse_tool=chat.refuse_tool,
    refuse_temperature=chat.refuse_temperature,
    refuse_caching=chat.refuse_caching,
)
SAGEMAKER = Dialect(
    name="sagemaker",
    authorise=partial(authorise, service="sagemaker"),
    read=chat.read,
    write=chat.write,
    write_error=sagemaker.write_error,
    refuse_schema=chat.refuse_schema,
    refuse_tool=chat.refuse_tool,
    refuse_temperature=chat.refuse_temperature,
    refuse_caching=chat.refuse_caching,
)

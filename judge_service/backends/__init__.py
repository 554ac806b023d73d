"""Judges. Each turns a prompt into a completion, and its failures into `CallError`s."""

from collections.abc import Mapping
from typing import Any, Protocol

from judge_service.backends.prompt_cache import PromptCaching
from judge_service.flow import Request
from judge_service.settings import Settings
from judge_service.values import Channel, Completion, Prompt


class Backend(Protocol):
    """A judge model. Calling it makes exactly one attempt and raises only CallErrors.

    model: name of the model that answers.
    channels: the forms in which it can answer, best first; the last is always `text`.
    """

    @property
    def model(self) -> str: ...

    @property
    def channels(self) -> tuple[Channel, ...]: ...

    async def __call__(self, request: Request[Prompt], /) -> Completion: ...

    async def aclose(self) -> None: ...

    def statistics(self) -> Any: ...


def open_backend(
    settings: Settings, environ: Mapping[str, str], caching: PromptCaching | None = None
) -> Backend:
    """Makes the backend that the settings name. It opens no connection and reads no credential file yet.

    environ: holds credentials, usually `os.environ`.
    caching: what it asks its judge to keep of prompts, by default nothing.
    """
    if settings.backend == "bedrock":
        return _open_bedrock(settings, environ, caching)
    if settings.backend == "sagemaker":
        return _open_sagemaker(settings, environ)
    if settings.backend == "openai":
        from judge_service.backends.chat.openai import OpenAI  # noqa: PLC0415 - only what is used
        from judge_service.http.transport import HttpTransport  # noqa: PLC0415 - see above

        return OpenAI(
            settings.model,
            transport=HttpTransport(settings.http, settings.limits.max_in_flight),
            base_url=settings.openai.base_url,
            api_key=environ.get(settings.openai.api_key_env) or None,
            api_key_env=settings.openai.api_key_env,
            logprobs=settings.openai.logprobs,
            caching=caching,
        )
    from judge_service.backends.embedded.judge import LocalJudge  # noqa: PLC0415 - heavy

    return LocalJudge.load()


def _open_bedrock(
    settings: Settings, environ: Mapping[str, str], caching: PromptCaching | None
) -> Backend:
    bedrock = settings.bedrock
    if bedrock.transport == "aioboto3":
        from judge_service.backends.bedrock.sdk import BedrockSdk  # noqa: PLC0415 - only what is used

        return BedrockSdk(
            settings.model,
            bedrock=bedrock,
            http=settings.http,
            environ=environ,
            max_connections=settings.limits.max_in_flight,
        )
    from judge_service.aws.identity_source import identity_source  # noqa: PLC0415 - see above
    from judge_service.backends.bedrock.backend import Bedrock  # noqa: PLC0415 - only what is used
    from judge_service.http.transport import HttpTransport  # noqa: PLC0415 - see above

    return Bedrock(
        settings.model,
        transport=HttpTransport(settings.http, settings.limits.max_in_flight),
        identities=identity_source(environ, profile=bedrock.profile, region=bedrock.region),
        endpoint_url=bedrock.endpoint_url,
        caching=caching,
    )


def _open_sagemaker(settings: Settings, environ: Mapping[str, str]) -> Backend:
    from judge_service.aws.identity_source import identity_source  # noqa: PLC0415 - only what is used
    from judge_service.backends.chat.sagemaker import SageMaker  # noqa: PLC0415 - see above
    from judge_service.http.transport import HttpTransport  # noqa: PLC0415 - see above

    sagemaker = settings.sagemaker
    return SageMaker(
        settings.model,
        transport=HttpTransport(settings.http, settings.limits.max_in_flight),
        identities=identity_source(
            environ, profile=sagemaker.profile, region=sagemaker.region, service="sagemaker"
        ),
        sagemaker=sagemaker,
    )

"""The sections of the settings, one record each; `settings` puts them together and reads them."""

from judge_service.sections.doors import FunctionSettings, ServiceSettings
from judge_service.sections.guards import CanarySettings, GuardSettings
from judge_service.sections.judging import (
    BedrockSettings,
    CacheSettings,
    FailoverSettings,
    HedgeSettings,
    HttpSettings,
    LimitSettings,
    OpenAISettings,
    PackSettings,
    PriceSettings,
    RetrySettings,
    SageMakerSettings,
    Temperature,
    UnscoredSettings,
    VoteSettings,
    WireSettings,
)
from judge_service.sections.logs import LogSettings

__all__ = [
    "BedrockSettings",
    "CacheSettings",
    "CanarySettings",
    "FailoverSettings",
    "FunctionSettings",
    "GuardSettings",
    "HedgeSettings",
    "HttpSettings",
    "LimitSettings",
    "LogSettings",
    "OpenAISettings",
    "PackSettings",
    "PriceSettings",
    "RetrySettings",
    "SageMakerSettings",
    "ServiceSettings",
    "Temperature",
    "UnscoredSettings",
    "VoteSettings",
    "WireSettings",
]

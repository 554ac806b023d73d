"""Settings: the operator's configuration, read once from TOML and the environment.

`reading` puts the sections together and reads them; `judging`, `serving`, `guards` and `logs` hold the
sections, one record each.
"""

from judge_service.settings.guards import CanarySettings, GuardSettings
from judge_service.settings.judging import (
    BedrockSettings,
    CacheSettings,
    FailoverSettings,
    HedgeSettings,
    HttpSettings,
    LimitSettings,
    OpenAISettings,
    PackSettings,
    PriceSettings,
    PromptCacheSettings,
    RetrySettings,
    SageMakerSettings,
    Temperature,
    UnscoredSettings,
    VoteSettings,
    WireSettings,
)
from judge_service.settings.logs import LogSettings
from judge_service.settings.reading import (
    ENVIRONMENT_PREFIX,
    NOT_SETTINGS,
    Key,
    Settings,
    beside,
    is_remote,
    keys,
    load_settings,
    logprobs_of,
    parse_settings,
    read_file,
    workers_share,
)
from judge_service.settings.serving import FunctionSettings, ServiceSettings

__all__ = [
    "ENVIRONMENT_PREFIX",
    "NOT_SETTINGS",
    "BedrockSettings",
    "CacheSettings",
    "CanarySettings",
    "FailoverSettings",
    "FunctionSettings",
    "GuardSettings",
    "HedgeSettings",
    "HttpSettings",
    "Key",
    "LimitSettings",
    "LogSettings",
    "OpenAISettings",
    "PackSettings",
    "PriceSettings",
    "PromptCacheSettings",
    "RetrySettings",
    "SageMakerSettings",
    "ServiceSettings",
    "Settings",
    "Temperature",
    "UnscoredSettings",
    "VoteSettings",
    "WireSettings",
    "beside",
    "is_remote",
    "keys",
    "load_settings",
    "logprobs_of",
    "parse_settings",
    "read_file",
    "workers_share",
]

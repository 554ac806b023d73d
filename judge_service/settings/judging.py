"""Settings of the judge: backend, transport, limits, retries and others."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Rate = Annotated[float, Meta(gt=0, le=1e12)]
Tokens = Annotated[int, Meta(ge=1, le=1_000_000)]
Price = Annotated[float, Meta(ge=0, le=1e6)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Logprobs = Annotated[
    int,
    Meta(
        ge=0,
        le=20,
        description=(
            "number of alternatives of each token to request (20, or what the server allows); above 0 a"
            " criterion with `levels` scores the expected level, at 0 the written one"
        ),
    ),
]


class BedrockSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Amazon Bedrock, Converse."""

    region: Annotated[
        str | None, Meta(description="AWS region; by default from the AWS environment or profile")
    ] = None
    profile: Annotated[
        str | None, Meta(description="AWS profile; by default the session's own choice")
    ] = None
    endpoint_url: Annotated[
        str | None,
        Meta(description="another endpoint, such as the simulator's; by default the region's"),
    ] = None
    transport: Annotated[
        Literal["direct", "aioboto3"],
        Meta(
            description="`direct` uses our own client; `aioboto3` is the reference implementation"
        ),
    ] = "direct"


class OpenAISettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An endpoint with the OpenAI chat completions API (vLLM, SGLang, TGI, Bedrock's own)."""

    base_url: Annotated[str, Meta(description="up to and including `/v1`")] = (
        "http://localhost:8000/v1"
    )
    api_key_env: Annotated[
        str, Meta(description="name of the variable that holds the key; unset or empty sends none")
    ] = "OPENAI_API_KEY"
    logprobs: Logprobs = 0


class SageMakerSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A SageMaker endpoint with the OpenAI chat API (LMI, vLLM, TGI, Nova); `model` is its name."""

    region: Annotated[
        str | None, Meta(description="AWS region; by default from the AWS environment or profile")
    ] = None
    profile: Annotated[
        str | None, Meta(description="AWS profile; by default the session's own choice")
    ] = None
    endpoint_url: Annotated[
        str | None,
        Meta(description="another host, such as the simulator's; by default the region's"),
    ] = None
    dialect: Annotated[
        Literal["chat", "nova"],
        Meta(
            description=(
                "`chat` for containers of LMI, vLLM and TGI; `nova` for Amazon Nova, which answers in"
                " text only"
            )
        ),
    ] = "chat"
    inference_component: Annotated[
        str,
        Meta(
            pattern=r"^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)?\Z",
            description="inference component of the endpoint; empty if it has none",
        ),
    ] = ""
    model_name: Annotated[
        str,
        Meta(
            max_length=256,
            description="sent as `model` to a container that needs one (an adapter's name); `chat` only",
        ),
    ] = ""
    reasoning_effort: Annotated[
        Literal["low", "medium", "high"] | None,
        Meta(description="for models that reason; by default not sent. Nova has no `medium`"),
    ] = None
    logprobs: Logprobs = 0


class HttpSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The HTTP transport of the backends."""

    connect_timeout_s: Annotated[
        float, Meta(gt=0, le=60, description="TCP and TLS set-up, seconds")
    ] = 3.0
    call_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            le=900,
            description="limit of one judge call, seconds, also when the deadline is later",
        ),
    ] = 60.0
    idle_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            le=600,
            description=(
                "an idle connection is closed after this time, seconds; less than the 5 s of many servers,"
                " so that no connection is used while the server closes it"
            ),
        ),
    ] = 4.0
    ca_file: Annotated[
        str | None,
        Meta(
            description="PEM file of further trusted authorities (`aioboto3`: instead of the system's)"
        ),
    ] = None
    proxy_url: Annotated[
        str | None,
        Meta(description="the only proxy used, `http://host:port`; the environment's are ignored"),
    ] = None
    max_reply_bytes: Annotated[
        int, Meta(ge=1024, le=100_000_000, description="a longer reply counts as broken")
    ] = 4_000_000


class LimitSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The judge's quota. A resource that is not set is not limited."""

    requests_per_minute: Annotated[Rate | None, Meta(description="judge calls a minute")] = None
    tokens_per_minute: Annotated[
        Rate | None,
        Meta(description="input + output tokens a minute, as Bedrock counts them"),
    ] = None
    input_tokens_per_minute: Annotated[
        Rate | None, Meta(description="input tokens a minute (bedrock-mantle)")
    ] = None
    output_tokens_per_minute: Annotated[
        Rate | None, Meta(description="output tokens a minute (bedrock-mantle)")
    ] = None
    output_burndown: Annotated[
        float,
        Meta(
            ge=1,
            le=100,
            description="quota tokens that one output token costs; 5 for Claude 3.7 to 4.x, see your model",
        ),
    ] = 1.0
    burst_s: Annotated[
        float,
        Meta(
            gt=0,
            le=60,
            description=(
                "seconds of quota that may be sent at once; 0.5 keeps any 60 s within +1 %"
            ),
        ),
    ] = 0.5
    max_in_flight: Annotated[
        int,
        Meta(ge=1, le=10_000, description="judge calls on the wire at once, one connection each"),
    ] = 512
    adaptive: Annotated[
        bool,
        Meta(
            description="lower `max_in_flight` by itself while the judge answers slower than before"
        ),
    ] = True
    processes: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="processes that share the quota; without a store each takes its part",
        ),
    ] = 1
    store: Annotated[
        Literal["none", "file", "redis", "dynamodb"],
        Meta(
            description=(
                "where processes share this quota: `file` on one machine, `redis` or `dynamodb` on many;"
                " with `none` each process takes its part, but the workers of one service share"
            )
        ),
    ] = "none"
    store_url: Annotated[
        str,
        Meta(
            description=(
                "`redis://host:6379/0` (or `rediss://`), the DynamoDB table's name, or the file's path"
            )
        ),
    ] = ""
    store_key: Annotated[
        str,
        Meta(
            max_length=128,
            description="names the quota in the store; by default backend, region and model",
        ),
    ] = ""

    def quota(self) -> dict[str, float]:
        """What is limited, units a minute, by the name of its setting."""
        names = [name for name in self.__struct_fields__ if name.endswith("_per_minute")]
        amounts = {name: getattr(self, name) for name in names}
        return {name: amount for name, amount in amounts.items() if amount is not None}


class RetrySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Retries of a judge call. Throttled attempts have their own limit, because they are not failures."""

    max_attempts: Annotated[
        int, Meta(ge=1, le=10, description="attempts of one call, without throttled ones")
    ] = 3
    max_throttled: Annotated[
        int, Meta(ge=0, le=100, description="throttled attempts after which a call fails")
    ] = 8
    base_s: Annotated[
        float, Meta(gt=0, le=60, description="upper bound of the first random wait, seconds")
    ] = 0.05
    throttled_base_s: Annotated[
        float, Meta(gt=0, le=60, description="the same after throttling, seconds")
    ] = 1.0
    cap_s: Annotated[
        float,
        Meta(gt=0, le=300, description="longest wait, seconds, except one that the judge asks for"),
    ] = 5.0
    budget_ratio: Annotated[
        float, Meta(ge=0, le=1, description="retries as a share of the calls of 10 s")
    ] = 0.2
    budget_per_s: Annotated[float, Meta(ge=0, le=1e6, description="further retries a second")] = (
        10.0
    )


class FailoverSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Targets for calls that the first target could not answer. Each has its own quota."""

    regions: Annotated[
        tuple[str, ...], Meta(max_length=8, description="the same model in these regions, in order")
    ] = ()
    models: Annotated[
        tuple[str, ...],
        Meta(
            max_length=8,
            description=(
                "other inference profiles of the same model, in order; another *model* changes what is"
                " measured and is refused without `allow_other_model`"
            ),
        ),
    ] = ()
    allow_other_model: Annotated[
        bool,
        Meta(description="allow other models in `models`; every reward names the one that judged"),
    ] = False


class HedgeSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A second copy of a slow call. Off by default, because the copy costs as much as a call."""

    enabled: Annotated[
        bool,
        Meta(description="useful if batches wait for their slowest call and the quota has room"),
    ] = False
    budget: Annotated[
        float, Meta(gt=0, le=0.5, description="second copies as a share of the calls")
    ] = 0.05


class PackSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Several samples in one judge call. Saves prompt tokens and costs accuracy: measure first."""

    max_samples: Annotated[int, Meta(ge=1, le=64, description="1 packs nothing")] = 1
    max_tokens: Annotated[
        int, Meta(ge=100, le=200_000, description="estimated tokens of the samples in one call")
    ] = 4000


class VoteSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Several draws of each judgement. Needs a `temperature` above 0."""

    draws: Annotated[int, Meta(ge=1, le=15, description="1 asks once; 3 give most of the gain")] = 1
    when: Annotated[
        Literal["always", "tied"],
        Meta(
            description=(
                "`tied` draws once, and again only for the responses of a group whose rewards are all equal"
            )
        ),
    ] = "always"
    reduce: Annotated[
        Literal["mean", "median"],
        Meta(description="how to combine the draws to one score per criterion"),
    ] = "mean"


class CacheSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The cache of judgements, in memory. It holds complete judgements only."""

    max_entries: Annotated[int, Meta(ge=0, le=10_000_000, description="0 keeps none")] = 10_000
    ttl_s: Annotated[float, Meta(gt=0, le=2_592_000, description="seconds")] = 3600.0
    redis_url: Annotated[
        str, Meta(description="`redis://host:6379/0`: also share judgements there")
    ] = ""


class PromptCacheSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The judge's own cache of prompts' beginnings, which the rollouts of one prompt share."""

    enabled: Annotated[
        bool,
        Meta(
            description=(
                "ask the judge to keep what rollouts of one prompt share, and let the first of them go ahead"
            )
        ),
    ] = True
    min_tokens: Annotated[
        Tokens | None,
        Meta(
            description=(
                "fewest tokens of a beginning that the judge keeps; by default what its documentation says,"
                " and nothing is asked of a Bedrock model without a documented one"
            ),
        ),
    ] = None


class UnscoredSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The substitute score of a sample that could not be judged, for callers that need a number."""

    policy: Annotated[
        str,
        Meta(
            pattern=r"^(group_mean|fail|value:-?[0-9]+(\.[0-9]+)?)$",
            description=(
                "`group_mean` (mean of the scored answers to the same prompt, so that the advantage"
                " is about zero), `value:x` (x in the wire range), or `fail`"
            ),
        ),
    ] = "group_mean"
    max_fraction: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="above this share of failed judgements the whole batch fails and can be retried",
        ),
    ] = 0.25
    memory_s: Annotated[
        float, Meta(ge=0, le=86_400, description="how long group means are kept, seconds")
    ] = 600.0


class WireSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The form of rewards on the wire."""

    score_range: Annotated[
        Literal["0..1", "-1..1"], Meta(description="range of all scores in replies")
    ] = "0..1"
    envelope: Annotated[
        Literal["auto", "list", "http"],
        Meta(
            description="`http` is `{statusCode, headers, body}`; `auto` answers in the form of the call"
        ),
    ] = "auto"
    max_event_bytes: Annotated[
        int, Meta(ge=1024, le=1_000_000_000, description="a larger event is refused")
    ] = 25_000_000


class PriceSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The judge's prices. Without them no cost is shown."""

    input_usd_per_million_tokens: Annotated[Price | None, Meta(description="US dollars")] = None
    output_usd_per_million_tokens: Annotated[Price | None, Meta(description="US dollars")] = None
    cache_read_usd_per_million_tokens: Annotated[
        Price | None,
        Meta(
            description="US dollars, of input read from the judge's prompt cache; by default all input's"
        ),
    ] = None
    cache_write_usd_per_million_tokens: Annotated[
        Price | None,
        Meta(description="US dollars, of input written to that cache; by default all input's"),
    ] = None

"""Explains Bedrock's refusals to a person: one sentence says what is wrong, where, and what to do.

The wording of AWS's message only selects the sentence. Policies act on the code and the status, which
`bedrock.errors` reads, so a reworded message changes an explanation but never the behaviour.
"""

import re

_NOT_ALLOWED = re.compile(
    r"(?:User: (?P<who>arn:\S+) )?is not authorized to perform: (?P<action>[a-z0-9-]+:[A-Za-z]+)"
    r"(?: on resource: (?P<resource>arn:[^\s]*[^\s.,]))?"
)
_PROFILE = re.compile(r"(us|eu|apac|global|jp|au|ca|us-gov)\.")
_GEOGRAPHIES = {"us": "us", "eu": "eu", "ap": "apac", "ca": "us"}

_MODEL_SENTENCES = (
    (
        "aws-marketplace",
        (
            "the account has not subscribed to {model}: let an identity with aws-marketplace:Subscribe and"
            " aws-marketplace:ViewSubscriptions call it once in {region}"
        ),
    ),
    (
        "use case details",
        (
            "the provider of {model} needs the account's use case first: fill in the form in the"
            " Bedrock console, model catalog, {region}"
        ),
    ),
    (
        "access to the model",
        (
            "the account has no access to {model} in {region}: enable it in the Bedrock console of that"
            " region, or set `model` to one that is enabled"
        ),
    ),
    (
        "on-demand throughput",
        (
            "{model} can be called only through an inference profile in {region}: set `model` to one, such as"
            " {profile}"
        ),
    ),
    (
        "end of its life",
        "{model} has been withdrawn in {region}: set `model` to its successor",
    ),
    (
        "model identifier",
        "Bedrock knows no model {model} in {region}: check `model` and the region",
    ),
)
"""Sentences by AWS's message; the first pattern that matches is used."""

_KEY_SENTENCES = (
    ("api key", "Bedrock does not accept the API key: renew AWS_BEARER_TOKEN_BEDROCK, or unset it"),
    (
        "bearer token",
        "Bedrock does not accept the API key: renew AWS_BEARER_TOKEN_BEDROCK, or unset it",
    ),
    (
        "expired",
        "the AWS credentials have expired: renew them (`aws sso login`, a new session token)",
    ),
    (
        "signature",
        "AWS does not accept the signature: check the secret key, and this machine's clock",
    ),
    ("token", "AWS does not know the access key or its session token: check the AWS credentials"),
)

QUOTAS = (
    ("tokens per day", r"tokens? per day|daily", "limits.tokens_per_minute"),
    ("requests per minute", r"too many requests|request rate", "limits.requests_per_minute"),
    ("tokens per minute", r"too many tokens|tokens per minute", "limits.tokens_per_minute"),
)
"""Quotas by the words of a refusal, and the setting that limits our use of each."""


def quota_of(message: str) -> tuple[str, str]:
    """The name of the quota that the message mentions first, and the name of its setting."""
    for name, pattern, setting in QUOTAS:
        if re.search(pattern, message, re.IGNORECASE):
            return name, setting
    return "requests or tokens per minute", "limits.tokens_per_minute"


def throttled(message: str, model: str, region: str) -> str:
    """The sentence for a quota without room now."""
    name, setting = quota_of(message)
    return (
        f"the quota of {name} for {model} in {region} has no room now: raise it in Service Quotas, or set"
        f" `{setting}` to what it is"
    )


def used_up(model: str, region: str) -> str:
    """The sentence for a daily quota that is used up."""
    return (
        f"the quota of tokens per day for {model} in {region} is used up: wait until it is renewed, raise"
        " it in Service Quotas, or set `failover.regions`"
    )


def unidentified(said: str) -> str:
    """The sentence for credentials that are not accepted. said: code and message."""
    found = (sentence for word, sentence in _KEY_SENTENCES if word in said.lower())
    return next(found, "AWS does not accept the credentials: renew them, and check the clock")


def forbidden(message: str, model: str, region: str) -> str:
    """The sentence for a call that is not allowed: by a policy, or because the model is not enabled."""
    denied = _NOT_ALLOWED.search(message)
    if denied is None or "aws-marketplace" in message:
        return of_model(message, model, region) or (
            f"Bedrock forbids the call: allow bedrock:InvokeModel on {resources(model, region)}, and"
            f" enable the model in {region}"
        )
    who = denied["who"] or "the caller"
    action, resource = denied["action"], denied["resource"]
    if resource is None:
        return f"{who} may not {action}: allow it on {resources(model, region)}"
    if "explicit deny" in message:
        policy = re.search(r"explicit deny in an? ([a-z -]+policy)", message)
        return (
            f"{who} may not {action} on {resource}: remove the explicit deny from the"
            f" {policy[1] if policy else 'policy'} that forbids it"
        )
    return (
        f"{who} may not {action} on {resource}: allow {action} on {_all(resource, model, region)}"
    )


def of_model(message: str, model: str, region: str) -> str | None:
    """The sentence for a problem of the model, if the message names one."""
    for words, sentence in _MODEL_SENTENCES:
        if words in message.lower():
            return sentence.format(model=model, region=region, profile=_profile(model, region))
    return None


def resources(model: str, region: str) -> str:
    """The resources that an IAM policy must name for this model, in words."""
    if model.startswith("arn:"):
        return model
    if _PROFILE.match(model):
        return (
            f"arn:aws:bedrock:{region}:<account>:inference-profile/{model} and"
            f" {_behind_profile(model)}"
        )
    return f"arn:aws:bedrock:{region}::foundation-model/{model}"


def _all(resource: str, model: str, region: str) -> str:
    """The refused resource, and the other resources that the same call needs."""
    name = resource.rpartition("/")[2]
    if ":inference-profile/" in resource and _PROFILE.match(name):
        return f"it and on {_behind_profile(name)}"
    if _PROFILE.match(model) and ":foundation-model/" in resource:
        return resources(model, region)
    return "it"


def _behind_profile(profile: str) -> str:
    return f"arn:aws:bedrock:*::foundation-model/{profile.partition('.')[2]}"


def _profile(model: str, region: str) -> str:
    return f"{_GEOGRAPHIES.get(region.partition('-')[0], 'global')}.{model}"

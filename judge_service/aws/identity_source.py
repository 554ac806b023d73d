"""Chooses the source of AWS credentials and region. The first of these that is present is used:

a profile named in the settings                 an aioboto3 session of that profile
AWS_BEARER_TOKEN_BEDROCK in the environment     a Bedrock API key, sent as it is; for Bedrock only
AWS_ACCESS_KEY_ID and its companions            read without importing boto (Lambda starts faster)
AWS_CONTAINER_CREDENTIALS_..._URI               asked for over HTTP, also without boto
anything else                                   an aioboto3 session: profile, SSO, web identity,
instance role, refreshed by the session
"""

from collections.abc import Mapping

from judge_service.aws.credentials import (
    CONTAINER_VARIABLES,
    Environment,
    IdentitySource,
    Service,
    Session,
    identity_in,
    region_in,
)


def identity_source(
    environ: Mapping[str, str],
    *,
    profile: str | None = None,
    region: str | None = None,
    service: Service = "bedrock",
) -> IdentitySource:
    """Chooses the source. It imports nothing heavy and reads only `environ`.

    service: the service to call; also the section of the settings that errors name.
    """
    region = region or region_in(environ)
    if not profile and identity_in(environ, service) is not None:
        return Environment(environ, region, service)
    profile = profile or environ.get("AWS_PROFILE")
    if not profile and any(name in environ for name in CONTAINER_VARIABLES):
        from judge_service.aws.container_credentials import Container  # noqa: PLC0415 - only what is used

        return Container(environ, region, service)
    return Session(profile, region, service)

"""Reads the configuration from files, S3 or Parameter Store, and renews it while the judge runs.

The function and the service open their judge through a `Renewal`:

    places = Places(environ)
    renewal = Renewal(partial(read_configuration, place, environ, places), open_judge, ttl_s=60.0)
    async with renewal.use() as judge: ...

`place` is a path, `s3://bucket/key` or `ssm:/parameter/name`; a rubric can lie there too.
"""

from judge_service.configuration.places import Places
from judge_service.configuration.reading import Configured, read_configuration, ttl_s
from judge_service.configuration.renewal import Renewal, RenewalStatistics

__all__ = [
    "Configured",
    "Places",
    "Renewal",
    "RenewalStatistics",
    "read_configuration",
    "ttl_s",
]

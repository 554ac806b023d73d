"""Fuzzes the service with cases from its OpenAPI document: no 5xx except refusals, no undocumented status.

python loadtest/fuzz_api.py            # 2,000 cases or more, valid and invalid, against `judge serve`
"""

import sys
import tempfile
from collections import Counter
from contextlib import suppress

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from measuring import at_least, at_most, report, say, sizes
from msgspec import Struct
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import service

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
REFUSAL = 503
"""The only allowed 5xx: the service is full, or could not judge a batch."""


class Found(Struct):
    """The results of the cases. problems: each once, in the words of the check that found it."""

    cases: int
    statuses: Counter[int]
    problems: list[str]


def fuzz(url: str, cases_each: int) -> Found:
    """Sends `cases_each` valid and as many invalid cases for each operation."""
    document = schemathesis.openapi.from_url(f"{url}/openapi.json")
    found = Found(0, Counter(), [])
    for result in document.get_all_operations():
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _fuzz_operation(url, result.ok(), mode, cases_each, found)
    return found


def _fuzz_operation(
    url: str,
    operation: schemathesis.APIOperation,
    mode: GenerationMode,
    cases: int,
    found: Found,
) -> None:
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        answer = case.call(base_url=url, timeout=20)
        found.cases += 1
        found.statuses[answer.status_code] += 1
        if answer.status_code >= 500 and answer.status_code != REFUSAL:
            _note(found, f"{operation.label}: {answer.status_code}")
        try:
            case.validate_response(answer, checks=CHECKS)
        except BaseExceptionGroup as failures:
            for failure in failures.exceptions:
                _note(found, f"{operation.label}: {failure}")

    with suppress(Unsatisfiable):  # an operation without parameters has no invalid input
        send()


def _note(found: Found, problem: str) -> None:
    if problem not in found.problems:
        found.problems.append(problem)


def main() -> int:
    options = sizes(__doc__, cases_each=(130, 5))
    say("sending cases to the embedded judge")
    with (
        tempfile.TemporaryDirectory() as jobs,
        service(logs_enabled="false", service_jobs_dir=jobs) as served,
    ):
        found = fuzz(served.url, int(options.cases_each))
    for problem in found.problems:
        print(problem)
    report(
        "fuzz_api",
        [
            at_least("cases", found.cases, 2000),
            at_most("problems: a 5xx, or what is not documented", len(found.problems), 0),
        ],
        {"statuses": {str(status): count for status, count in sorted(found.statuses.items())}},
        smoke=options.smoke,
    )
    return len(found.problems)


if __name__ == "__main__":
    sys.exit(main())

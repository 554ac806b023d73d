"""A small share of `loadtest/fuzz_api.py`, which sends two thousand cases."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.process.test_start import SERVE, started

LOADTEST = Path(__file__).parent.parent.parent / "loadtest"


@pytest.fixture
def fuzz_api(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(LOADTEST))
    import fuzz_api

    yield fuzz_api
    for name in ("fuzz_api", "serving", "measuring"):
        sys.modules.pop(name, None)


@pytest.mark.filterwarnings("ignore::Warning:schemathesis")
def test_no_case_made_from_the_document_meets_a_5xx_or_an_undocumented_status(
    fuzz_api: Any,
) -> None:
    with started(SERVE) as service:
        found = fuzz_api.fuzz(f"http://127.0.0.1:{service.port}", 3)

    assert found.cases >= 24
    assert {200, 400} <= found.statuses.keys()
    assert found.problems == []

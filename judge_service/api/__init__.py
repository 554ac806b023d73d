"""The HTTP service: one FastAPI application over one open judge. Served by `judge serve`.

Routes are thin: read a bounded body, be admitted, ask the judge, encode. `docs/service.md` is the
operator's page, `/openapi.json` the caller's.
"""

from judge_service.api.app import create_app

__all__ = ["create_app"]

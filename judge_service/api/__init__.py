"""The HTTP service: one FastAPI application with one open judge. Started by `judge serve`.

A route reads a body of limited size, admits the request, calls the judge and encodes the reply.
`docs/service.md` is for operators, `/openapi.json` for callers.
"""

from judge_service.api.app import create_app

__all__ = ["create_app"]

"""The dashboard: one page that loads nothing from other hosts, and the numbers that it requests each second.

`app.state.workers` (`telemetry.workers.Workers`) has the numbers; several pages share one reading.
"""

import asyncio
import base64
import hashlib
import re
import time
from functools import cache
from importlib.resources import files

import msgspec
from fastapi import Request
from starlette.responses import Response

from judge_service.api.routes.plain import plain_router
from judge_service.telemetry.overview import overview
from judge_service.telemetry.workers import Workers

ROUTER = plain_router("dashboard")

FRESH_S = 0.5
"""Pages that ask within this time get the same numbers, seconds, so that many pages cost no more than one."""

INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


class Panel:
    """The latest numbers of `workers`, as JSON."""

    def __init__(self, workers: Workers, *, sees_all: bool) -> None:
        self._workers = workers
        self._sees_all = sees_all
        self._looking = asyncio.Lock()
        self._latest = b""
        self._looked_at_s = 0.0

    def __repr__(self) -> str:
        return f"<Panel of {self._workers!r}>"

    async def latest(self) -> bytes:
        """The numbers, at most `FRESH_S` old."""
        async with self._looking:
            if not self._latest or time.monotonic() - self._looked_at_s > FRESH_S:
                snapshots = await self._workers.snapshots()
                view = await asyncio.to_thread(overview, snapshots, sees_all=self._sees_all)
                self._latest = msgspec.json.encode(view)
                self._looked_at_s = time.monotonic()
            return self._latest


@ROUTER.get("/dashboard", include_in_schema=False)
async def dashboard(_request: Request) -> Response:
    """The page. Its security policy allows its script and style by their hashes, and nothing else."""
    page, policy = await asyncio.to_thread(_page)
    headers = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }
    return Response(page, media_type="text/html", headers=headers)


@ROUTER.get("/dashboard/data", include_in_schema=False)
async def data(request: Request) -> Response:
    """The overview of all workers' numbers, by `telemetry.overview`."""
    panel: Panel = request.app.state.panel
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(await panel.latest(), media_type="application/json", headers=headers)


@cache
def _page() -> tuple[bytes, str]:
    """The page and its content security policy."""
    text = (files("judge_service.api") / "dashboard.html").read_text("utf-8")
    allowed = {kind: _hash(content) for kind, content in INLINE.findall(text)}
    policy = (
        f"default-src 'none'; script-src '{allowed['script']}'; style-src '{allowed['style']}';"
        " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )
    return text.encode(), policy


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"

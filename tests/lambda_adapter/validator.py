"""The events that callers send, and what AWS's published validators ask of a reply to them.

Both are re-stated by us; where AWS's own rules are lax (NaN, booleans, ids), ours are stricter.
"""

import json
import math
from pathlib import Path
from typing import Any

EVENTS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "data" / "lambda" / "events.json").read_text("utf-8")
)
"""Every caller's events by name."""

WRAPPERS = ("batch", "input", "trajectories")
CRASH_KEYS = {"errorMessage", "errorType"}
"""The validators take a payload with one of these for a function that crashed."""


def assert_valid(event: Any, reply: Any) -> None:
    """Fails unless `reply` answers every row of `event`, in order, in the form the caller reads."""
    rows, items = rows_of(event), items_of(event, reply)
    assert len(items) == len(rows)
    for row, item in zip(rows, items, strict=True):
        assert isinstance(item, dict)
        assert "id" in item
        assert (type(item["id"]), item["id"]) == (type(row.get("id")), row.get("id"))
        assert is_number(item["aggregate_reward_score"])
        assert not CRASH_KEYS & item.keys()
        metrics = item.get("metrics_list")
        assert metrics is None or isinstance(metrics, list)
        for metric in metrics or ():
            assert_metric(metric)


def assert_metric(metric: Any) -> None:
    assert isinstance(metric, dict)
    assert isinstance(metric["name"], str)
    assert is_number(metric["value"])
    assert metric["type"] in ("Metric", "Reward")


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def items_of(event: Any, reply: Any) -> list[dict[str, Any]]:
    """The reply's items, after a look at its form: as the caller called."""
    if not is_http(event):
        assert isinstance(reply, list)
        return reply
    assert isinstance(reply, dict)
    assert not CRASH_KEYS & reply.keys()
    assert type(reply["statusCode"]) is int
    assert reply["statusCode"] == 200
    assert isinstance(reply["body"], str)
    items = json.loads(reply["body"])
    assert isinstance(items, list)
    return items


def rows_of(event: Any) -> list[Any]:
    """What the caller asks to be graded."""
    if isinstance(event, list):
        return event
    if is_http(event):
        body = event["body"]
        return rows_of(json.loads(body) if isinstance(body, str) else body)
    return next((event[key] for key in WRAPPERS if key in event), [event])


def is_http(event: Any) -> bool:
    return isinstance(event, dict) and "body" in event

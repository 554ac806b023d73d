"""Converts bytes and JSON to values and back. Only this package knows the field names of trainers.

In: `read_json`, `decode_event` (a batch in any dialect), `decode_row` (one row).
Between: `ReplyPolicy` makes answers of rewards, so that every row gets one finite number.
Out: `encode_reply`, `encode_item`, `encode_error`, `dump_json`.

`docs/contracts.md` describes the dialects, the order in which a reference answer is searched, and the forms
of replies.
"""

from judge_service.wire.events import (
    Batch,
    Envelope,
    decode_event,
    is_http_event,
    is_wrapped,
)
from judge_service.wire.jsontext import dump_json, read_json
from judge_service.wire.replies import Answer, Metric, encode_error, encode_item, encode_reply
from judge_service.wire.reply_policy import Late, ReplyPolicy, ReplyPolicyStatistics
from judge_service.wire.rows import decode_row
from judge_service.wire.size import refuse_larger
from judge_service.wire.unread import explain_missing_task, explain_unread

__all__ = [
    "Answer",
    "Batch",
    "Envelope",
    "Late",
    "Metric",
    "ReplyPolicy",
    "ReplyPolicyStatistics",
    "decode_event",
    "decode_row",
    "dump_json",
    "encode_error",
    "encode_item",
    "encode_reply",
    "explain_missing_task",
    "explain_unread",
    "is_http_event",
    "is_wrapped",
    "read_json",
    "refuse_larger",
]

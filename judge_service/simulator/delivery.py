"""Sends a reply, whole or broken."""

import asyncio
from collections.abc import Callable

from judge_service.simulator.faults import ON_THE_WIRE
from judge_service.simulator.protocol import Connection, head

HTML = b"<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"
HEADLESS = frozenset({"reset", "hang"})
"""Faults whose reply has no status line."""


class Delivery:
    """Sends one reply. `status` is the status that the client can read, 0 for none."""

    def __init__(
        self, connection: Connection, headers: str, date_s: float, slow_byte_s: float
    ) -> None:
        self._connection = connection
        self._headers = headers
        self._date_s = date_s
        self._slow_byte_s = slow_byte_s

    def send(self, status: int, body: bytes) -> None:
        """Sends the reply whole."""
        self._connection.end(self._head(status, len(body)) + body)

    def send_broken(self, fault: str, body: bytes, on_gone: Callable[[], None]) -> None:
        """Sends the reply (status 200) with a fault of the wire.

        on_gone: called when the client disconnects, for the faults that wait for that (see `holds`).
        """
        connection, whole = self._connection, self._head(200, len(body))
        half = len(body) // 2
        if fault == "reset":
            connection.reset()
        elif fault == "reset_body":
            connection.reset(whole + body[:half])
        elif fault == "half_body":
            connection.end_and_close(whole + body[:half])
        elif fault == "short_length":
            connection.end(self._head(200, half) + body)
        elif fault == "bad_chunks":
            chunked = whole.replace(
                b"content-length: %d" % len(body), b"transfer-encoding: chunked"
            )
            connection.end_and_close(chunked + b"banana\r\n" + body + b"\r\n0\r\n\r\n")
        elif fault == "slow_body":
            self._trickle(whole, body, on_gone)
        elif holds(fault):
            connection.hold(whole if fault == "headers_only" else b"", on_gone)
        else:
            self.send(200, self._replaced(fault, body))

    def _replaced(self, fault: str, body: bytes) -> bytes:
        return {"html": HTML, "empty_body": b"", "malformed_json": body[: len(body) // 2]}[fault]

    def _trickle(self, whole: bytes, body: bytes, on_gone: Callable[[], None]) -> None:
        loop, connection = asyncio.get_running_loop(), self._connection
        left = iter(body)
        timer: asyncio.Handle

        def send_one() -> None:
            nonlocal timer
            byte = next(left, None)
            if byte is None:
                on_gone()
                connection.release()
            else:
                connection.send_more(bytes((byte,)))
                timer = loop.call_later(self._slow_byte_s, send_one)

        def stop() -> None:
            timer.cancel()
            on_gone()

        timer = loop.call_soon(send_one)
        connection.hold(whole, stop)

    def _head(self, status: int, body_bytes: int) -> bytes:
        return head(status, body_bytes, self._headers, self._date_s)


def holds(fault: str | None) -> bool:
    """Whether the fault keeps the call in flight until the client disconnects or has read everything."""
    return fault in ("hang", "headers_only", "slow_body")


def breaks_the_wire(fault: str | None) -> bool:
    """Whether the fault acts on the reply's bytes."""
    return fault in ON_THE_WIRE

"""Asking a busy or restarting server again: with growing pauses, as it asks for, and never for ever."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from typing import Any

from bench.errors import MissingError
from bench.models.endpoint_http import MOST_ANSWER, Client, Reply, UnreachableError
from bench.runtime.log import ONCE, get_logger

logger = get_logger(__name__)

TRIES, SLOW_TRIES = 8, 2
"""The second where no whole answer came in time."""
FIRST_WAIT, MOST_WAIT = 1.0, 120.0
"""Seconds before the second try, doubled before each further one, and the most that a server may ask for."""
_BUSY = frozenset({429, 502, 503, 504})
_KEPT = "What is finished is kept: run the same command again."


def asked(
    client: Client, method: str, path: str, payload: Mapping[str, Any] | None = None, most: int = MOST_ANSWER
) -> Reply:
    """The server's answer, once it is not busy. Raises MissingError when it is still busy, or silent, at the last try.

    HTTP 429, 502, 503 and 504, and answers that did not come whole, are asked for again. A `Retry-After` (seconds or a
    date) is waited for, at most `MOST_WAIT` seconds.
    """
    why, slow = "", 0
    for attempt in range(TRIES):
        wait = min(FIRST_WAIT * 2**attempt, MOST_WAIT)
        try:
            reply = client.request(method, path, payload, most)
        except UnreachableError as error:
            why, slow = str(error), slow + error.slow
        else:
            if reply.status not in _BUSY:
                return reply
            why = f"HTTP {reply.status}"
            wait = _retry_after(reply, wait)
        if client.stopped.is_set() or slow == SLOW_TRIES:
            break
        if wait > MOST_WAIT:
            raise MissingError(f"the endpoint {client.url} asks to wait {wait:,.0f} s ({why}). {_KEPT}")
        if attempt + 1 < TRIES:
            logger.warning(f"the endpoint {client.url} is not ready ({why}): asking again", extra=ONCE)
            client.stopped.wait(wait)
    raise MissingError(f"the endpoint {client.url} does not answer, after {attempt + 1} tries: {why}. {_KEPT}")


def _retry_after(reply: Reply, otherwise: float) -> float:
    """The seconds that a `Retry-After` asks for."""
    text = reply.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text[:12])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time()) if text else otherwise
    except (ValueError, TypeError, OverflowError):
        return otherwise

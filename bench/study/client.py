"""A rater's requests without a browser, over the server's public routes: what simulated raters and load tests use."""

from __future__ import annotations

import http.client
import json
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_TOKEN = re.compile(r'<meta name="study-token" content="([^"]+)">')
_PATIENCE = 8
"""Times that a request is sent again after "too many requests" or a lost connection."""


class ClientError(Exception):
    """The server refused: `status`, and its sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(f"{status}: {sentence}")
        self.status = status


@dataclass
class RaterClient:
    """One rater's link, kept open as a browser does. Not for use by several threads."""

    link: str
    timeout: float = 30.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.link)
        self._host, self._base = parts.netloc, parts.path
        self._connection: http.client.HTTPConnection | None = None
        self._token = ""

    def open(self) -> None:
        """Load the page, which carries the token that every answer needs. ClientError when there is none."""
        text = self._request("GET", "").decode("utf-8")
        if (match := _TOKEN.search(text)) is None:
            raise ClientError(200, "the page has no token")
        self._token = match[1]

    def state(self) -> dict[str, Any]:
        """What is to be shown next."""
        return dict(json.loads(self._request("GET", "/state")))

    def consent(self) -> dict[str, Any]:
        """Agree to take part; returns the state."""
        return dict(json.loads(self._request("POST", "/consent", {})))

    def picture(self, handle: str) -> bytes:
        """A picture's file."""
        return self._request("GET", f"/picture/{handle}")

    def vote(self, item: str, choice: str, seconds: float | None = None) -> dict[str, Any]:
        """Answer; returns whether it was stored, and the state."""
        return dict(json.loads(self._request("POST", "/vote", {"item": item, "choice": choice, "seconds": seconds})))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        headers = {"X-Study-Token": self._token, "Content-Type": "application/json"} if body is not None else {}
        data = None if body is None else json.dumps(body).encode()
        for attempt in range(1, _PATIENCE + 1):
            try:
                if self._connection is None:
                    self._connection = http.client.HTTPConnection(self._host, timeout=self.timeout)
                self._connection.request(method, f"{self._base}{path}", data, headers)
                response = self._connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException):
                self.close()  # idle for long, or the server starts again: a vote may be sent twice, and counts once
                if attempt == _PATIENCE:
                    raise
                time.sleep(0.05 * attempt)
                continue
            if response.status == 429 and attempt < _PATIENCE:
                time.sleep(float(response.headers.get("Retry-After") or 1))
                continue
            if response.status >= 400:
                raise ClientError(response.status, _sentence(content))
            return content
        raise AssertionError("not reached")


def _sentence(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode("utf-8", "replace")

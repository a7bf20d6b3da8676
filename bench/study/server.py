"""The study's web server: a rater's page, its requests, and the progress page, as a Starlette application."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bench.study import page
from bench.study.keys import same
from bench.study.limits import Bucket
from bench.study.sessions import RefusedError, Sessions
from bench.study.store import NotStoredError

BODY_LIMIT = 4096
"""Bytes of a request's body at most; an answer has about 80."""
BODY_SECONDS = 20.0
"""How long a body may take to come."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "X-Robots-Tag": "noindex, nofollow",
}
TOO_MANY = "Too many requests: please wait a moment and try again."
Endpoint = Callable[[Request], Awaitable[Response]]


class Guarded:
    """Adds the security headers to every response, also to those of errors."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                if not any(name == b"cache-control" for name, _ in message["headers"]):
                    message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class Application:
    """The routes of one study. One link may ask `rate` a second (120 at once); wrong links: 30, then one in 2 s.

    `url` is the address that raters reach the server by; None: the one that each request was sent to.
    """

    def __init__(self, sessions: Sessions, rate: float = 20.0, url: str | None = None) -> None:
        self.sessions, self.url = sessions, url
        self.requests = Bucket(rate, 120.0)
        self.misses = Bucket(0.5, 30.0)

    def build(self) -> ASGIApp:
        """The ASGI application."""
        answer, shown = self._guard(self._vote), self._guard(self._page, html=True)
        routes = [
            Route("/r/{token}", shown, methods=["GET"]),
            Route("/r/{token}/", shown, methods=["GET"]),  # as some mail programs make of it
            Route("/r/{token}/state", self._guard(self._state), methods=["GET"]),
            Route("/r/{token}/consent", self._guard(self._consent), methods=["POST"]),
            Route("/r/{token}/vote", answer, methods=["POST"]),
            Route("/r/{token}/picture/{handle}", self._guard(self._picture), methods=["GET"]),
            Route("/admin/{token}", self._guard(self._admin, html=True), methods=["GET"]),
            Route("/favicon.ico", _no_icon, methods=["GET"]),
            Route("/study.css", _asset("study.css", "text/css"), methods=["GET"]),
            Route("/study.js", _asset("study.js", "text/javascript"), methods=["GET"]),
        ]
        app = Starlette(routes=routes, exception_handlers={404: _nothing, 405: _nothing, Exception: _fault})
        app.router.redirect_slashes = False  # it would name the address that a server before this one asked for
        return Guarded(app)

    def _guard(self, endpoint: Endpoint, html: bool = False) -> Endpoint:
        """The endpoint with its refusals as responses, and the limit on wrong links."""

        async def run(request: Request) -> Response:
            try:
                return await endpoint(request)
            except RefusedError as refused:
                if refused.status == 404 and (wait := self.misses.wait(_address(request))) > 0:
                    return _refusal(429, TOO_MANY, html, wait)
                return _refusal(refused.status, str(refused), html)
            except NotStoredError:
                return _refusal(507, page.NOT_STORED, html, 5.0)

        return run

    async def _rater(self, request: Request) -> str:
        rater = await run_in_threadpool(self.sessions.rater, request.path_params["token"])
        if self.requests.wait(rater) > 0:
            raise RefusedError(429, TOO_MANY)
        return rater

    async def _page(self, request: Request) -> Response:
        rater = await self._rater(request)
        token = request.path_params["token"]
        return HTMLResponse(page.rater_page(self.sessions.study, f"/r/{token}", self.sessions.keys.csrf(rater)))

    async def _state(self, request: Request) -> Response:
        rater = await self._rater(request)
        return JSONResponse(await run_in_threadpool(self.sessions.state, rater))

    async def _consent(self, request: Request) -> Response:
        rater = await self._rater(request)
        await self._body(request, rater)
        await run_in_threadpool(self.sessions.consent, rater)
        return JSONResponse(await run_in_threadpool(self.sessions.state, rater))

    async def _vote(self, request: Request) -> Response:
        rater = await self._rater(request)
        body = await self._body(request, rater)
        stored = await run_in_threadpool(self.sessions.answer, rater, body)
        state = await run_in_threadpool(self.sessions.state, rater)
        return JSONResponse({"stored": stored, "state": state})

    async def _picture(self, request: Request) -> Response:
        rater = await self._rater(request)
        path = await run_in_threadpool(self.sessions.picture, rater, request.path_params["handle"])
        try:
            data = await run_in_threadpool(path.read_bytes)
        except OSError:
            raise RefusedError(503, "This picture cannot be read at the moment") from None
        return Response(data, media_type="image/png", headers={"Cache-Control": "private, max-age=86400, immutable"})

    async def _admin(self, request: Request) -> Response:
        if not self.sessions.keys.is_admin(request.path_params["token"]):
            raise RefusedError(404, "This link belongs to no study")
        text = await run_in_threadpool(page.admin_page, self.sessions, self.url or str(request.base_url).rstrip("/"))
        return HTMLResponse(text)

    async def _body(self, request: Request, rater: str) -> dict[str, Any]:
        """The JSON object that a rater's own page sent. RefusedError for any other sender, size or content."""
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site", "same-origin")
        if site not in ("same-origin", "none") or (origin and not self._own(origin, request)):
            raise RefusedError(403, "This request does not come from the study's own page")
        if not same(request.headers.get("x-study-token", ""), self.sessions.keys.csrf(rater)):
            raise RefusedError(403, "This page is out of date: please load it again")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RefusedError(415, "Answers are sent as JSON")
        try:
            body = json.loads(await _data(request))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise RefusedError(400, "This is no answer: a JSON object is needed")
        return body

    def _own(self, origin: str, request: Request) -> bool:
        """Whether a page of this server sent the request; a server before it may have replaced the Host header."""
        own = {request.headers.get("host"), urlsplit(self.url).netloc if self.url else None}
        return urlsplit(origin).netloc in own


async def _data(request: Request) -> bytes:
    """A request's body. RefusedError for one that is too long, too slow or not complete."""
    data = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                data += chunk
                if len(data) > BODY_LIMIT:
                    raise RefusedError(413, f"A request may have {BODY_LIMIT} bytes at most")
    except ClientDisconnect:
        raise RefusedError(400, "The request was not complete") from None
    except TimeoutError:
        raise RefusedError(408, "The request took too long: please try again") from None
    return data


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _refusal(status: int, sentence: str, html: bool, wait: float = 1.0) -> Response:
    sentence = sentence if sentence.endswith((".", "?")) else f"{sentence}."  # on a page every sentence has its stop
    headers = {"Retry-After": str(math.ceil(wait))} if status in (429, 503, 507) else None
    if html:
        return HTMLResponse(page.message_page(sentence), status, headers)
    return JSONResponse({"error": sentence}, status, headers)


async def _nothing(request: Request, error: Exception) -> Response:
    return _refusal(getattr(error, "status_code", 404), "There is nothing here.", html=True)


async def _fault(request: Request, error: Exception) -> Response:
    return _refusal(500, "The server has a fault: your answers so far are stored, please try again later.", html=False)


async def _no_icon(request: Request) -> Response:
    return Response(status_code=204, headers={"Cache-Control": "max-age=86400"})


def _asset(name: str, kind: str) -> Endpoint:
    async def send(request: Request) -> Response:
        return Response(_read(name), media_type=kind, headers={"Cache-Control": "no-cache"})

    return send


@cache
def _read(name: str) -> str:
    return (files("bench.study") / "assets" / name).read_text(encoding="utf-8")

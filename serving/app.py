"""The HTTP service: routes with their scopes, default deny, and errors in three parts."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from features.errors import InputError
from serving import console, endpoints
from serving.explanation import Explanation
from serving.keys import key_ring
from serving.ledger import LedgerError
from serving.messages import (
    Consents,
    CustomerView,
    DecisionAnswer,
    DecisionRequest,
    Erased,
    Events,
    Failure,
    Outcomes,
    Problem,
    Reloaded,
    Status,
    Taken,
)
from serving.service import Busy
from serving.web import HttpError, Route, Site, json

_RING_SECONDS = 5.0
_log = logging.getLogger("rapport.serving")

ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/decisions", "decide", endpoints.post_decision, DecisionRequest, DecisionAnswer),
    Route("GET", "/v1/decisions/{decision_id}", "read", endpoints.get_decision, None, Explanation),
    Route("POST", "/v1/events", "ingest", endpoints.post_events, Events, Taken),
    Route("POST", "/v1/outcomes", "ingest", endpoints.post_outcomes, Outcomes, Taken),
    Route("POST", "/v1/consents", "ingest", endpoints.post_consents, Consents, Taken),
    Route("GET", "/v1/customers/{customer_id}", "read", endpoints.get_customer, None, CustomerView),
    Route("DELETE", "/v1/customers/{customer_id}", "admin", endpoints.delete_customer, None, Erased),
    Route("POST", "/v1/reload", "admin", endpoints.post_reload, None, Reloaded),
    Route("GET", "/unsubscribe/{token}", "open", console.get_unsubscribe),
    Route("POST", "/unsubscribe/{token}", "open", endpoints.post_unsubscribe, None, Taken),
    Route("GET", "/health", "open", endpoints.get_health, None, Status),
    Route("GET", "/ready", "open", endpoints.get_ready, None, Status),
    Route("GET", "/metrics", "read", endpoints.get_metrics),
    Route("GET", "/docs", "read", console.get_docs),
    Route("GET", "/openapi.json", "read", console.get_openapi),
    Route("GET", "/console", "read", console.get_console),
    Route("GET", "/console/decisions/{decision_id}", "read", console.get_console_decision),
)


def create_app(site: Site) -> Starlette:
    """The ASGI application of a site."""
    site.routes = ROUTES
    handlers: dict[Any, Callable[..., Awaitable[Response]]] = {HTTPException: _not_routed(site)}
    return Starlette(
        routes=[StarletteRoute(each.path, _endpoint(site, each), methods=[each.method]) for each in ROUTES],
        exception_handlers=handlers,
    )


def _endpoint(site: Site, route: Route) -> Callable[[Request], Awaitable[Response]]:
    async def call(request: Request) -> Response:
        begun = time.perf_counter()
        try:
            if route.scope != "open":
                await _authorize(site, request, route.scope)
            response = await route.handle(site, request)
        except Exception as error:  # clients never see a traceback
            response = _failure(error)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        site.metrics.requests.labels(route.path, str(response.status_code)).inc()
        site.metrics.seconds.labels(route.path).observe(time.perf_counter() - begun)
        return response

    return call


def _not_routed(site: Site) -> Callable[[Request, HTTPException], Awaitable[Response]]:
    async def answer(request: Request, error: HTTPException) -> Response:
        try:
            await _authorize(site, request, None)
        except HttpError as refused:
            return _failure(refused)
        code = {404: "no_such_route", 405: "method_not_allowed"}.get(error.status_code, "refused")
        got = f"{request.method} {request.url.path}"[:200]
        return _failure(HttpError(error.status_code, code, "there is no such route", got=got, do="see /docs"))

    return answer


async def _authorize(site: Site, request: Request, scope: str | None) -> None:
    """Raise unless the request's key is valid and has ``scope``; None asks for any valid key."""
    key = _key(request)
    if time.monotonic() - site.ring_read_at > _RING_SECONDS:
        try:
            site.ring = await site.read(key_ring)
        except LedgerError:
            # The keys read last go on to count, so that whoever asks for a decision is told "nothing".
            if not len(site.ring):
                raise
        site.ring_read_at = time.monotonic()
    scopes = site.ring.scopes(key)
    if not scopes:
        raise HttpError(
            401,
            "no_valid_key",
            "the request has no valid key",
            got="none" if not key else "an unknown or revoked one",
            do="send Authorization: Bearer KEY; make one with rapport serve --new-key SCOPES",
        )
    if scope is not None and scope not in scopes:
        raise HttpError(
            403,
            "scope_missing",
            f"the key may not {scope}",
            got=f"scopes {', '.join(sorted(scopes))}",
            do=f"use a key with the scope {scope}",
        )


def _key(request: Request) -> str:
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    # Browsers ask for a password by themselves; for looking only, so that no other site's form can use it.
    if kind.lower() == "basic" and request.method in ("GET", "HEAD"):
        try:
            return base64.b64decode(value).decode().partition(":")[2]
        except ValueError:
            return ""
    return ""


def _failure(error: Exception) -> Response:
    match error:
        case HttpError():
            status, code, parts = error.status, error.code, error.parts
        case InputError():
            status, code, parts = 400, "bad_request", error
        case Busy():
            parts = InputError("too many requests are waiting", got="a full queue", do="try again in a second")
            status, code = 503, "overloaded"
        case LedgerError():
            parts = InputError("the ledger is out of reach", got=type(error).__name__, do="try again later")
            status, code = 503, "ledger_unavailable"
        case ClientDisconnect():
            parts = InputError("the request ended early", got="a closed connection", do="send it whole")
            status, code = 400, "disconnected"
        case _:
            _log.error("request failed: %s", type(error).__name__)
            parts = InputError("something went wrong here", got="an internal error", do="try again; tell the operator")
            status, code = 500, "internal"
    problem = Problem(code=code, wrong=parts.wrong, got=parts.got, do=parts.do)
    response = json(Failure(error=problem), status=status)
    if status == 503:
        response.headers["Retry-After"] = "1"
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="Rapport: any name, the key as password"'
    return response

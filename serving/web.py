"""What the routes of the service share: the site, its metrics, bodies in and JSON out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.requests import Request
from starlette.responses import Response

from features.errors import InputError
from serving.book import Book
from serving.keys import KeyRing, Scope
from serving.ledger import Ledger, LedgerError, is_busy
from serving.service import Engine, Service

BODY_LIMIT = 1 << 20
_PATIENCE = 5.0  # seconds: a no is worth waiting for
_PAUSE = 0.05
T = TypeVar("T")


class HttpError(Exception):
    """An answer that is not 2xx, with its three parts."""

    def __init__(self, status: int, code: str, wrong: str, *, got: str, do: str) -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code
        self.parts = InputError(wrong, got=got, do=do)


class Metrics:
    """Counters of the service; no label ever holds anything about a customer."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("rapport_requests", "Requests", ["route", "status"], registry=self.registry)
        self.decisions = Counter(
            "rapport_decisions", "Decisions by how they ended", ["source", "reason"], registry=self.registry
        )
        self.seconds = Histogram(
            "rapport_request_seconds",
            "Time to answer",
            ["route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
            registry=self.registry,
        )


@dataclass(kw_only=True)
class Site:
    """What the routes share: the service, its ledger, the valid keys and how to load the model anew.

    ``links``: commands that the console names.
    """

    service: Service
    ledger: Ledger
    reload: Callable[[], Engine]
    ring: KeyRing = field(default_factory=lambda: KeyRing({}))
    ring_read_at: float = float("-inf")
    metrics: Metrics = field(default_factory=Metrics)
    routes: tuple[Route, ...] = ()
    links: tuple[str, ...] = ()

    async def write(self, work: Callable[[Book], T]) -> T:
        """Run ``work`` in a transaction, off the event loop.

        While another process holds the ledger it is tried again, for some seconds; no thread waits meanwhile, so that
        decisions go on being answered.

        Raises
        ------
        LedgerError
            When the ledger can't be written, or stays held.
        """
        give_up = time.monotonic() + _PATIENCE
        while True:
            try:
                return await self.service.in_turn(work)
            except LedgerError as error:
                if not is_busy(error) or time.monotonic() > give_up:
                    raise
            await asyncio.sleep(_PAUSE)

    async def read(self, work: Callable[[Book], T]) -> T:
        """Run ``work`` on one view of the ledger, off the event loop."""

        def run() -> T:
            with self.ledger.reading() as book:
                return work(book)

        return await asyncio.to_thread(run)


Handler = Callable[[Site, Request], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """A route; it can't be made without saying who may call it. What it does is its handler's first line."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    scope: Scope | Literal["open"]
    handle: Handler
    takes: type[Any] | None = None
    gives: type[Any] | None = None

    @property
    def summary(self) -> str:
        """What it does, in a sentence."""
        return (self.handle.__doc__ or "").partition("\n")[0]


def json(content: object, *, status: int = 200) -> Response:
    """``content`` as a JSON answer."""
    return Response(msgspec.json.encode(content), status_code=status, media_type="application/json")


async def body(request: Request, kind: type[T]) -> T:
    """The request's body as ``kind``, its bytes counted while they arrive, whatever the header says.

    Raises
    ------
    HttpError
        400 when it is no such JSON, 413 when it is too long, 415 when it isn't called JSON.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise HttpError(
            415,
            "not_json",
            "the body is not called JSON",
            got=request.headers.get("content-type", "no content type")[:80],
            do="send Content-Type: application/json",
        )
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > BODY_LIMIT:
            raise HttpError(
                413, "too_large", "the body is too large", got=f"more than {BODY_LIMIT} bytes", do="send fewer rows"
            )
    try:
        return msgspec.json.decode(bytes(raw), type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise HttpError(
            400, "bad_request", "the body is not what this route takes", got=str(error)[:300], do="see /docs"
        ) from error

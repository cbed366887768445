"""The console: a few pages without script for people who look after decisions."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from serving import schema
from serving.book import Book
from serving.catalogue import check_id
from serving.explanation import explain, recorded
from serving.keys import read_token
from serving.reasons import Reason
from serving.web import HttpError, Site, json

_LATEST = 50
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
_pages = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_pages.filters["money"] = lambda cents: "" if cents is None else f"{cents / 100:,.2f}"
_pages.filters["percent"] = lambda share: f"{100 * share:.3g}%"


def page(name: str, **content: Any) -> Response:
    """The page ``name`` filled with ``content``, everything escaped."""
    base = _source("base.html")
    template = _pages.from_string(base.replace("<!-- content -->", _source(name)))
    return HTMLResponse(template.render(**content), headers={"Content-Security-Policy": _POLICY})


async def get_console(site: Site, request: Request) -> Response:
    """The latest decisions, how the service is, and where to read on."""

    def look(book: Book) -> dict[str, Any]:
        decisions = [
            {"it": each, "reason": Reason(each.reason), "nothing": each.offer_id is None}
            for each in book.latest(_LATEST)
        ]
        return {"decisions": decisions, "total": book.count(schema.decisions), "events": book.count(schema.events)}

    found = await site.read(look)
    engine = site.service.engine
    return page(
        "console.html",
        title="Decisions",
        trials=engine.desk.trials.sentences_at(site.service.clock()),
        model=engine.desk.model,
        note=site.service.engine.note,
        links=site.links,
        **found,
    )


async def get_console_decision(site: Site, request: Request) -> Response:
    """Why one decision came out so."""
    decision_id = request.path_params["decision_id"]
    check_id("decision_id", decision_id)

    def find(book: Book) -> Any:
        if decision_id not in book.decisions([decision_id]):
            raise HttpError(
                404, "unknown_decision", "there is no such decision", got=decision_id, do="pick one from the console"
            )
        decision, rules, _ = recorded(book, decision_id)
        return explain(decision, rules)

    return page("decision.html", title=f"Decision {decision_id}", it=await site.read(find))


async def get_docs(site: Site, request: Request) -> Response:
    """The routes, for people."""
    return page("docs.html", title="Routes", routes=site.routes)


async def get_openapi(site: Site, request: Request) -> Response:
    """The routes, for machines."""
    from serving.openapi import description

    return json(description(site.routes))


async def get_unsubscribe(site: Site, request: Request) -> Response:
    """A page with a button; looking at it changes nothing, as mail scanners follow every link."""
    known = read_token(request.path_params["token"], secret=site.ledger.secret)
    return page("unsubscribe.html", title="Unsubscribe", link=known, path=request.url.path)


def _source(name: str) -> str:
    return (files("serving") / "pages" / name).read_text(encoding="utf-8")

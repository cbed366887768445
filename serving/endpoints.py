"""What each route of the service does."""

from __future__ import annotations

import asyncio
import hashlib

import duckdb
import msgspec
from prometheus_client import generate_latest
from starlette.requests import Request
from starlette.responses import Response

from features.errors import InputError
from features.identity import Person
from serving import schema
from serving.book import Book
from serving.catalogue import check_id
from serving.decision import Decision
from serving.desk import Conflict, about_contact
from serving.erasures import queue_erasure
from serving.explanation import explain, recorded
from serving.inbox import take_consents, take_events, take_outcomes
from serving.keys import Unsubscription, read_token, sign
from serving.masking import Masking
from serving.messages import (
    ConsentMessage,
    Consents,
    ConsentView,
    ContactView,
    CustomerView,
    DecisionAnswer,
    DecisionRequest,
    Erased,
    Events,
    LinkedView,
    Outcomes,
    PermissionView,
    Reloaded,
    Status,
)
from serving.people import agreed
from serving.reasons import UNRECORDED, Reason
from serving.service import Asked
from serving.web import HttpError, Site, body, json

_LATEST = 50
_ELSEWHERE = (
    "the history and files of the project: the next `rapport ingest`, or `rapport erase --pending`, erases there"
)


async def post_decision(site: Site, request: Request) -> Response:
    """Decide for one customer, now."""
    asked = await body(request, DecisionRequest)
    key = request.headers.get("idempotency-key") or asked.idempotency_key
    if not key or len(key) > 128:
        raise HttpError(
            400,
            "no_idempotency_key",
            "a decision needs an idempotency key",
            got="none" if not key else f"{len(key)} characters",
            do="send the header Idempotency-Key with an id of your own for this contact, at most 128 characters",
        )
    digest = hashlib.sha256(msgspec.json.encode(asked)).hexdigest()
    answer = await site.service.answer(Asked(request=asked, key=key, digest=digest))
    if isinstance(answer, Conflict):
        raise HttpError(
            409,
            "idempotency_conflict",
            "the idempotency key stood for another request",
            got=key,
            do="use a new key for a new request",
        )
    site.metrics.decisions.labels(answer.source, Reason(answer.reason).code).inc()
    return json(_answer(site, answer))


def _answer(site: Site, decision: Decision) -> DecisionAnswer:
    rules = site.service.engine.desk.rules
    treatment = rules.treatment(decision.action)
    reason = Reason(decision.reason)
    link = None
    if decision.channel is not None and decision.contact_class == "marketing":
        link = "/unsubscribe/" + sign(
            Unsubscription(decision.ask.customer_id, decision.channel), secret=site.ledger.secret
        )
    return DecisionAnswer(
        decision_id=decision.decision_id,
        customer_id=decision.ask.customer_id,
        decided_at=decision.ask.moment,
        experiment=decision.experiment,
        arm=decision.arm,
        action=decision.action,
        offer_id=decision.offer_id,
        channel=decision.channel,
        placement=treatment.content.placement if treatment else None,
        title=treatment.offer.title if treatment else "",
        text=treatment.content.text if treatment else "",
        probability=decision.probability,
        source=decision.source,
        degraded=decision.degraded,
        code=reason.code,
        sentence=reason.sentence,
        scenario=decision.scenario,
        contact_cost=decision.contact_cost,
        unsubscribe=link,
        recorded=reason not in UNRECORDED,
    )


async def post_events(site: Site, request: Request) -> Response:
    """Take events in."""
    message = await body(request, Events)
    at = site.service.clock()
    return json(await site.write(lambda book: take_events(book, message.events, at=at)))


async def post_outcomes(site: Site, request: Request) -> Response:
    """Take outcomes of decisions in."""
    message = await body(request, Outcomes)
    at = site.service.clock()
    return json(await site.write(lambda book: take_outcomes(book, message.outcomes, at=at)))


async def post_consents(site: Site, request: Request) -> Response:
    """Take consents and opt-outs in."""
    message = await body(request, Consents)
    at = site.service.clock()
    return json(await site.write(lambda book: take_consents(book, message.consents, at=at)))


async def get_decision(site: Site, request: Request) -> Response:
    """A decision and why it came out so."""
    decision_id = _id(request, "decision_id")

    def find(book: Book) -> object:
        if decision_id not in book.decisions([decision_id]):
            raise _missing("decision", decision_id)
        decision, rules, _ = recorded(book, decision_id)
        return explain(decision, rules)

    return json(await site.read(find))


async def get_customer(site: Site, request: Request) -> Response:
    """What the ledger holds of a customer, and what the accounts linked with theirs permit together."""
    customer_id = _id(request, "customer_id")
    person, mates = await asyncio.to_thread(_person, site, customer_id)
    masking = site.service.engine.desk.masking
    view = await site.read(lambda book: _customer(book, customer_id, person, mates, masking))
    if view is None:
        raise _missing("customer", customer_id)
    return json(view)


def _person(site: Site, customer_id: str) -> tuple[Person, tuple[str, ...]]:
    """The person behind an account, and the accounts of the rest of the household."""
    customers = site.service.customers
    try:
        person = customers.persons([customer_id])[customer_id]
        return person, customers.housemates(person)
    except (InputError, OSError, duckdb.Error) as error:  # to show them as alone would hide whose no stops them
        raise HttpError(
            503,
            "links_unreadable",
            "the links between accounts can't be read",
            got=type(error).__name__,
            do="run `rapport identity resolve`, which makes them anew, and ask again",
        ) from error


def _customer(
    book: Book, customer_id: str, person: Person, mates: tuple[str, ...], masking: Masking | None
) -> CustomerView | None:
    consents = book.consents(customer_id)
    decisions = book.latest(_LATEST, customer_id=customer_id)
    events = book.count(schema.events, customer_id=customer_id)
    said = about_contact(book.said(person.suppressing), masking)
    permissions = book.permissions(person.suppressing, said=said)
    permission = agreed(customer_id, person, permissions)
    alone = len(person.suppressing) == 1 and not mates
    if alone and not consents and not decisions and not events and permission.hold is None:
        return None
    names = ConsentView.__struct_fields__
    return CustomerView(
        customer_id=customer_id,
        person_id=person.customer_id,
        household_id=person.household_id,
        housemates=mates,
        permission=PermissionView.of(permission),
        linked=tuple(
            LinkedView(
                account_id=each,
                linked_for="one person" if each in person.own else "counting" if each in person.counted else "a no",
                refused=permissions[each].refused,
                hold=permissions[each].hold,
            )
            for each in person.suppressing
            if each != customer_id
        ),
        consents=tuple(ConsentView(**{name: getattr(each, name) for name in names}) for each in consents),
        contacts=tuple(ContactView(**each.contact._asdict()) for each in decisions if each.contact),
        decisions=tuple(each.decision_id for each in decisions),
        events=events,
    )


async def delete_customer(site: Site, request: Request) -> Response:
    """Erase a customer from the ledger, suppress them from now on, and queue what lies outside of the ledger."""
    customer_id = _id(request, "customer_id")
    at = site.service.clock()
    removed = await site.write(lambda book: queue_erasure(book, customer_id, at=at))
    return json(Erased(removed=removed, suppressed=True, pending=_ELSEWHERE))


async def post_reload(site: Site, request: Request) -> Response:
    """Load the model anew; when it can't be read, the one in force serves on."""
    engine = await asyncio.to_thread(site.reload)
    site.service.engine = engine
    return json(Reloaded(model=engine.desk.model))


async def post_unsubscribe(site: Site, request: Request) -> Response:
    """Unsubscribe the customer whom the signed token names."""
    link = read_token(request.path_params["token"], secret=site.ledger.secret)
    if link is None:
        raise HttpError(404, "unknown_token", "the link is not valid", got="an unknown token", do="use the link whole")
    at = site.service.clock()
    message = msgspec.convert(
        {
            "customer_id": link.customer_id,
            "channel": link.channel,
            "contact_class": link.contact_class,
            "granted": False,
            "source": "customer",
            "occurred_at": at,
            "wording": "unsubscribe link",
        },
        ConsentMessage,
    )
    return json(await site.write(lambda book: take_consents(book, [message], at=at)))


async def get_health(site: Site, request: Request) -> Response:
    """Whether the process is alive."""
    return json(Status(status="alive"))


async def get_ready(site: Site, request: Request) -> Response:
    """Whether decisions can be recorded; a missing model is told but does not make it unready."""
    await site.read(lambda book: book.erased([]))
    return json(Status(status="ready", model=site.service.engine.desk.model or None))


async def get_metrics(site: Site, request: Request) -> Response:
    """Counters for Prometheus."""
    return Response(generate_latest(site.metrics.registry), media_type="text/plain; version=0.0.4")


def _id(request: Request, field_name: str) -> str:
    value: str = request.path_params[field_name]
    check_id(field_name, value)
    return value


def _missing(noun: str, name: str) -> HttpError:
    return HttpError(404, f"unknown_{noun}", f"there is no such {noun}", got=name, do=f"check the {noun}'s id")

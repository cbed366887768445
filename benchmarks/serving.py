"""Decisions per second: the function alone, a batch into the ledger, and over HTTP beside an echo of the same route.

The peer is FastAPI with pydantic on the same uvicorn, uvloop and httptools, checking the same request and writing the
same answer, but deciding and storing nothing: what it takes is the price of the messages alone. Both servers and the
client share the machine's cores. Customers are in memory when the clock starts; one who is not costs some
milliseconds more.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from experiments.policies import OneToOne
from features import Feature, FeatureSet, History
from serving.app import create_app
from serving.ask import Ask
from serving.batch import decide_all
from serving.book import Consent, policy_version
from serving.catalogue import CHANNELS, Catalogue, Content, Offer
from serving.conditions import Condition
from serving.consent import Permission
from serving.contact_policy import Contact, ContactPolicy, Limit
from serving.customers import RecentCustomers
from serving.decision import Assignment, decide
from serving.desk import Desk
from serving.keys import make_key
from serving.ledger import Ledger
from serving.rules import RuleBook, Rules
from serving.service import Engine, Service
from serving.trial import Trial
from serving.trials import Trials
from serving.web import Site

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONNECTIONS, SECONDS, CUSTOMERS = 16, 6.0, 500
FEATURES = FeatureSet.of(
    *(
        Feature(name=f"{kind}s", where={"kind": kind}, windows=("1d", "7d", "30d", "90d", "365d"))
        for kind in ("visit", "purchase", "search", "cart", "click", "open", "contact", "return")
    )
)


class Values:
    """The same value for everybody: the trees are measured in training's benchmark."""

    version = "constant"

    def __init__(self, actions: int) -> None:
        self._row = np.linspace(0, 50, actions)

    def values(self, rows):
        return np.tile(self._row, (len(rows), 1))

    def values_of(self, table):
        return np.tile(self._row, (table.num_rows, 1))


def book() -> RuleBook:
    """Four offers on five channels with conditions and limits: 20 treatments."""
    offers = tuple(
        Offer(
            offer_id=f"offer-{number}",
            title=f"Offer {number}",
            value_cents=1000,
            eligibility=(Condition(feature="visits_365d", at_least=number % 3),),
            suitability=(Condition(feature="returns_365d", at_most=8),),
            treatments=tuple(Content(channel=channel, cost_cents=2, text="Hello") for channel in CHANNELS),
        )
        for number in range(4)
    )
    policy = ContactPolicy(limits=(Limit(count=1000, window_days=7, contact_class="marketing"),))
    return RuleBook(
        catalogue=Catalogue(offers=offers),
        contact_policy=policy,
        feature_names=FEATURES.names,
        features=FEATURES.fingerprint,
    )


def pure(count: int = 20_000) -> float:
    """Decisions per second of the function alone."""
    rules = Rules(book())
    permission = Permission(tuple(f"{channel}:marketing" for channel in CHANNELS))
    contacts = (Contact("offer-1", "email", "marketing", NOON - timedelta(days=3)),)
    rng = np.random.default_rng(0)
    rows = [tuple(row) for row in rng.integers(0, 9, (count, len(FEATURES.names))).tolist()]
    values = rng.normal(0, 100, (count, len(rules.actions)))
    values[:, 0] = 0
    arm = Assignment(experiment="e", arm="a", policy=OneToOne(floor=0.01), version=policy_version(OneToOne(floor=0.01)))
    begun = time.perf_counter()
    for number in range(count):
        decide(
            Ask(customer_id=f"c{number}", moment=NOON, seed="s"),
            permission=permission,
            contacts=contacts,
            row=rows[number],
            values=values[number],
            assignment=arm,
            rules=rules,
        )
    return count / (time.perf_counter() - begun)


def agreed(ledger: Ledger, count: int) -> None:
    """So many customers opt in."""
    yes = {"channel": "all", "granted": True, "source": "import", "occurred_at": NOON, "recorded_at": NOON}
    with ledger.writing() as opened:
        opened.consent([Consent(customer_id=f"c{number}", **yes) for number in range(count)])


def batch(folder: Path, count: int = 50_000) -> float:
    """Decisions per second of a batch, read, decided, written and synced."""
    ledger = Ledger(folder / "batch.db")
    agreed(ledger, count)
    rules = Rules(book())
    desk = Desk(
        ledger, rules=rules, trials=Trials.only(Trial.of_policy(OneToOne(floor=0.01), arm="a")), model="constant"
    )
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, 9, count) for name in FEATURES.names}
    table = pa.table({"customer_id": [f"c{number}" for number in range(count)], **columns})
    values = Values(len(rules.actions)).values_of(table)
    begun = time.perf_counter()
    decide_all(table, desk=desk, at=NOON, seed="s", values=values)
    taken = time.perf_counter() - begun
    ledger.close()
    return count / taken


def site(folder: Path) -> tuple[Site, str]:
    """A site over 500 customers with 100 events each, and its key."""
    ledger = Ledger(folder / "service.db")
    agreed(ledger, CUSTOMERS)
    history = History(folder / "history")
    rng = np.random.default_rng(0)
    count = CUSTOMERS * 100
    when = np.datetime64(NOON.replace(tzinfo=None), "us") - rng.integers(1, 360 * 86_400, count).astype(
        "timedelta64[s]"
    )
    stamps = pa.array(when).cast(pa.timestamp("us", tz="UTC"))
    kinds = np.array(["visit", "purchase", "search", "cart", "click", "open"])[rng.integers(0, 6, count)]
    events = {
        "event_id": [f"e{number}" for number in range(count)],
        "customer_id": [f"c{number % CUSTOMERS}" for number in range(count)],
        "kind": kinds,
        "occurred_at": stamps,
        "recorded_at": stamps,
    }
    history.append(pa.table(events), part="year")
    rules = Rules(book())
    desk = Desk(
        ledger, rules=rules, trials=Trials.only(Trial.of_policy(OneToOne(floor=0.01), arm="a")), model="constant"
    )
    engine = Engine(desk=desk, scorer=Values(len(rules.actions)))
    service = Service(engine=engine, customers=RecentCustomers(history), features=FEATURES)
    with ledger.writing() as opened:
        key = make_key(opened, scopes=["decide"], label="benchmark", at=NOON)
    return Site(service=service, ledger=ledger, reload=lambda: engine), key


def serve(kind: str, port: int, folder: Path, key_file: Path) -> None:
    """A server's process."""
    import gc

    import uvicorn

    if kind == "rapport":
        found, key = site(folder)
        app = create_app(found)
    else:
        from benchmarks.serving_echo import app as echo

        app, key = echo, ""
    key_file.write_text(key)
    gc.freeze()
    uvicorn.run(app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", log_level="error", access_log=False)


async def load(port: int, key: str, *, run: str) -> list[float]:
    """Seconds of each request, over 16 connections that are kept open."""
    taken: list[float] = []
    stop = time.perf_counter() + SECONDS

    async def one(name: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        number = 0
        while time.perf_counter() < stop:
            asked = {
                "customer_id": f"c{(name * 131 + number) % CUSTOMERS}",
                "idempotency_key": f"{run}-{name}-{number}",
            }
            raw = json.dumps(asked).encode()
            head = (
                f"POST /v1/decisions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
            )
            begun = time.perf_counter()
            writer.write(head.encode() + raw)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answer.decode())
            length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            taken.append(time.perf_counter() - begun)
            number += 1
        writer.close()

    await asyncio.gather(*(one(name) for name in range(CONNECTIONS)))
    return taken


def over_http(kind: str, folder: Path) -> tuple[float, float, float]:
    """Requests per second, and the median and 99th percentile in milliseconds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key_file = folder / f"{kind}.key"
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(kind, port, folder, key_file))
    server.start()
    try:
        _wait(port, server)
        asyncio.run(load(port, key_file.read_text(), run="warm"))  # caches, and every customer once
        taken = asyncio.run(load(port, key_file.read_text(), run="timed"))
    finally:
        os.kill(server.pid, signal.SIGINT)
        server.join(timeout=20)
    milliseconds = np.array(taken) * 1000
    return len(taken) / SECONDS, float(np.median(milliseconds)), float(np.quantile(milliseconds, 0.99))


def _wait(port: int, server: multiprocessing.Process) -> None:
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up and server.is_alive():
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the server did not start")


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone, stored = pure(), batch(folder)
        ours, theirs = over_http("rapport", folder), over_http("echo", folder)
    print(f"{'20 treatments, 40 features':<52}{'per second':>12}{'median ms':>11}{'p99 ms':>9}")
    print(f"{'decide(), the function alone':<52}{alone:>12,.0f}{1000 / alone:>11.3f}")
    print(f"{'decide_all, into the ledger, 50,000 at once':<52}{stored:>12,.0f}")
    for label, (rate, median, p99) in (
        (f"rapport serve, decided and on disk, {CONNECTIONS} connections", ours),
        ("FastAPI + pydantic, an echo: nothing decided or kept", theirs),
    ):
        print(f"{label:<52}{rate:>12,.0f}{median:>11.2f}{p99:>9.2f}")


if __name__ == "__main__":
    main()

"""The source systems of the simulated retailer: how each writes the facts it sees, and how they are mapped back.

A system is declared once. The export is written from the declaration, and so is its ``[[source]]`` for
``features.intake``, so the two can't drift apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from experiments.market.offers import CATEGORIES

_SAME = {each: each for each in CATEGORIES}


@dataclass(frozen=True, kw_only=True)
class System:
    """One source system's own shape of the facts.

    Parameters
    ----------
    name, file: of the source; ``holds`` are the sources of the market's events that it records.
    columns: column of the fact -> the system's own name for it, in the order it writes them.
    kinds, categories: name in the facts -> the system's own word.
    time: ``timestamp`` (UTC, without a zone), ``milliseconds`` since 1970, or a strftime format in UTC.
    cents: whether money is whole cents; else currency with the mark ``decimal``.
    delimiter: of text files.
    channel: of all its facts, when no column tells it.
    """

    name: str
    file: str
    holds: str
    columns: Mapping[str, str]
    kinds: Mapping[str, str]
    categories: Mapping[str, str] = field(default_factory=lambda: _SAME)
    time: str = "timestamp"
    cents: bool = True
    decimal: str = "."
    delimiter: str = ","
    channel: str | None = None

    def export(self, events: pa.Table) -> pa.Table:
        """The system's own rows of ``events``, in its own columns, words and units."""
        own = events.filter(pc.equal(events["source"], self.holds))
        written = {
            "kind": lambda column: _words(column, self.kinds),
            "category": lambda column: _words(column, self.categories),
            "occurred_at": self._times,
            "recorded_at": self._times,
            "amount": self._money,
        }
        return pa.table(
            {theirs: written.get(ours, lambda column: column)(own[ours]) for ours, theirs in self.columns.items()}
        )

    def source(self) -> str:
        """The ``[[source]]`` table, as TOML, that turns the export into the facts again."""
        mapped = {ours: json.dumps(theirs) for ours, theirs in self.columns.items()}
        mapped |= {name: _field(self.columns[name], self._time_keys()) for name in ("occurred_at", "recorded_at")}
        mapped["kind"] = _field(self.columns["kind"], {"values": {theirs: ours for ours, theirs in self.kinds.items()}})
        if "amount" in mapped:
            unit = {"unit": "cents"} if self.cents else {"unit": "currency", "decimal": self.decimal}
            mapped["amount"] = _field(self.columns["amount"], unit)
        if "category" in mapped and self.categories != _SAME:
            back = {theirs: ours for ours, theirs in self.categories.items()}
            mapped["category"] = _field(self.columns["category"], {"values": back})
        if self.channel:
            mapped["channel"] = _inline({"constant": self.channel})
        head = {"name": self.name, "file": self.file, "rows": "events"}
        head |= {} if self.file.endswith(".parquet") else {"delimiter": self.delimiter}
        lines = ["[[source]]", *(f"{key} = {json.dumps(value)}" for key, value in head.items())]
        return "\n".join([*lines, "[source.columns]", *(f"{key} = {value}" for key, value in mapped.items()), ""])

    def _times(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        if self.time == "milliseconds":
            return pc.divide(pc.cast(column, pa.int64()), 1000)
        plain = pc.cast(column, pa.timestamp("us"))
        return plain if self.time == "timestamp" else pc.strftime(pc.cast(plain, pa.timestamp("s")), format=self.time)

    def _time_keys(self) -> dict[str, str]:
        if self.time == "milliseconds":
            return {"number_of": "milliseconds"}
        return {} if self.time == "timestamp" else {"format": self.time}

    def _money(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        if self.cents:
            return column
        whole = pc.cast(pc.divide(column, 100), pa.string())
        digits = pc.utf8_slice_codeunits(pc.cast(pc.add(column, 100), pa.string()), -2)
        return pc.binary_join_element_wise(whole, digits, self.decimal)


SYSTEMS = (
    System(
        name="web",
        file="web.parquet",
        holds="web",
        columns={
            "event_id": "hit_id",
            "customer_id": "visitor",
            "kind": "action",
            "occurred_at": "ts_ms",
            "recorded_at": "received_ms",
            "category": "section",
            "item": "campaign",
            "amount": "value_cents",
            "quantity": "qty",
        },
        kinds={
            "visit": "page_view",
            "search": "site_search",
            "cart": "add_to_cart",
            "purchase": "order",
            "return": "refund",
            "discount": "voucher",
            "click": "banner_click",
            "opt_out": "ads_off",
        },
        categories={each: each.title() for each in CATEGORIES},
        time="milliseconds",
        channel="web",
    ),
    System(
        name="email",
        file="email.csv.gz",
        holds="email",
        columns={
            "event_id": "activity_id",
            "customer_id": "recipient",
            "kind": "activity",
            "occurred_at": "activity_time",
            "recorded_at": "processed_time",
            "item": "template",
            "category": "topic",
        },
        kinds={"open": "Opened", "click": "Clicked", "opt_out": "Unsubscribed"},
        time="%Y-%m-%dT%H:%M:%SZ",
        channel="email",
    ),
    System(
        name="mail",
        file="direct_mail.csv",
        holds="mail",
        columns={
            "event_id": "slip_no",
            "customer_id": "customer_no",
            "kind": "slip",
            "occurred_at": "posted",
            "recorded_at": "keyed_in",
            "category": "catalogue",
            "item": "coupon",
            "amount": "amount_eur",
            "quantity": "pieces",
        },
        kinds={"purchase": "order form", "return": "return form", "discount": "coupon", "opt_out": "no more mail"},
        time="%d.%m.%Y %H:%M:%S",
        cents=False,
        decimal=",",
        delimiter=";",
        channel="mail",
    ),
    System(
        name="call",
        file="call_centre.csv",
        holds="call",
        columns={
            "event_id": "ticket",
            "customer_id": "account",
            "kind": "outcome",
            "occurred_at": "call_start",
            "recorded_at": "ticket_closed",
            "category": "product_group",
            "item": "voucher",
            "amount": "amount_eur",
            "quantity": "pieces",
        },
        kinds={
            "call": "question",
            "purchase": "sale",
            "return": "return",
            "discount": "voucher used",
            "opt_out": "do not call",
        },
        time="%Y-%m-%d %H:%M:%S",
        cents=False,
        channel="call",
    ),
    System(
        name="store",
        file="tills.parquet",
        holds="store",
        columns={
            "event_id": "receipt_line",
            "customer_id": "loyalty_card",
            "kind": "line_type",
            "occurred_at": "sold_at",
            "recorded_at": "loaded_at",
            "category": "department",
            "item": "coupon",
            "amount": "cents",
            "quantity": "pieces",
        },
        kinds={"purchase": "S", "return": "R", "discount": "D", "opt_out": "X"},
        categories={each: str(11 * number) for number, each in enumerate(CATEGORIES, start=1)},
        channel="store",
    ),
    System(
        name="decisions",
        file="campaigns.parquet",
        holds="decisions",
        columns={
            "event_id": "decision_ref",
            "customer_id": "customer",
            "kind": "decision",
            "occurred_at": "decided_at",
            "recorded_at": "stored_at",
            "channel": "medium",
            "item": "offer",
            "category": "offer_category",
        },
        kinds={"contact": "sent", "no_contact": "withheld"},
    ),
)


def _words(column: pa.ChunkedArray, words: Mapping[str, str]) -> pa.ChunkedArray:
    places = pc.index_in(column, value_set=pa.array(list(words)))
    return pa.chunked_array([pa.array(list(words.values())).take(chunk) for chunk in places.chunks], pa.string())


def _field(column: str, more: Mapping[str, object]) -> str:
    return _inline({"column": column} | dict(more)) if more else json.dumps(column)


def _inline(table: Mapping[str, object]) -> str:
    cells = (
        f"{json.dumps(key)} = {_inline(value) if isinstance(value, Mapping) else json.dumps(value)}"
        for key, value in table.items()
    )
    return "{ " + ", ".join(cells) + " }"

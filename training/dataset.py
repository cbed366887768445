"""Training sets from a project's history: each past contact, what was known then, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.declaration import FeatureSet
from features.errors import InputError
from features.history import History

NOTHING = "nothing"
DECISION = ("offer", "channel", "treatment")


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What counts as the response to a contact.

    Parameters
    ----------
    kinds: kinds of event that are a response.
    window_days: days after the contact, from its moment (included) to the end of the window (excluded).
    delay_days: days after the window until which outcomes may still be recorded; only then is a row mature.
    same_item: whether the event's item must be the contact's offer (a redemption), which nothing can have.
    """

    kinds: tuple[str, ...] = ("purchase",)
    window_days: float = 7.0
    delay_days: float = 0.0
    same_item: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Mature contacts with features, decision and outcome.

    ``frame``: features as of each contact, then ``offer``, ``channel`` and item attributes (rows, columns).
    ``label``: whether the customer responded (rows,). ``treatment``: ``<offer>@<channel>`` or ``nothing`` (rows,).
    ``times``, ``customers``: moment and customer of each row. ``censored``: contacts left out, their window being open.
    """

    frame: pd.DataFrame
    label: pd.Series
    treatment: pd.Series
    times: pd.Series
    customers: pd.Series
    censored: int


def training_set(history: History, features: FeatureSet, *, goal: Goal, until: datetime | None = None) -> TrainingSet:
    """The mature contacts of ``history`` as known at ``until`` (default now).

    Raises
    ------
    InputError
        When the history holds no contacts, or none that is mature.
    """
    moment = until or datetime.now(UTC)
    events = history.events(moment)
    spine, censored = contacts(events, goal=goal, until=moment)
    table = features.offline(history, spine)
    frame = table.select([*features.names, "offer", "channel"]).to_pandas()
    frame = frame.join(_item_attributes(history, spine, until=moment))
    return TrainingSet(
        frame=frame,
        label=spine["label"].to_pandas(),
        treatment=spine["treatment"].to_pandas(),
        times=spine["as_of"].to_pandas(),
        customers=spine["customer_id"].to_pandas(),
        censored=censored,
    )


def contacts(events: pa.Table, *, goal: Goal, until: datetime) -> tuple[pa.Table, int]:
    """The spine of mature contacts, in order of time, and how many were censored as immature.

    Columns: customer_id, as_of, offer and channel (null for ``no_contact``), treatment, label. A row is mature when its
    window and the delay have passed at ``until``; an immature row is left out, never counted as a no.
    """
    wait = timedelta(days=goal.window_days + goal.delay_days)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("events", events)
        connection.register("kinds", pa.table({"kind": list(goal.kinds)}))
        found = connection.execute(
            _CONTACTS,
            {
                "window": timedelta(days=goal.window_days),
                "mature": until - wait,
                "same": goal.same_item,
                "nothing": NOTHING,
            },
        ).to_arrow_table()
    if found.num_rows == 0:
        raise InputError(
            "the history holds no contacts",
            got="no event of kind 'contact'",
            do="take in what was sent with `rapport ingest`",
        )
    mature = found.filter(found["mature"]).drop_columns(["mature", "event_id"])
    censored = found.num_rows - mature.num_rows
    if mature.num_rows == 0:
        raise InputError(
            "no contact is mature yet",
            got=f"{censored} contacts within the last {wait.days} days",
            do="wait, or shorten the window under [response] in rapport.toml",
        )
    return mature.cast(_spine_schema(mature)), censored


_CONTACTS = """
WITH sent AS (
    SELECT event_id, customer_id, occurred_at AS as_of,
           CASE kind WHEN 'contact' THEN item END AS offer,
           CASE kind WHEN 'contact' THEN channel END AS channel,
           CASE kind WHEN 'contact' THEN item || '@' || channel ELSE $nothing END AS treatment
    FROM events
    WHERE kind = 'no_contact' OR (kind = 'contact' AND item IS NOT NULL AND channel IS NOT NULL)
),
answered AS (
    SELECT DISTINCT sent.event_id
    FROM sent JOIN events AS answer
      ON answer.customer_id = sent.customer_id
     AND answer.occurred_at >= sent.as_of AND answer.occurred_at < sent.as_of + $window
     AND (NOT $same OR answer.item = sent.offer)
    WHERE answer.kind IN (SELECT kind FROM kinds)
)
SELECT sent.*, answered.event_id IS NOT NULL AS label, sent.as_of <= $mature AS mature
FROM sent LEFT JOIN answered USING (event_id)
ORDER BY as_of, event_id
"""


def _spine_schema(table: pa.Table) -> pa.Schema:
    stamp = pa.timestamp("us", tz="UTC")
    return pa.schema([(field.name, stamp if field.name == "as_of" else field.type) for field in table.schema])


def _item_attributes(history: History, spine: pa.Table, *, until: datetime) -> pd.DataFrame:
    """``offer_<attribute>`` of each contact's offer: the latest value known before the contact."""
    facts = history.items(until)
    if facts.num_rows == 0:
        return pd.DataFrame(index=range(spine.num_rows))
    names = sorted(set(pc.unique(facts["attribute"]).to_pylist()))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("facts", facts)
        connection.register("spine", spine.append_column("place", pa.array(range(spine.num_rows), pa.int64())))
        latest = connection.execute(
            "SELECT place, attribute, arg_max(value, (facts.occurred_at, facts.recorded_at, value)) AS value "
            "FROM spine JOIN facts ON facts.item = spine.offer "
            "AND facts.occurred_at < spine.as_of AND facts.recorded_at < spine.as_of GROUP BY place, attribute"
        ).df()
    wide = latest.pivot(index="place", columns="attribute", values="value").reindex(
        range(spine.num_rows), columns=names
    )
    typed: pd.DataFrame = wide.apply(_as_number)
    return typed.rename(columns=lambda name: f"offer_{name}").reset_index(drop=True)


def _as_number(values: pd.Series) -> pd.Series:
    """Text of numbers as numbers; any other text as it is."""
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers if numbers.notna().sum() == values.notna().sum() else values


def interactions(history: History, *, kinds: tuple[str, ...], until: datetime | None = None) -> pd.DataFrame:
    """What customers took: customer_id, item_id, weight and ``at``, from events of ``kinds`` with an item."""
    events = history.events(until)
    chosen = events.filter(pc.and_(pc.is_in(events["kind"], pa.array(kinds)), pc.is_valid(events["item"])))
    if chosen.num_rows == 0:
        raise InputError(
            "the history holds nothing that customers took", got=f"no event of {kinds} with an item", do="take some in"
        )
    frame: pd.DataFrame = chosen.select(["customer_id", "item", "occurred_at", "event_id"]).to_pandas()
    frame = frame.sort_values(["occurred_at", "event_id"]).rename(columns={"item": "item_id", "occurred_at": "at"})
    return frame.drop(columns="event_id").assign(weight=1.0).reset_index(drop=True)

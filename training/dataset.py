"""Training sets from a project's history: each past contact, what was known then, and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.channels import bundle, channels_of
from features.declaration import FeatureSet
from features.errors import InputError
from features.facts import ITEMS, PROFILE
from features.history import History
from features.matching import matched, patterns
from features.privacy.purposes import Purposes, masked, usable
from features.sql import in_memory

NOTHING = "nothing"
_MOST_CONTACTS = 1_000_000
TREATMENT = "treatment"
_BRAND = "offer_brand"  # the attribute ``brand`` of the contact's offer


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What counts as the response to a contact.

    Parameters
    ----------
    kinds: kinds of event that are a response.
    window_days: days after the contact that count, ``(contact, contact + window]`` as in experiments: what happened at
        the very moment of the contact was no answer to it, what happened at the last moment of the window was one.
    delay_days: days after the window until which outcomes may still be recorded; only then is a row mature.
    same_item: whether the event's item must be the contact's offer (a redemption), which nothing can have.
    wave_size: contacts at one and the same moment from which on they are a wave. Customers known by then who got
        nothing in a wave count as decisions of nothing, which is right only if it was by chance; 0: there are no waves.
    """

    kinds: tuple[str, ...] = ("purchase",)
    window_days: float = 7.0
    delay_days: float = 0.0
    same_item: bool = False
    wave_size: int = 0


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Mature contacts with features, decision and outcome.

    ``frame``: features as of each contact, then ``offer``, ``channel``, item attributes, and the features that match
    the offer and its own category and channel (``features.matching``), (rows, columns).
    ``label``: whether the customer responded (rows,). ``treatment``: ``<offer>@<channel>`` or ``nothing`` (rows,).
    ``times``, ``customers``: moment and person of each row. ``censored``: contacts left out, their window being open.
    """

    frame: pd.DataFrame
    label: pd.Series
    treatment: pd.Series
    times: pd.Series
    customers: pd.Series
    censored: int


def training_set(
    history: History,
    features: FeatureSet,
    *,
    goal: Goal,
    until: datetime | None = None,
    vocabulary: Mapping[str, Sequence[str]] = {},
    most: int = _MOST_CONTACTS,
    channels: str = "",
    apart: Collection[str] = (),
    purposes: Purposes | None = None,
    used_at: datetime | None = None,
) -> TrainingSet:
    """The mature contacts of ``history`` as known at ``until``, by default right after its last event was recorded.

    Where files stopped arriving a month ago, nobody knows who answered since: windows that were open then are left out.

    A contact to one account of a person is answered by whatever account of theirs: who is one person is read as known
    at ``until``, as responses are. Features are those of the person as known at the contact.

    Parameters
    ----------
    vocabulary: the words for ``channel``, ``category`` and ``offer`` that matching features are made for; none by
        default.
    most: contacts beyond this many are left out at random, by a hash of their ids.
    channels: the attribute of offers that lists their channels. A contact that names no channel went out over all
        that its offer had then, as one (``features.channels.bundle``); without the attribute it is left out.
    apart: attributes of offers that are no columns of the model, such as those that say until when they hold.
    purposes: what features may be used for, by default that of a project that says nothing. What its customer had not
        allowed at the contact, or does not allow at ``used_at`` (default ``until``, or now), is missing in a row.

    Raises
    ------
    InputError
        When the history holds no contacts, or none that is mature.
    """
    moment = until or last_known(history)
    spine, censored = spine_of(history, goal=goal, until=moment, most=most, channels=channels)
    table = masked(
        features.offline(history, spine),
        features,
        history,
        purposes=purposes or Purposes(),
        used_at=used_at or until or datetime.now(UTC),
    )
    frame = table.select([*features.names, "offer", "channel"]).to_pandas()
    frame = frame.join(_item_attributes(history, spine, until=moment, apart=apart))
    frame = frame.assign(**_matching(frame, spine["category"].to_pandas(), features, vocabulary))
    return TrainingSet(
        frame=frame,
        label=spine["label"].to_pandas(),
        treatment=spine["treatment"].to_pandas(),
        times=spine["as_of"].to_pandas(),
        customers=spine["person"].to_pandas(),
        censored=censored,
    )


def last_known(history: History) -> datetime:
    """The moment right after the history's last event was recorded; now, where it holds none or one from the future."""
    now = datetime.now(UTC)
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(f"SELECT epoch_us(max(recorded_at)) FROM {history.scan('events')}").fetchone()
    if found is None or found[0] is None:
        return now
    return min(now, datetime.fromtimestamp(0, UTC) + timedelta(microseconds=found[0] + 1))


def spine_of(
    history: History, *, goal: Goal, until: datetime, most: int = _MOST_CONTACTS, channels: str = ""
) -> tuple[pa.Table, int]:
    """The :func:`contacts` of a history as known at ``until``; parameters as in :func:`training_set`."""
    return contacts(
        history.events(until),
        goal=goal,
        until=until,
        most=most,
        profile=history.profile(until) if goal.wave_size else None,
        items=history.items(until) if channels else None,
        channels=channels,
        members=history.members(),
    )


def contacts(
    events: pa.Table,
    *,
    goal: Goal,
    until: datetime,
    most: int = _MOST_CONTACTS,
    profile: pa.Table | None = None,
    items: pa.Table | None = None,
    channels: str = "",
    members: pa.Table | None = None,
) -> tuple[pa.Table, int]:
    """The spine of mature contacts, in order of time, and how many were censored as immature.

    Columns: customer_id (the account), person, as_of, offer and channel (``nothing`` for ``no_contact``), category,
    treatment, label. A row is mature when its window and the delay have ended before ``until``; others are left out,
    never counted as a no. Where only the contact's own item counts as a response, decisions of nothing have none to
    give and are left out.
    ``profile`` and ``items`` are facts: who was known when, for waves; which ``channels`` an offer had, for contacts
    that name none. ``members`` (MEMBERS schema) tells which accounts are one person, as known at ``until``.
    """
    wait = timedelta(days=goal.window_days + goal.delay_days)
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        profile = PROFILE.empty_table() if profile is None else profile
        register_by_person(connection, {"events": events, "profile": profile}, members=members, until=until)
        connection.register("bundles", _bundles(ITEMS.empty_table() if items is None else items, channels))
        connection.register("kinds", pa.table({"kind": list(goal.kinds)}))
        found = connection.execute(
            _CONTACTS,
            {
                "window": timedelta(days=goal.window_days),
                "mature": until - wait,
                "same": goal.same_item,
                "nothing": NOTHING,
                "most": most,
                "wave": goal.wave_size,
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
            got=f"{censored} contacts within {wait.days} days before {until:%Y-%m-%d}, up to which events are known",
            do="wait, or shorten the window under [response] in rapport.toml",
        )
    return mature.cast(_spine_schema(mature)), censored


def register_by_person(
    connection: duckdb.DuckDBPyConnection,
    facts: Mapping[str, pa.Table],
    *,
    members: pa.Table | None,
    until: datetime,
) -> None:
    """Make ``facts`` tables by their names, with a column ``person``: whose the account was at ``until``."""
    linked = _register_persons(connection, members, until=until)
    for name, table in facts.items():
        connection.register(f"{name}_of_accounts", table)
        connection.execute(_WITH_PERSON[linked].format(name=name))


def _register_persons(connection: duckdb.DuckDBPyConnection, members: pa.Table | None, *, until: datetime) -> bool:
    """Make the table ``persons`` of accounts that belong to a person with several; whether there are any."""
    if members is None or members.num_rows == 0:
        return False
    connection.register("members", members)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE persons AS SELECT account_id, customer_id AS person FROM members "
        "WHERE strength = 'personalize' AND since < $at AND (until IS NULL OR $at <= until)",
        {"at": until},
    )
    return True


# Without links (False) everybody has one account, and nothing is joined.
_WITH_PERSON = {
    False: "CREATE TEMP VIEW {name} AS SELECT *, customer_id AS person FROM {name}_of_accounts",
    True: "CREATE TEMP VIEW {name} AS SELECT {name}_of_accounts.*, coalesce(person, customer_id) AS person "
    "FROM {name}_of_accounts LEFT JOIN persons ON account_id = customer_id",
}

_CONTACTS = """
WITH bundled AS (
    SELECT event_id, arg_max(bundle, (bundles.occurred_at, bundles.recorded_at, bundle)) AS bundle
    FROM events JOIN bundles ON bundles.item = events.item
     AND bundles.occurred_at < events.occurred_at AND bundles.recorded_at < events.occurred_at
    WHERE kind = 'contact' AND channel IS NULL GROUP BY event_id
),
decided AS (
    SELECT event_id, customer_id, person, kind, occurred_at, item, coalesce(channel, bundle) AS channel, category
    FROM events LEFT JOIN bundled USING (event_id)
    WHERE kind = 'no_contact' OR (kind = 'contact' AND item IS NOT NULL AND coalesce(channel, bundle) IS NOT NULL)
),
waves AS (
    SELECT occurred_at FROM decided
    WHERE kind = 'contact' AND $wave > 0 GROUP BY occurred_at HAVING count(*) >= $wave
),
known AS (
    SELECT person, min(since) AS since, arg_min(customer_id, (since, customer_id)) AS customer_id
    FROM (SELECT person, customer_id, greatest(occurred_at, recorded_at) AS since FROM events WHERE $wave > 0
          UNION ALL SELECT person, customer_id, greatest(occurred_at, recorded_at) FROM profile)
    GROUP BY person
),
left_out AS (
    SELECT 'no_contact:' || epoch_us(occurred_at) || ':' || customer_id AS event_id, customer_id, person,
           'no_contact' AS kind, occurred_at, NULL AS item, NULL AS channel, NULL AS category
    FROM waves JOIN known ON known.since < waves.occurred_at
    ANTI JOIN events AS sent ON sent.person = known.person AND sent.occurred_at = waves.occurred_at
      AND sent.kind IN ('contact', 'no_contact')
),
sent AS (
    SELECT event_id, customer_id, person, occurred_at AS as_of,
           CASE kind WHEN 'contact' THEN item ELSE $nothing END AS offer,
           CASE kind WHEN 'contact' THEN channel ELSE $nothing END AS channel,
           CASE kind WHEN 'contact' THEN category END AS category,
           CASE kind WHEN 'contact' THEN item || '@' || channel ELSE $nothing END AS treatment
    FROM (FROM decided UNION ALL FROM left_out)
    WHERE kind = 'contact' OR NOT $same
),
answered AS (
    SELECT DISTINCT sent.event_id
    FROM sent JOIN events AS answer
      ON answer.person = sent.person
     AND answer.occurred_at > sent.as_of AND answer.occurred_at <= sent.as_of + $window
     AND (NOT $same OR answer.item = sent.offer)
    WHERE answer.kind IN (SELECT kind FROM kinds)
)
SELECT * FROM (
    SELECT sent.*, answered.event_id IS NOT NULL AS label, sent.as_of < $mature AS mature
    FROM sent LEFT JOIN answered USING (event_id)
    QUALIFY NOT mature OR row_number() OVER (PARTITION BY mature ORDER BY md5(event_id)) <= $most)
ORDER BY as_of, event_id
"""


def _bundles(items: pa.Table, channels: str) -> pa.Table:
    """Each fact about the channels of an offer, its value as one word."""
    told = items.filter(pc.equal(items["attribute"], channels)).select(["item", "occurred_at", "recorded_at", "value"])
    words = [bundle(channels_of(value)) or None for value in told["value"].to_pylist()]
    return told.set_column(3, "bundle", pa.array(words, pa.string()))


def _spine_schema(table: pa.Table) -> pa.Schema:
    stamp = pa.timestamp("us", tz="UTC")
    return pa.schema([(field.name, stamp if field.name == "as_of" else field.type) for field in table.schema])


def _matching(
    frame: pd.DataFrame, category: pd.Series, features: FeatureSet, vocabulary: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """The matching features of each row: of the feature that its own channel or category picks, the value."""
    told = {"channel": frame["channel"], "category": category, "offer": frame["offer"]}
    if _BRAND in frame.columns:
        told["brand"] = frame[_BRAND]
    vocabulary = {mark: vocabulary[mark] for mark in vocabulary if mark in told}
    found = {}
    for pattern in patterns(features.names, vocabulary=vocabulary):
        values = np.full(len(frame), np.nan)
        for mark, words in vocabulary.items():
            for word in words if f"<{mark}>" in pattern else ():
                rows = (told[mark] == word).to_numpy(dtype=bool)
                values[rows] = frame[matched(pattern, {mark: word})].to_numpy(dtype=float, na_value=np.nan)[rows]
        found[pattern] = values
    return found


def _item_attributes(
    history: History, spine: pa.Table, *, until: datetime, apart: Collection[str] = ()
) -> pd.DataFrame:
    """``offer_<attribute>`` of each contact's offer, without those ``apart``: the latest value known before it."""
    facts = history.items(until)
    facts = facts.filter(pc.invert(pc.is_in(facts["attribute"], pa.array(sorted(apart), pa.string()))))
    if facts.num_rows == 0:
        return pd.DataFrame(index=range(spine.num_rows))
    names = sorted(set(pc.unique(facts["attribute"]).to_pylist()))
    with in_memory() as connection:
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


def interactions(
    history: History, *, kinds: tuple[str, ...], until: datetime | None = None, purposes: Purposes | None = None
) -> pd.DataFrame:
    """What people took: customer_id, item_id, weight and ``at``, from events of ``kinds`` with an item.

    ``customer_id`` is the person, as known at ``until`` (default now): what their accounts took, they took. Who does
    not let what they did be used for personalization by then, by ``purposes`` (default: unless they refused), is left
    out.
    """
    moment = until or datetime.now(UTC)
    events = history.events(until)
    chosen = events.filter(pc.and_(pc.is_in(events["kind"], pa.array(kinds)), pc.is_valid(events["item"])))
    if chosen.num_rows == 0:
        raise InputError(
            "the history holds nothing that customers took", got=f"no event of {kinds} with an item", do="take some in"
        )
    people = pa.chunked_array([pc.unique(chosen["customer_id"])])
    allowed = people.filter(usable(people, history, purposes=purposes or Purposes(), at=moment))
    chosen = chosen.filter(pc.is_in(chosen["customer_id"], allowed))
    if chosen.num_rows == 0:
        raise InputError(
            "nobody lets what they took be used",
            got=f"{len(people):,} customers without leave for personalization",
            do="see [purposes] of rapport.toml, and ask them",
        )
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        register_by_person(connection, {"taken": chosen}, members=history.members(), until=moment)
        found: pd.DataFrame = (
            connection.execute(
                "SELECT person AS customer_id, item AS item_id, occurred_at AS at, 1.0::DOUBLE AS weight "
                "FROM taken ORDER BY occurred_at, event_id"
            )
            .to_arrow_table()
            .to_pandas()
        )
    return found

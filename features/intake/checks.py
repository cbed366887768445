"""Row checks at intake: a mapped row of a file becomes typed values, or a reason why it can't, all in one query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from features.errors import InputError
from features.facts import ID_PATTERN, KINDS, micros
from features.feature import micros_of
from features.intake.readers import ROW, Opened, Value, shown, texts
from features.intake.sources import Field, Source
from features.sql import literal, literals

#: What each reason code says, in words; codes about one column end in its name, as in ``missing_customer_id``.
REASONS = {
    "unreadable_row": "the line does not fit the columns, or is not a JSON object, or not text in the encoding",
    "missing": "a value that every fact needs is empty",
    "bad": "an id holds other characters than letters, digits and _ . : -, or more than 128",
    "unknown": "the mapping does not say what this value stands for",
    "unreadable": "the value can't be read as a moment, an amount or a number",
    "impossible_local_time": "clocks were put forward over this moment: it never was in the source's zone",
    "implausible_time": "the moment lies before 1900",
    "implausible_amount": "the amount is 10 billion or more",
    "future_time": "the moment lies more than 5 minutes in the future",
    "recorded_before_occurred": "it was recorded before it happened",
    "before_its_cause": "it happened before what it follows: opened before it was sent, returned before it was bought",
    "other_currency": "the amount is in another currency than the project's",
    "negative": "an amount or a number below zero",
    "duplicate_event_id": "the same event stands in the file already",
    "conflicting_event_id": "another event has this id; the first is kept",
    "changed_event": "the event is known already with another amount, item or the like; the first is kept",
    "erased_person": "the customer was erased, and stays so; the row's content is not kept",
}

#: The code of an event that came before with other details.
CHANGED = "changed_event"

#: Name of the SQL function that says what a customer's reply means.
MEANT_BY = "meant_by"

#: Name of the SQL function that makes an id of a text that is none.
DIGEST_OF = "digest_of"

#: How far a clock of another system may run ahead.
CLOCK_TOLERANCE = timedelta(minutes=5)

_EARLIEST = micros(datetime(1900, 1, 1))
_LARGEST_AMOUNT = 10**12
_MICROS = {
    "milliseconds": 1_000,
    "seconds": 1_000_000,
    "minutes": 60_000_000,
    "hours": 3_600_000_000,
    "days": 86_400_000_000,
}
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?"
_WHOLE = r"[+-]?[0-9]{1,15}(\.0*)?"
_ZONED = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?| [A-Za-z][A-Za-z_/]*)$"
# The usual forms of moments that have no room for a zone, as patterns of LIKE.
_WITHOUT_ZONE = ("____-__-_____:__:__", "____-__-__")
_IDS = ("customer_id", "event_id", "item")
_KNOWN_TIMES = ("occurred_at", "recorded_at")
_TIMES = (*_KNOWN_TIMES, "not_before")
_NUMBERS = ("amount", "quantity")
_NEEDED = ("customer_id", "event_id", "kind", "attribute", "granted")
_YES = ("true", "t", "yes", "y", "1", "granted", "opt_in", "opted_in", "subscribed", "ja", "j", "oui", "sí")
#: Words of a consent that says no, where the mapping has none of its own.
NOT_GRANTED = (
    *("false", "f", "no", "n", "0", "denied", "withdrawn", "opt_out", "opted_out", "unsubscribed"),
    *("nein", "non", "nee"),
)
# What may stand around a word without changing it.
_AROUND = " \t\u00a0.!"
_SPEAKERS = ("customer", "agent", "import")
#: What a consent means where the file does not say.
_UNSAID = {"purpose": "contact", "contact_class": "marketing", "said_by": "import"}

Check = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What rows are judged by: ``now`` (what lies later is the future) and the project's ``currency`` ("": any)."""

    now: datetime
    currency: str = ""


def checked_rows(source: Source, opened: Opened, *, rules: Rules) -> str:
    """The query that reads a file, in its order: typed columns and ``reason`` (null: the row is good).

    Columns of a fact that the mapping leaves out are not in the result, but ``recorded_at`` always is, and all of a
    consent's. Attributes come as ``attribute_0``, ``attribute_1``, ... in the order of the mapping. ``original`` is
    what a person sees of a bad row, as a list (``readers.shown``), where the file is dear to read once more.
    """
    columns = {**source.mapped, **attribute_columns(source)}
    taken = [f"{_text(name, each, opened)} AS t_{name}" for name, each in columns.items()]
    typed = {name: _typed(name, each, source=source, opened=opened) for name, each in columns.items()}
    if "recorded_at" not in typed:
        delay = micros_of(source.delay) if source.delay else 0
        typed["recorded_at"] = f"make_timestamptz(epoch_us(occurred_at) + {delay})" if delay else "occurred_at"
    if source.rows == "consents":
        typed |= {name: _told(name, unsaid, typed.get(name)) for name, unsaid in _UNSAID.items()}
    checks = _checks(source, columns, opened=opened, rules=rules)
    reason = "CASE " + " ".join(f"WHEN {test} THEN {literal(code)}" for code, test in checks) + " END"
    kept = shown(opened) if opened.dear else []
    taken += [f"{sql} AS shown_{place}" for place, sql in enumerate(kept)]
    listed = ", ".join(f"shown_{place}" for place in range(len(kept)))
    original = f"CASE WHEN reason IS NOT NULL THEN [{listed}]::VARCHAR[] END"
    return f"""
        WITH taken AS (
            SELECT {opened.readable} AS readable, {", ".join(taken)} FROM {opened.relation} AS {ROW}
        ),
        typed AS (SELECT *, {", ".join(f"{sql} AS {name}" for name, sql in typed.items())} FROM taken),
        judged AS (SELECT *, {reason} AS reason FROM typed)
        SELECT {", ".join(typed)}, reason, {original} AS original FROM judged
    """


def attribute_columns(source: Source) -> dict[str, Field]:
    """The columns of the checked rows that hold wide attributes, in the order of the mapping."""
    return {f"attribute_{place}": each for place, each in enumerate(source.mapped_attributes.values())}


def believable(name: str, *, now: datetime) -> str:
    """SQL: the moment ``name`` was read, lies after 1900, and not in the future."""
    return f"(epoch_us({name}) BETWEEN {_EARLIEST} AND {micros(now + CLOCK_TOLERANCE)})"


def _text(name: str, field: Field, opened: Opened) -> str:
    if field.constant is not None:
        return literal(field.constant)
    if name in _TIMES and (stored := _stored_moment(field, opened)):
        return stored.moment
    text = texts(opened, field.paths, join=field.join)
    return f"CASE WHEN {text} NOT IN ({literals(field.missing)}) THEN {text} END" if field.missing else text


def _typed(name: str, field: Field, *, source: Source, opened: Opened) -> str:
    text = f"t_{name}"
    if name in _TIMES:
        return _moment(field, text, zone=field.zone or source.zone, opened=opened)
    if name == "amount":
        return _amount(field, text)
    if name == "quantity":
        number = f"CAST(try_cast({text} AS DECIMAL(18, 2)) AS BIGINT)"
        return f"CASE WHEN regexp_full_match({text}, '{_WHOLE}') THEN {number} END"
    if field.replies:
        return f"{MEANT_BY}({text})"
    meant = f"{DIGEST_OF}({text})" if field.hashed else _meant(field, text)
    if name == "customer_id" and source.namespace:
        return f"{literal(source.namespace + ':')} || {meant}"
    if name == "granted":
        said = _folded(meant)
        return (
            f"CASE WHEN list_contains([{literals(_YES)}], {said}) THEN true "
            f"WHEN list_contains([{literals(NOT_GRANTED)}], {said}) THEN false END"
        )
    if name == "kind":
        return _kind(meant)
    if name == "currency":
        return f"upper({meant})"
    return f"lower({meant})" if source.rows == "consents" and name in ("channel", *_UNSAID) else meant


def folded(text: str) -> str:
    """A word as it is compared: in small letters, without blanks, a point or an exclamation mark around it.

    >>> folded(" NEIN. "), folded("Opt-Out!")
    ('nein', 'opt-out')
    """
    return text.strip(_AROUND).lower()


def _folded(text: str) -> str:
    return f"lower(trim({text}, {literal(_AROUND)}))"


def _meant(field: Field, text: str) -> str:
    """SQL for what a text stands for: as it is written first, then whatever its capitals."""
    if not field.values:
        return text
    alike: dict[str, set[str]] = {}
    for given, meant in field.values.items():
        alike.setdefault(folded(given), set()).add(meant)
    clear = {word: meanings.pop() for word, meanings in alike.items() if word and len(meanings) == 1}
    other = f"ELSE {literal(field.otherwise)} " if field.otherwise is not None else ""
    loose = f"CASE {_folded(text)} {_whens(clear)} {other}END" if clear else f"CASE WHEN false THEN '' {other}END"
    return f"CASE {text} {_whens(field.values)} ELSE {loose} END"


def _whens(values: Mapping[str, str]) -> str:
    return " ".join(f"WHEN {literal(given)} THEN {literal(meant)}" for given, meant in values.items())


def _kind(meant: str) -> str:
    """SQL for a kind: one that Rapport knows by its own name, however it is written (``Opt-Out``)."""
    known = f"[{literals(KINDS)}]"
    own = f"regexp_replace({_folded(meant)}, '[\\s-]+', '_', 'g')"
    # A long IN becomes a join, which would lose the order of the file.
    return (
        f"CASE WHEN NOT list_contains({known}, {meant}) AND list_contains({known}, {own}) THEN {own} ELSE {meant} END"
    )


def _told(name: str, unsaid: str, typed: str | None) -> str:
    return f"CASE WHEN t_{name} IS NULL THEN {literal(unsaid)} ELSE {typed} END" if typed else literal(unsaid)


def _moment(field: Field, text: str, *, zone: str, opened: Opened) -> str:
    if field.number_of:
        number = f"round(try_cast({text} AS DOUBLE) * {_MICROS[field.number_of]})"
        # Centuries around the origin: more would leave the range of a timestamp.
        return (
            f"CASE WHEN abs({number}) < 4e15 THEN "
            f"make_timestamptz({_origin(field.since)} + CAST({number} AS BIGINT)) END"
        )
    local = _local(field, text, opened=opened)
    if not local:
        tried = f"coalesce({', '.join(_parsed(text, each) for each in field.formats)})" if field.formats else text
        return f"CAST({tried} AS TIMESTAMPTZ)"
    here = f"CAST({local} AS TIMESTAMPTZ)" if zone == "UTC" else f"({local} AT TIME ZONE {literal(zone)})"
    if field.formats or _stored_moment(field, opened):
        return here
    # A letter first would let words such as "epoch" or "infinity" pass as moments.
    digit = f"ascii({text}) BETWEEN 48 AND 57"
    if zone == "UTC":
        plain = " OR ".join(f"{text} LIKE {literal(form)}" for form in _WITHOUT_ZONE)
        quick = f"make_timestamptz(epoch_us(try_cast({text} AS TIMESTAMP)))"  # a third of the time of the other
        return f"CASE WHEN NOT {digit} THEN NULL WHEN {plain} THEN {quick} ELSE try_cast({text} AS TIMESTAMPTZ) END"
    return f"CASE WHEN NOT {digit} THEN NULL WHEN {_zoned(text)} THEN try_cast({text} AS TIMESTAMPTZ) ELSE {here} END"


def _local(field: Field, text: str, *, opened: Opened) -> str:
    """SQL for the moment as a clock on the wall shows it; empty where the value says its own zone."""
    if field.number_of or any("%z" in each.lower() for each in field.formats):
        return ""
    if field.formats:
        return f"coalesce({', '.join(_parsed(text, each) for each in field.formats)})"
    if stored := _stored_moment(field, opened):
        return "" if stored.kind == "TIMESTAMP WITH TIME ZONE" else f"CAST({text} AS TIMESTAMP)"
    return f"try_cast({text} AS TIMESTAMP)"


def _parsed(text: str, form: str) -> str:
    return f"try_strptime({text}, {literal(form)})"


def _zoned(text: str) -> str:
    return f"(contains({text}, ':') AND regexp_matches({text}, '{_ZONED}'))"


def _skipped(name: str, field: Field, *, source: Source, opened: Opened) -> str:
    """SQL: clocks were put forward over this moment, so that it never was; empty where that can't be."""
    zone = field.zone or source.zone
    local = _local(field, f"t_{name}", opened=opened)
    if zone == "UTC" or not local:
        return ""
    plain = "" if field.formats or _stored_moment(field, opened) else f"NOT {_zoned(f't_{name}')} AND "
    return f"{plain}({name} AT TIME ZONE {literal(zone)}) <> {local}"


def _stored_moment(field: Field, opened: Opened) -> Value | None:
    """The value of a field that the file itself stores as a date or a timestamp."""
    if len(field.paths) != 1 or field.formats or field.number_of or field.missing:
        return None
    value = opened.values[field.paths[0]]
    return value if value.moment else None


def _origin(since: str) -> int:
    try:
        return micros(datetime.fromisoformat(since))
    except ValueError as error:
        raise InputError(
            "a moment to count from can't be read", got=repr(since), do="write it as 2018-07-01T00:00:00Z"
        ) from error


def _amount(field: Field, text: str) -> str:
    if field.decimal == ",":
        text = f"replace(replace({text}, '.', ''), ',', '.')"
    # Exact decimals of 18 digits (more take a hundred times as long); round() takes a half away from zero.
    exact = f"try_cast({text} AS DECIMAL(18, 6))"
    cents = (
        f"CAST(round({exact}, 2) * 100 AS BIGINT)" if field.unit == "currency" else f"CAST(round({exact}) AS BIGINT)"
    )
    return f"CASE WHEN regexp_full_match({text}, '{_NUMBER}') THEN {cents} END"


def _checks(source: Source, columns: Mapping[str, Field], *, opened: Opened, rules: Rules) -> list[Check]:
    """Reason codes and what makes a row earn them; of several the first counts."""
    checks: list[Check] = [("unreadable_row", "NOT readable")]
    for name, field in columns.items():
        if name in _NEEDED or (name == "item" and source.rows == "items"):
            checks.append((f"missing_{name}", f"t_{name} IS NULL"))
        if (field.values and name not in _NUMBERS + _TIMES) or name == "granted":
            known = list(source.mapped_attributes)[int(name[10:])] if name.startswith("attribute_") else name
            checks.append((f"unknown_{known}", f"t_{name} IS NOT NULL AND {name} IS NULL"))
        if name in _IDS:
            checks.append((f"bad_{name}", f"{name} IS NOT NULL AND NOT regexp_full_match({name}, '{ID_PATTERN}')"))
        if name in (*_NUMBERS, "not_before"):
            checks.append((f"unreadable_{name}", f"t_{name} IS NOT NULL AND {name} IS NULL"))
    checks += _checks_of_times(source, columns, opened=opened, now=rules.now)
    if "amount" in columns:
        checks.append(("negative_amount", f"amount < 0 AND list_contains([{literals(KINDS)}], kind)"))
        checks.append(("implausible_amount", f"abs(amount) >= {_LARGEST_AMOUNT}"))
    if "quantity" in columns:
        checks.append(("negative_quantity", "quantity < 0"))
    if "currency" in columns and rules.currency:
        checks.append(("other_currency", f"currency <> {literal(rules.currency.upper())}"))
    if source.rows == "consents":  # a no whose channel is unknown stops all; a yes to nothing in particular is none
        checks.append(("missing_channel", "granted AND channel IS NULL"))
        checks.append(("unknown_said_by", f"said_by NOT IN ({literals(_SPEAKERS)}) OR said_by IS NULL"))
    return checks


def _checks_of_times(source: Source, columns: Mapping[str, Field], *, opened: Opened, now: datetime) -> list[Check]:
    checks: list[Check] = []
    for name in _KNOWN_TIMES:
        if name in columns:
            checks.append((f"missing_{name}", f"t_{name} IS NULL"))
            checks.append((f"unreadable_{name}", f"{name} IS NULL"))
            if skipped := _skipped(name, columns[name], source=source, opened=opened):
                checks.append(("impossible_local_time", skipped))
        checks.append(("implausible_time", f"epoch_us({name}) < {_EARLIEST}"))
        checks.append(("future_time", f"epoch_us({name}) > {micros(now + CLOCK_TOLERANCE)}"))
    checks.append(("recorded_before_occurred", "recorded_at < occurred_at"))
    if "not_before" in columns:
        checks.append(("before_its_cause", "occurred_at < not_before"))
    return checks

"""Opt-outs of rows that become no facts: a no is heard whatever else is wrong with its row, its line or its file."""

from __future__ import annotations

import re
from datetime import datetime

import pyarrow as pa

from features.facts import ID_PATTERN, OPT_OUTS, micros
from features.history import History
from features.intake.checks import NOT_GRANTED, believable, folded
from features.intake.lines import tokens
from features.intake.sources import Source
from features.intake.staging import Staged, digest_of
from features.privacy.suppression import ERASED_PERSON
from features.sql import literal

_SAID_IN = {"events": ("kind", {"opt_out"}), "consents": ("granted", set(NOT_GRANTED))}
_SHORTEST = 3
_CONTACT = "coalesce(purpose = 'contact', true)"
_NO = {"events": "kind = 'opt_out'", "consents": f"granted = false AND {_CONTACT}"}
# A consent whose answer can't be read is a no; a row without any answer says nothing.
_UNREAD = {"consents": f"granted IS NULL AND reason <> 'missing_granted' AND {_CONTACT}"}


def keep_opt_outs(staged: Staged, *, history: History, part: str, now: datetime, every: bool, refused: bool) -> int:
    """Keep the opt-outs of bad rows and lines, or of ``every`` row when too many are bad.

    Answers that can't be read are noes, but not in a file that is ``refused`` as a whole: there it is the mapping that
    is wrong, and a no of a file stays when that is mended.

    Returns how many noes can't be heard, because nobody can tell who said them.
    """
    of_lines, unheard = _of_lines(staged, history, part, now)
    unread = None if refused else _UNREAD.get(staged.source.rows)
    said = " OR ".join(f"({each})" for each in (_NO.get(staged.source.rows), unread) if each)
    rows = _of_rows(staged, said=f"({said})", part=part, now=now, every=every) if said else OPT_OUTS.empty_table()
    found = pa.concat_tables([rows, of_lines])
    if found.num_rows:
        history.append_opt_outs(found, part=part)
    if said:
        unheard += staged.count(
            f"({said}) AND reason IS NOT NULL AND reason <> {literal(ERASED_PERSON)} "
            f"AND NOT coalesce(regexp_full_match(customer_id, '{ID_PATTERN}'), false)"
        )
    return unheard


def _of_rows(staged: Staged, *, said: str, part: str, now: datetime, every: bool) -> pa.Table:
    channel = "channel" if "channel" in staged.source.columns else "CAST(NULL AS VARCHAR)"
    if staged.source.rows == "consents":
        channel = "nullif(channel, 'all')"
    found = staged.connection.execute(
        f"""
        SELECT DISTINCT customer_id, {channel} AS channel,
            CASE WHEN {believable("occurred_at", now=now)} THEN occurred_at END AS occurred_at,
            make_timestamptz({micros(now)}) AS recorded_at, {literal(part)} AS origin
        FROM staged
        WHERE {said} AND {"true" if every else "reason IS NOT NULL"}
            AND reason IS DISTINCT FROM {literal(ERASED_PERSON)} AND regexp_full_match(customer_id, '{ID_PATTERN}')
        """
    ).to_arrow_table()
    return found.cast(OPT_OUTS)


def _of_lines(staged: Staged, history: History, part: str, now: datetime) -> tuple[pa.Table, int]:
    """Opt-outs of lines that can't be read, and how many name no account.

    A known account and a word for no stand in them. It may stop a contact that nobody refused, when a value looks like
    another customer's account; the other way round somebody who said no would be contacted.
    """
    source = staged.source
    said = [cells for _, line in staged.lines if _says_no(source, cells := tokens(line))]
    if not said:
        return OPT_OUTS.empty_table(), 0
    named = {_account(source, cell) for cells in said for cell in cells if len(cell) >= _SHORTEST}
    held = " UNION ALL ".join(
        f"SELECT customer_id FROM {history.scan(name)}" for name in ("events", "profile", "consents")
    )
    known = staged.connection.execute(
        f"SELECT DISTINCT customer_id FROM ({held} UNION ALL SELECT customer_id FROM staged WHERE reason IS NULL) "
        "WHERE list_contains(?, customer_id) ORDER BY ALL",
        [sorted(named)],
    ).to_arrow_table()["customer_id"]
    number, heard = len(known), set(known.to_pylist())
    unheard = sum(heard.isdisjoint(_account(source, cell) for cell in cells) for cells in said)
    nothing = pa.nulls(number, pa.string())
    columns = [known, nothing, nothing, pa.array([now] * number), pa.array([part] * number)]
    return pa.table(columns, names=OPT_OUTS.names).cast(OPT_OUTS), unheard


def _account(source: Source, cell: str) -> str:
    own = digest_of(cell) if source.mapped["customer_id"].hashed else cell
    return f"{source.namespace}:{own}" if source.namespace else own


def _says_no(source: Source, cells: list[str]) -> bool:
    """Whether the source tells of nothing but noes, or one of its words for no is among the values of a line."""
    if source.rows not in _SAID_IN:
        return False
    column, words = _SAID_IN[source.rows]
    field = source.mapped[column]
    own = {folded(word) for word, meaning in field.values.items() if folded(meaning) in words}
    said = {folded(cell) for cell in cells}
    return field.constant in words or not (own or words).isdisjoint(
        said | {re.sub(r"[\s-]+", "_", each) for each in said}
    )

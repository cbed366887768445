"""The market's year as raw exports: a file per source system, each in its own shape, and the sources that map them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from experiments.market.crm import ATTRIBUTES, crm, known_twice, second_ids
from experiments.market.market import Market
from experiments.market.systems import SYSTEMS, System
from features.errors import InputError

#: Systems that know people by a card or a login: there a second id turns up in half of the rows.
_FORGETFUL = ("web", "store")


def write_exports(market: Market, folder: str | Path, *, weeks: int = 52) -> dict[str, int]:
    """Write ``weeks`` of history as exports into ``folder``, week by week; the rows of each file.

    Beside the six systems' files there are ``crm.csv``, ``sources.toml`` (the ``[[source]]`` tables that take all of it
    in), and, with identity noise, ``identities.csv``: the truth of who is who. Files appear when all are complete.
    """
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".market-") as scratch:
            written = _write(market, Path(scratch), weeks)
            for name in written:
                (Path(scratch) / name).replace(target / name)
    except OSError as error:
        raise InputError("the exports can't be written", got=str(error), do="pass a folder you may write") from error
    return written


def sources_toml() -> str:
    """The ``[[source]]`` tables of all files, to be put into a project's ``rapport.toml``."""
    attributes = "\n".join(f'{ours} = "{theirs}"' for theirs, ours in ATTRIBUTES.items())
    profile = (
        '[[source]]\nname = "crm"\nfile = "crm.csv"\nrows = "profile"\ndelimiter = ","\n'
        '[source.columns]\ncustomer_id = "customer_no"\noccurred_at = "known"\n'
        f"[source.attributes]\n{attributes}\n"
    )
    return "\n".join([*(system.source() for system in SYSTEMS), profile])


def _write(market: Market, folder: Path, weeks: int) -> dict[str, int]:
    counts = dict.fromkeys((system.file for system in SYSTEMS), 0)
    with ExitStack() as files:
        writers: dict[str, Callable[[pa.Table], None]] = {}
        for events in market.history_weeks(weeks):
            known = _muddled(market, events)
            for system in SYSTEMS:
                rows = system.export(known)
                if system.file not in writers:
                    writers[system.file] = files.enter_context(_writer(folder / system.file, system, rows.schema))
                writers[system.file](rows)
                counts[system.file] += rows.num_rows
    people = crm(market)
    csv.write_csv(people, folder / "crm.csv")
    (folder / "sources.toml").write_text(sources_toml(), encoding="utf-8")
    tables = {**counts, "crm.csv": people.num_rows, "sources.toml": len(SYSTEMS) + 1}
    if not market.spec.identity_noise:
        return tables
    records = people["customer_no"]
    who = pc.replace_substring_regex(records, pattern="^x", replacement="c")
    csv.write_csv(pa.table({"record_id": records, "customer_id": who}), folder / "identities.csv")
    return {**tables, "identities.csv": people.num_rows}


@contextmanager
def _writer(path: Path, system: System, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    if path.suffix == ".parquet":
        with pq.ParquetWriter(path, schema, compression="zstd") as parquet:
            yield parquet.write_table
        return
    options = csv.WriteOptions(delimiter=system.delimiter, quoting_style="needed")
    compression = "gzip" if path.suffix == ".gz" else None
    with (
        pa.output_stream(str(path), compression=compression) as stream,
        csv.CSVWriter(stream, schema, write_options=options) as text,
    ):
        yield text.write_table


def _muddled(market: Market, events: pa.Table) -> pa.Table:
    """The events as the systems saw them: people who are known twice come under either id, by turns of the event."""
    twice = known_twice(market)
    if not twice.any():
        return events
    places = market.places(events["customer_id"])
    turn = np.asarray(pc.cast(events["event_id"], pa.int64())) // 7 % 2 == 1
    forgetful = np.asarray(pc.is_in(events["source"], value_set=pa.array(_FORGETFUL)))
    ids = pc.if_else(
        pa.array(twice[places] & turn & forgetful), second_ids(events["customer_id"]), events["customer_id"]
    )
    return events.set_column(events.schema.get_field_index("customer_id"), events.schema.field("customer_id"), ids)

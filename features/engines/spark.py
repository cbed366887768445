"""Features of a spine on Spark: the same compiled query over the same parts, read by the workers of a cluster."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.engines.owners import household_accounts, own_accounts
from features.engines.query import BITS, Tables, compile_features, longest_window
from features.errors import InputError
from features.feature import Column
from features.history import History
from features.spine import refuse_clash, spine_keys

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

#: Spark on this machine alone.
LOCAL = "local[*]"
_SETTINGS = {
    "spark.app.name": "rapport features",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.maxResultSize": "0",
}
_TIMES = {"occurred": "occurred_at", "recorded": "recorded_at", "since": "since", "until": "until"}


class Spark:
    """The engine on a Spark session, which stays as it is: settings and views are those of a session beside it.

    Every worker must see the history's folder under the same path. ::

        with session("spark://host:7077") as running:
            table = features.offline(history, spine, engine=Spark(running))
    """

    def __init__(self, session: SparkSession) -> None:
        self._session = session

    def values(self, columns: Sequence[Column], history: History, keys: pa.Table, *, bits: int | None) -> pa.Table:
        """``row``, ``columns`` and ``n_events`` of each row of ``keys`` (``spine_keys``), by row."""
        with _told(history):
            found = self._frame(columns, history, keys, bits=bits).toArrow()
        return found.take(pc.sort_indices(found["row"]))

    def write(
        self, columns: Sequence[Column], history: History, spine: pa.Table, out: Path, *, bits: int | None = BITS
    ) -> None:
        """Write ``spine`` with ``columns`` to the Parquet file ``out``: what ``offline`` gives, in bounded memory.

        The workers write the values into a folder beside ``out``, from which they go into the one file piece by piece.
        """
        refuse_clash(spine, tuple(each.name for each in columns))
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name[:40]}.") as scratch:
            parts, whole = Path(scratch) / "parts", Path(scratch) / "whole"
            with _told(history):
                frame = self._frame(columns, history, spine_keys(spine), bits=bits)
                frame.orderBy("row").write.parquet(f"file://{parts.resolve()}")
            most = _joined(spine, columns, sorted(parts.glob("*.parquet")), to=whole)
            if bits is None or most < 1 << bits:
                whole.replace(out)
                return
        self.write(columns, history, spine, out, bits=None)

    def _frame(self, columns: Sequence[Column], history: History, keys: pa.Table, *, bits: int | None) -> DataFrame:
        session = self._session.newSession()
        session.conf.set("spark.sql.session.timeZone", "UTC")
        session.createDataFrame(keys).createOrReplaceTempView("spine")
        last, longest = pc.max(keys["as_of"]).as_py() or 0, longest_window(columns)
        known = f"occurred_at < timestamp_micros({last})"
        if longest is not None:
            known += f" AND occurred_at >= timestamp_micros({(pc.min(keys['as_of']).as_py() or 0) - longest})"
        _view(session, history, Tables.events, known=known)
        _view(session, history, Tables.profile)
        _owners(session, history)
        return session.sql(_sql(compile_features(columns, bits=bits)))


@contextmanager
def session(master: str = LOCAL, *, settings: Mapping[str, str] | None = None) -> Iterator[SparkSession]:
    """A Spark session on ``master``, such as ``local[*]`` or ``spark://host:7077``, that is stopped at the end.

    ``settings``: of Spark, such as ``spark.executor.memory``, beside those of its own configuration files. What Spark
    logs stays off the terminal; what it said is told when it doesn't start.

    Raises
    ------
    InputError
        When pyspark or Java 17 is missing, or the master doesn't answer.
    """
    try:
        from py4j.protocol import Py4JError
        from pyspark import SparkConf, SparkContext
        from pyspark.errors import PySparkException
        from pyspark.java_gateway import launch_gateway
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise InputError(
            "Spark is not installed", got=str(error), do="run 'make spark', or install the extra 'spark'; or use duckdb"
        ) from error
    conf = SparkConf().setAll(list((_SETTINGS | dict(settings or {}) | {"spark.master": master}).items()))
    with tempfile.TemporaryFile() as log:
        try:
            if SparkContext._gateway is None:  # one JVM for a process, as pyspark has it; it ends with the process
                SparkContext._gateway = launch_gateway(conf, {"stdout": log, "stderr": log})
                SparkContext._jvm = SparkContext._gateway.jvm
            running = SparkSession(SparkContext(conf=conf))
        except (PySparkException, Py4JError, ValueError, OSError) as error:
            raise InputError(
                "Spark did not start", got=_why(log, error), do="check --master, and that java is that of a JDK 17"
            ) from error
    try:
        yield running
    finally:
        running.stop()


def _why(log: IO[bytes], error: Exception) -> str:
    log.seek(0)
    return _named(log.read().decode("utf-8", errors="replace")) or _named(str(error)) or type(error).__name__


def _named(told: str) -> str:
    """The line of what Spark told that names the error, else the first."""
    lines = [line.strip(" :") for line in told.strip().splitlines()]
    return next((line for line in lines if "Exception" in line or "JAVA_HOME" in line), "".join(lines[:1]))[:300]


@contextmanager
def _told(history: History) -> Iterator[None]:
    """What goes wrong on the cluster is the user's to mend."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise InputError(
            "Spark could not compute the features",
            got=_named(str(error)),
            do=f"check that every worker sees {history.folder.resolve()} and has memory left; or use duckdb",
        ) from error


def _view(session: SparkSession, history: History, table: ir.Table, *, known: str = "true") -> None:
    """The view of one of ``Tables`` over the parts of the history, its times as microseconds of the epoch."""
    name, parts = table.get_name(), history.parts(table.get_name())
    if not parts:
        nulls = ", ".join(f"CAST(NULL AS {_sql_type(kind)}) AS {column}" for column, kind in table.schema().items())
        session.sql(f"SELECT {nulls} WHERE false").createOrReplaceTempView(name)
        return
    columns = [f"unix_micros({_TIMES[each]}) AS {each}" if each in _TIMES else each for each in table.columns]
    # Not as_uri(): Spark takes a % for what it is.
    # By the names of the schema, so that a part from before a column was there holds nulls in it.
    schema = ", ".join(
        f"{_TIMES.get(each, each)} {'TIMESTAMP' if each in _TIMES else _sql_type(kind)}"
        for each, kind in table.schema().items()
    )
    read = session.read.schema(schema).parquet(*(f"file://{part.resolve()}" for part in parts))
    read.where(known).selectExpr(*columns).createOrReplaceTempView(name)


def _owners(session: SparkSession, history: History) -> None:
    if not history.parts("members"):
        for name in ("own", "household"):
            session.table("spine").createOrReplaceTempView(name)
        return
    _view(session, history, Tables.members)
    for name, query in (("own", own_accounts()), ("household", household_accounts())):
        session.sql(_sql(query)).createOrReplaceTempView(name)


def _sql(query: ir.Table) -> str:
    return str(ibis.pyspark.compile(query))


def _sql_type(kind: object) -> str:
    return "BIGINT" if str(kind) == "int64" else "STRING"


def _joined(spine: pa.Table, columns: Sequence[Column], parts: Sequence[Path], *, to: Path) -> int:
    """Write the rows of ``spine`` beside the values in ``parts``, which are in their order; returns the most events."""
    fields = [pa.field(each.name, each.type) for each in columns]
    schema = pa.schema([*spine.schema, *fields])
    start = most = 0
    with pq.ParquetWriter(to, schema, compression="zstd") as writer:
        for part in parts:
            for batch in pq.ParquetFile(part).iter_batches():
                values = [batch[field.name].cast(field.type) for field in fields]
                beside = spine.slice(start, batch.num_rows).combine_chunks()
                writer.write_table(pa.table([*beside.columns, *values], schema=schema))
                start, most = start + batch.num_rows, max(most, pc.max(batch["n_events"]).as_py() or 0)
    return most

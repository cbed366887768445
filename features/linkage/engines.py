"""The engines that compare records: Splink on DuckDB, or on Spark."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import duckdb
import pyarrow as pa

from features.errors import InputError
from features.linkage.blocking import PAIRS
from features.linkage.comparisons import Comparison

EngineName = Literal["duckdb", "spark"]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Where tables of a linkage lie and are compared; ``api`` is Splink's own to the database."""

    api: Any

    def table(self, rows: pa.Table) -> Any:
        """``rows`` in the engine, as Splink's table."""
        return self.api.register(rows)

    def query(self, sql: str) -> Any:
        """What ``sql`` finds, kept in the engine as Splink's table."""
        return self.api.query_sql(sql)

    def pairs(self, keys: Any, *, drawn: Any, other_source: bool, records: Any) -> Any:
        """All pairs of records that share a key, and those that were drawn, each once per kind (``match_key``)."""
        pairs = PAIRS.format(keys=keys.physical_name)
        if other_source:
            name = records.physical_name
            pairs = (
                f"SELECT join_key_l, join_key_r FROM ({pairs}) AS p JOIN {name} AS l ON l.record = join_key_l "
                f"JOIN {name} AS r ON r.record = join_key_r WHERE l.source <> r.source"
            )
        return self.query(
            f"SELECT '0' AS match_key, join_key_l, join_key_r FROM ({pairs}) AS p UNION ALL "
            f"SELECT '1' AS match_key, join_key_l, join_key_r FROM {drawn.physical_name}"
        )

    def compared(self, records: Any, pairs: Any, comparisons: Sequence[Comparison]) -> Any:
        """The level of each comparison for each pair: columns record_l, record_r, match_key, level_<name>."""
        from splink import Linker, SettingsCreator
        from splink import comparison_level_library as library
        from splink.comparison_library import CustomComparison

        settings = SettingsCreator(
            link_type="dedupe_only",
            unique_id_column_name="record",
            comparisons=[CustomComparison(_levels(one, library), output_column_name=one.name) for one in comparisons],
            retain_matching_columns=False,
            retain_intermediate_calculation_columns=True,
        )
        linker = Linker(records, settings, log_level=None, validate_settings=False)
        linker.table_management.register_blocked_pairs_for_predict(pairs)
        found = linker.inference.predict(warning_mode="never")
        levels = ", ".join(f"CAST(round(mw_{one.name}) AS INT) AS level_{one.name}" for one in comparisons)
        return self.query(f"SELECT record_l, record_r, match_key, {levels} FROM {found.physical_name}")


def _levels(one: Comparison, library: Any) -> list[Any]:
    """Splink's levels of a comparison, whose weights are their numbers, as Splink hands on weights but no levels."""
    levels = [library.NullLevel(one.name)]
    for place, level in enumerate(one.levels, start=1):
        levels.append(level.condition(library).configure(m_probability=0.5, u_probability=0.5 / 2**place))
    return levels


@contextmanager
def engine(name: EngineName, connection: duckdb.DuckDBPyConnection) -> Iterator[Engine]:
    """The engine of that name; DuckDB uses ``connection``, Spark a session of its own on this machine's cores."""
    if name == "duckdb":
        from splink import DuckDBAPI

        yield Engine(api=DuckDBAPI(connection))
        return
    with _spark() as session:
        from splink import SparkAPI

        yield Engine(api=SparkAPI(spark_session=session, break_lineage_method="persist"))


@contextmanager
def _spark() -> Iterator[Any]:
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise InputError(
            "the Spark engine is not installed", got=str(error), do="install rapport[spark] and Java 17, or use duckdb"
        ) from error
    from splink.backends.spark import similarity_jar_location

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = (
            SparkSession.builder.appName("rapport link")
            .config("spark.jars", similarity_jar_location())
            .config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", "8")
            .getOrCreate()
        )
        session.sparkContext.setLogLevel("ERROR")
        try:
            yield session
        finally:
            session.stop()

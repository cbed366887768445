"""Spark finds what DuckDB finds, to the last digit: two workers, each a process of its own, on this machine."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import EVENTS, PROFILE, Feature, FeatureSet, History, standard_features
from features.engines.spark import Spark, session
from features.facts import MEMBERS
from features.feature import Aggregate

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# pyspark leaves the sockets by which results come to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ACCOUNTS = ("anna", "ben", "Ötzi", "web:1", "card-7", "zoë")
FEATURES = FeatureSet.of(
    Feature(name="visits", where={"kind": "visit"}, windows=("1h", "1d", "7d", "30d")),
    Feature(name="ever"),
    Feature(name="nights", where={"hour": ("0", "1", "23"), "channel": "web"}, windows=("30d",)),
    Feature(name="pieces", aggregate="sum", of="quantity"),
    Feature(name="things", aggregate="distinct", of="item", windows=("7d",)),
    Feature(name="mostly", aggregate="most_common", of="channel", where={"channel": ("web", "store", "é")}),
    Feature(name="acme", where={"brand": ("Acme", "acme")}, windows=("30d",)),
    Feature(name="home_size", aggregate="distinct", of="customer_id", scope="household"),
    Feature(name="since_recent", aggregate="seconds_since_last", windows=("1h", "1d")),
    Feature(name="first_visit", aggregate="seconds_since_first", where={"kind": ("visit", "open")}),
    Feature(name="home_money", aggregate="sum", of="amount", windows=("1d", "30d"), scope="household"),
    Feature(name="gender", aggregate="latest", of="gender"),
    Feature(name="age", aggregate="latest", of="age", integer=True),
)
# For a run of seconds: compiling what Spark writes for each stage takes longer than interpreting it.
BRIEF = {
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[SparkSession]:
    """A cluster of two workers with one core each."""
    pyspark = pytest.importorskip("pyspark", reason="Spark is not installed: make spark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17, and there is no java on the PATH")
    with session("local-cluster[2,1,1024]", settings=BRIEF) as running:
        application = running.sparkContext.applicationId
        yield running
    gc.collect()
    shutil.rmtree(Path(pyspark.__file__).parent / "work" / application, ignore_errors=True)


def moments(rng: np.random.Generator, size: int) -> list[datetime]:
    """On a coarse grid with a microsecond on either side: ties with as_of and with window edges are frequent."""
    hours, micros = rng.integers(0, 2_400, size), rng.choice([-1, 0, 0, 1], size)
    return [
        START + HOUR * int(hour) + timedelta(microseconds=int(micro)) for hour, micro in zip(hours, micros, strict=True)
    ]


def history_of(rng: np.random.Generator, folder: Path, *, size: int) -> History:
    def pick(*values: object) -> list[object]:
        return [values[place] for place in rng.integers(0, len(values), size)]

    events = {
        "event_id": [f"e{place}" for place in range(size)],
        "customer_id": pick(*ACCOUNTS),
        "kind": pick("visit", "purchase", "contact", "open", "search", "return", "other"),
        "occurred_at": moments(rng, size),
        "recorded_at": moments(rng, size),
        "channel": pick("web", "store", "é", "", None),
        "item": pick("i1", "i2", "I2", "ï", "", None),
        "category": pick("shoes", "toys", None),
        "brand": pick("Acme", "acme", None),
        "amount": pick(-500, 0, 1, 10**12, None),
        "quantity": pick(0, 1, 9, None),
        "source": pick("till", None),
    }
    profile = {
        "customer_id": pick(*ACCOUNTS),
        "attribute": pick("gender", "age"),
        "value": pick("f", "m", "é", "z", "41", "-7", "4.5", " 3", "3\n", "9" * 18, "9" * 19, "", None),
        "occurred_at": [START + timedelta(days=int(day)) for day in rng.integers(0, 20, size)],
        "recorded_at": [START + timedelta(days=int(day)) for day in rng.integers(0, 20, size)],
        "source": pick(None),
    }
    history = History(folder)
    table = pa.table({name: pa.array(events[name], EVENTS.field(name).type) for name in EVENTS.names})
    history.append(table.slice(0, size // 2), part="till:2024-01-01")
    (old,) = history.parts("events")  # as it was written before events had a brand
    pq.write_table(pq.read_table(old).drop_columns(["brand"]), old)
    history.append(table.slice(size // 2), part="later")
    history.append_profile(
        pa.table({name: pa.array(profile[name], PROFILE.field(name).type) for name in PROFILE.names}), part="all"
    )
    return history


def link(history: History, rng: np.random.Generator) -> None:
    """Persons and a household whose links come and go."""
    rows = []
    for strength, group, accounts in (
        ("personalize", "anna", ("anna", "web:1", "card-7")),
        ("personalize", "zoë", ("zoë", "web:1")),
        ("household", "anna", ("anna", "ben")),
    ):
        since, until = sorted(moments(rng, 2))
        rows += [(strength, account, group, since, until) for account in accounts]
        rows += [(strength, account, group, until + 9 * HOUR, None) for account in accounts[:2]]
    (history.folder / "members").mkdir()
    table = pa.Table.from_pylist([dict(zip(MEMBERS.names, row, strict=True)) for row in rows], schema=MEMBERS)
    pq.write_table(table, history.folder / "members" / "all.parquet")


def spine_of(rng: np.random.Generator, *, size: int) -> pa.Table:
    names = [(*ACCOUNTS, "nobody")[place] for place in rng.integers(0, len(ACCOUNTS) + 1, size)]
    as_of = pa.array(moments(rng, size), pa.timestamp("us", tz="UTC"))
    return pa.table({"label": np.arange(size), "customer_id": names, "as_of": as_of})


@pytest.mark.timeout(900)  # three JVMs on a machine that may be busy
def test_two_workers_find_what_duckdb_finds(cluster: SparkSession, tmp_path: Path) -> None:
    assert {each.feature.aggregate for each in FEATURES.columns} == set(get_args(Aggregate))
    rng = np.random.default_rng(11)
    history = history_of(rng, tmp_path / "a folder", size=2_000)
    link(history, rng)
    spine = spine_of(rng, size=300)
    expected = FEATURES.offline(history, spine)
    assert FEATURES.offline(history, spine, engine=Spark(cluster)).equals(expected)
    # With 2 bits a band holds 3 events only: the guard must see it and count window by window.
    Spark(cluster).write(FEATURES.columns, history, spine, tmp_path / "out" / "t.parquet", bits=2)
    assert pq.read_table(tmp_path / "out" / "t.parquet").equals(expected)
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["t.parquet"]
    # The driver and both workers, each a process of its own, were there for it.
    assert cluster.sparkContext._jsc.sc().getExecutorMemoryStatus().size() == 3

    empty, few = History(tmp_path / "empty"), FEATURES.select(["ever", "gender"])
    assert few.offline(empty, spine, engine=Spark(cluster)).equals(few.offline(empty, spine))

    wide, some = standard_features(categories=("shoes", "toys")), spine.slice(0, 40)  # as a new project has them
    assert wide.offline(history, some, engine=Spark(cluster)).equals(wide.offline(history, some))


def test_spark_that_does_not_start_is_told(
    rapport_cli: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyspark = pytest.importorskip("pyspark", reason="Spark is not installed: make spark")
    monkeypatch.setattr(pyspark.SparkContext, "_gateway", None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "no-java"))
    rapport_cli("init", tmp_path / "shop")
    spine = tmp_path / "spine.csv"
    spine.write_text("customer_id,as_of\nanna,2024-05-01\n", encoding="utf-8")
    ran = rapport_cli(
        "features", "--project", tmp_path / "shop", "--spine", spine, "--out", tmp_path / "t.csv", "--engine", "spark"
    )
    told = " ".join(ran.stderr.split())
    assert ran.exit_code == 2
    assert "Spark did not start" in told and "java" in told and "Traceback" not in told

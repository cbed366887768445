"""The record of every experiment and every look at it, in MLflow: enough to make each report again."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from experiments.design import Experiment
from experiments.report import Decided, LookPoint, Report, decision, look_points, numbers_csv, numbers_json, render
from experiments.report.words import day
from experiments.results import Verdict
from features.errors import InputError, unknown
from features.tracking import TrackingStore

PREFIX = "experiments/"
_KEY_LENGTH = 80
_KIND, _DIGEST = "rapport.kind", "rapport.report_sha256"
_INTERVALS = (
    "difference",
    "ci_low",
    "ci_high",
    "sequential_ci_low",
    "sequential_ci_high",
    "anytime_ci_low",
    "anytime_ci_high",
    "highest",
)
_P_VALUES = ("p_value", "sequential_p_value", "anytime_p_value", "adjusted_p_value")


@dataclass(frozen=True)
class ExperimentRecord:
    """The MLflow experiment of one design; each look becomes one run.

    Usage: ``ExperimentRecord(tracking, experiment).log_look(report, digests={"data": table_digest(outcomes)})``.
    """

    tracking: TrackingStore
    experiment: Experiment
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", PREFIX + self.experiment.key)

    def log_look(self, report: Report, *, digests: Mapping[str, str] = {}) -> str:
        """Log one look, with the report and all that is needed to make it again; the id of the run.

        Parameters
        ----------
        report: what the look found; where it comes from is added to its provenance.
        digests: sha256 of what it was made from, by name, such as ``data``, ``policy`` and ``consent``; those of the
            design and of the code are added.
        """
        if report.experiment.key != self.experiment.key:
            raise InputError(
                "the report is of another experiment",
                got=f"{report.experiment.key!r} for the record of {self.experiment.key!r}",
                do="use the record of its own design",
            )
        run = f"look {report.look}, {day(report.as_of)}"
        made_from = {**digests, "design": _sha256(_canonical(report.experiment)), "code": code_digest()}
        whole = replace(report, provenance=(*report.provenance, *self._provenance(run, made_from)))
        # The page is made from what a reader of the record will have (1 where the field is a float becomes 1.0).
        whole = _decode(_encode(whole))
        page = render(whole)
        return self.tracking.log_run(
            self.name,
            name=run,
            params=_params(whole) | {f"sha256_{name}": digest for name, digest in made_from.items()},
            metrics=dict(_metrics(whole)),
            tags={_KIND: "look", _DIGEST: _sha256(page.encode()), "rapport.verdict": decision(whole).code},
            artifacts={
                "report.html": page,
                "report.json": _encode(whole),
                "numbers.json": json.dumps(numbers_json(whole), indent=1, allow_nan=False),
                "numbers.csv": numbers_csv(whole),
            },
        )

    def looks(self) -> list[str]:
        """The ids of the runs of all looks, oldest first."""
        return _runs(self.tracking, self.name)

    def close_killed(self) -> None:
        """Mark the looks that were stopped in the middle as killed; for who looks alone, as one that goes on is too."""
        client = self.tracking.client
        found = client.get_experiment_by_name(self.name)
        if found is not None:
            left = client.search_runs([found.experiment_id], filter_string="attributes.status = 'RUNNING'")
            for run in left:
                client.set_terminated(run.info.run_id, status="KILLED")

    def past_looks(self, *, before: datetime | None = None) -> tuple[LookPoint, ...]:
        """The points of all looks in the record, oldest first, for the chart over time of the next one.

        ``before``: those as of an earlier moment only, so that a report as of a day does not change with later looks.
        Of two looks as of one moment the newest stands.
        """
        found = (read_report(self.tracking, run_id) for run_id in self.looks())
        newest = {report.as_of: report for report in found if before is None or report.as_of < before}
        reports = newest.values()
        return tuple(
            point
            for report in reports
            for point in look_points(report.analysis, experiment=report.experiment, as_of=report.as_of)
        )

    def decided(self, *, before: datetime) -> Decided | None:
        """What the first look since the planned end decided whose numbers could be trusted; None where none did yet."""
        for report in (read_report(self.tracking, run_id) for run_id in self.looks()):
            told = decision(report)
            if report.planned_look and report.as_of < before and told.code != "do_not_trust":
                return Decided(as_of=report.as_of, verdict=Verdict(code=told.code, sentence=told.sentence))
        return None

    def _provenance(self, run: str, digests: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        yield "MLflow", f"experiment {self.name}, run {run}"
        yield "Rapport", _version()
        for name, digest in digests.items():
            yield f"{name} (sha256)", digest


def recorded_experiments(tracking: TrackingStore) -> tuple[str, ...]:
    """The keys of the experiments that have a record."""
    found = tracking.client.search_experiments(filter_string=f"name LIKE '{PREFIX}%'")
    return tuple(sorted(str(each.name).removeprefix(PREFIX) for each in found))


def find_look(tracking: TrackingStore, key: str, *, run_id: str | None = None) -> str:
    """The id of the run of the newest look at an experiment, or ``run_id`` when it is one of its looks.

    Raises
    ------
    InputError
        When the experiment has no record (the near ones are named), no look, or not that one.
    """
    known = recorded_experiments(tracking)
    if key not in known:
        raise unknown("experiment", key, known, do="look at it once, then it has a record")
    runs = _runs(tracking, PREFIX + key)
    if not runs:
        raise InputError(
            f"nobody has looked at {key!r} yet",
            got="a record without looks",
            do=f"take one: rapport report {key} --look",
        )
    if run_id is not None and run_id not in runs:
        raise unknown("run", run_id, reversed(runs), do="pass one of its looks, or leave --run away for the newest")
    return run_id or runs[-1]


def read_report(tracking: TrackingStore, run_id: str) -> Report:
    """The report of a look, from its run alone."""
    try:
        return _decode(tracking.read_artifact(run_id, "report.json"))
    except (msgspec.ValidationError, json.JSONDecodeError) as error:
        raise InputError(
            f"the report of run {run_id} can't be read", got=str(error), do="use the version of Rapport that logged it"
        ) from error


def unchanged(tracking: TrackingStore, run_id: str, *, page: str) -> bool:
    """Whether ``page`` is the one that the run was logged with."""
    return bool(tracking.client.get_run(run_id).data.tags.get(_DIGEST) == _sha256(page.encode()))


def table_digest(table: pa.Table) -> str:
    """The sha256 of a table's schema and values, in hex, however it is cut into chunks."""
    whole = table.combine_chunks().replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, whole.schema) as stream:
        stream.write_table(whole)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def code_digest() -> str:
    """The sha256 over the files of this package, in hex."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".py", ".j2", ".css"}:
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _runs(tracking: TrackingStore, name: str) -> list[str]:
    found = tracking.client.get_experiment_by_name(name)
    if found is None:
        return []
    # A look that was stopped in the middle has no report: it was none.
    runs = tracking.client.search_runs(
        [found.experiment_id],
        filter_string=f"tags.`{_KIND}` = 'look' AND attributes.status = 'FINISHED'",
        max_results=5000,
    )
    runs = sorted(runs, key=lambda run: (run.data.params["as_of"], int(run.data.params["look"]), run.info.start_time))
    return [str(run.info.run_id) for run in runs]


def _params(report: Report) -> dict[str, Any]:
    design = report.experiment
    return {
        "look": report.look,
        "as_of": report.as_of.isoformat(),
        "title": design.title,
        "hypothesis": design.hypothesis,
        "control": design.control,
        "personalized": design.headline_arm,
        "arms": json.dumps(design.shares),
        "goal": report.goal.metric,
        "stop_rule": design.interval_kind,
        "alpha": design.alpha,
        "unit": design.unit,
        "verdict": decision(report).code,
        "simulated": report.simulated,
        "rapport_version": _version(),
    }


def _metrics(report: Report) -> Iterator[tuple[str, float]]:
    """Every finite number of the look under a name that MLflow takes."""
    design, rows = report.experiment, report.analysis.metrics
    arms = _keys((*design.arm_names, *(row.arm for row in rows), *(money.arm for money in report.money)))
    goals = _keys((*(each.metric for each in design.measures), *(row.metric for row in rows)))
    for arm in report.analysis.arms:
        yield f"units/{arms[arm.arm]}", float(arm.n)
    for row in report.analysis.metrics:
        for name in ("arm_mean", "control_mean", *_INTERVALS, *_P_VALUES):
            value = getattr(row, name)
            if value is not None and math.isfinite(value):
                yield f"{goals[row.metric]}/{arms[row.arm]}/{name}", float(value)
    if math.isfinite(report.analysis.srm.p_value):
        yield "health/srm_p_value", report.analysis.srm.p_value
    for colour in ("green", "yellow", "red"):
        yield f"health/{colour}", float(sum(check.status == colour for check in report.checks))
    for money in report.money:
        yield f"money/{arms[money.arm]}/profit_cents", float(money.profit)


def _keys(names: Iterable[str]) -> dict[str, str]:
    """A part of a metric's name for each of ``names``, in which they stay apart; of one design always the same.

    MLflow takes letters, digits and a few signs, in parts that are no dots alone, and 250 characters in all.
    """
    found: dict[str, str] = {}
    for name in names:
        if name not in found:
            plain = re.sub(r"[^\w.-]+|^\.+$", "_", name)[:_KEY_LENGTH]
            taken = {key.casefold() for key in found.values()}
            spellings = (plain, *(f"{plain}_{number}" for number in range(2, len(taken) + 2)))
            found[name] = next(each for each in spellings if each.casefold() not in taken)
    return found


def _encode(report: Report) -> str:
    """JSON with every digit; NaN stays NaN, as Python's own reader takes it."""
    return json.dumps(msgspec.to_builtins(report), indent=1)


def _decode(raw: str | bytes) -> Report:
    return msgspec.convert(json.loads(raw), Report)


def _canonical(design: Experiment) -> bytes:
    return json.dumps(design.told, sort_keys=True).encode()


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _version() -> str:
    try:
        return version("rapport")
    except PackageNotFoundError:
        return "not installed"

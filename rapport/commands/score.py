"""``rapport score``: decisions for a whole customer base, or plain scores of a table."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    import pyarrow as pa

    from rapport.people.base import Base
    from rapport.project import Project
    from serving.ledger import Ledger
    from serving.reasons import Reason
    from serving.scoring import Scorer
    from serving.trials import Trials


_YEARS = (1900, 2200)  # of decisions; features and limits look years back and ahead of them


class Engine(StrEnum):
    """What computes the features."""

    duckdb = "duckdb"


def score(
    out: Annotated[Path, typer.Option(metavar="TABLE", help="Where to write: .parquet, .csv or .csv.gz.")],
    project: Annotated[Path, typer.Option(metavar="DIR", help="The project folder.")] = Path(),
    customers: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Whom to decide on: customer_id, and if known household_id, segment, time_zone. Everybody without it.",
        ),
    ] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="The moment, as 2026-11-21T09:00:00Z; now.")] = None,
    experiment: Annotated[str | None, typer.Option(metavar="KEY", help="The experiment that decides.")] = None,
    top: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Rank the N best treatments of each customer; nothing is recorded."),
    ] = None,
    unpromoted: Annotated[
        bool, typer.Option("--unpromoted", help="Without a champion, let the newest model serve, though not promoted.")
    ] = False,
    seed: Annotated[str | None, typer.Option(help="Name of the run: the same again gives the same decisions.")] = None,
    engine: Annotated[Engine, typer.Option(help="What computes the features.")] = Engine.duckdb,
    model: Annotated[Path | None, typer.Option(metavar="BUNDLE", help="Score --data with this model alone.")] = None,
    data: Annotated[Path | None, typer.Option(metavar="TABLE", help="Rows to score with --model.")] = None,
    json: JsonFile = None,
) -> None:
    """Decide for a whole customer base through the same function as the service, and write the decisions.

    Every decision is recorded in the project's ledger and takes its contact slot. With --top: only a ranking by
    expected incremental profit, which asks for no eligibility, consent or limits. With --model and --data: only the
    response probabilities of a table, without a project.

    Example: rapport score --project shop --at 2026-11-23T09:00:00Z --out decisions.parquet
    """
    from features.errors import InputError

    _require_writable(out)  # before anything is decided: what is recorded would take slots and reach nobody
    if (model is None) != (data is None):
        raise InputError("--model and --data go together", got="one of them", do="pass both, or neither")
    if model is not None and data is not None:
        _plain(model, data, out=out, json=json)
        return
    from rapport.project import load_project

    if top is not None:
        if experiment is not None or seed is not None:
            raise InputError("--top ranks, and decides nothing", got="--experiment or --seed", do="leave them out")
        found = load_project(project)
        _rank(found, customers=customers, at=moment_of(at), top=top, unpromoted=unpromoted, out=out, json=json)
        return
    _decide(
        load_project(project),
        customers=customers,
        at=moment_of(at),
        experiment=experiment,
        unpromoted=unpromoted,
        seed=seed,
        out=out,
        json=json,
    )


def _require_writable(out: Path) -> None:
    """Raise unless a table can be written to ``out``, which is tried."""
    import os
    from contextlib import suppress

    import pyarrow as pa

    from features.errors import InputError
    from features.tables import write_table

    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            out.lstat()  # which raises for a name that no file can have
        if out.is_dir():
            raise InputError("--out is a folder", got=repr(str(out))[:200], do=f"name a file: {out / 'decisions.csv'}")
        # Beside it: a table that is there stays until it is replaced, and a trial that is killed is nobody's decisions.
        trial = out.with_name(f".{os.getpid()}-{out.name[-12:]}")
    except (OSError, ValueError) as error:
        raise InputError(
            f"--out can't be written to {str(out)[:200]!r}", got=str(error)[:200], do="name a file that you may write"
        ) from error
    try:
        write_table(pa.table({"trial": [True]}), trial).unlink()
    except InputError as error:
        raise InputError(
            error.wrong.replace(trial.name, out.name), got=error.got.replace(trial.name, out.name), do=error.do
        ) from error


def say_model(scorer: Scorer | None, note: str) -> None:
    """Print what a person should know about the model: that there is none, or that it is not simply the champion."""
    if scorer is None:
        say(f"No model serves: {note}. Ranking arms fall back on the static contact, flagged degraded.", style="yellow")
    else:
        _warn(note)


def say_base(base: Base, *, project: Project) -> None:
    """Print how many accounts stand aside for another one of the same person, and of whom nothing is known."""
    from rapport.people.base import strangers

    if base.aside:
        accounts = "further account belongs" if base.aside == 1 else "further accounts belong"
        say(f"{base.aside:,} {accounts} to these customers; each person comes once.")
    if sentence := strangers(project, base.spine["customer_id"]).sentence:
        say(sentence, style="yellow")


def say_trials(trials: Trials, *, at: datetime) -> None:
    """Print which experiments decide, and their arms; in yellow when nobody designed what does."""
    for sentence in trials.sentences_at(at):
        say(sentence, style="" if trials.designed else "yellow")


def _warn(note: str) -> None:
    if note:
        say(f"{note[0].upper()}{note[1:]}.", style="yellow")


def _plain(model: Path, data: Path, *, out: Path, json: Path | None) -> None:
    import pyarrow as pa

    from features.tables import read_table, write_table
    from training.models import ResponseModel

    with step("reading the model and the table"):
        trained = ResponseModel.load(model)
        table = read_table(data)
    with step(f"scoring {table.num_rows:,} rows"):
        chance = trained.predict_proba(table.to_pandas())[:, 1]
        column = "probability" if "probability" not in table.column_names else "response_probability"
        write_table(table.append_column(column, pa.array(chance)), out)
    write_json(json, {"rows": table.num_rows, "column": column, "mean": float(chance.mean()), "out": str(out)})
    say(f"{table.num_rows:,} rows scored, {chance.mean():.2%} expected to respond; column {column!r} in {out}.")


def _rank(
    project: Project,
    *,
    customers: Path | None,
    at: datetime,
    top: int,
    unpromoted: bool,
    out: Path,
    json: Path | None,
) -> None:
    from features.errors import InputError
    from features.tables import write_table
    from rapport.incumbent import incumbent
    from rapport.people.base import allowed, customer_base
    from rapport.ranking import ranked_offers
    from serving.people import LinkedAccounts

    people = LinkedAccounts(project.history)
    in_force = incumbent(project, unpromoted=unpromoted)
    if in_force.bundle is None:
        raise InputError("there is no response model to rank by", got=in_force.note, do="run rapport train response")
    _warn(in_force.note)
    with step("features of every customer"):
        base = customer_base(project, customers, at=at)
        table, _ = allowed(project, project.features.offline(project.history, base.spine), people=people)
    say_base(base, project=project)
    with step("expected incremental profit of every treatment"):
        ranked = ranked_offers(project, in_force.bundle, table, at=at, top=top)
        write_table(ranked, out)
    _show_ranking(project, ranked, customers=table.num_rows, at=at, out=out, json=json)


def _show_ranking(
    project: Project, ranked: pa.Table, *, customers: int, at: datetime, out: Path, json: Path | None
) -> None:
    from rapport.ranking import first_choices

    firsts = first_choices(ranked)
    titles = {offer.offer_id: offer.title for offer in project.catalogue.offers}
    print_table(
        f"the best treatment of each of {customers:,} customers at {at:%Y-%m-%d %H:%M} UTC",
        ("offer", "channel", "customers", "P(response)", f"profit ({project.settings.project.currency})"),
        [
            (
                titles[each.offer_id],
                each.channel,
                f"{each.customers:,}",
                f"{each.chance:.1%}",
                f"{each.profit / 100:,.2f}",
            )
            for each in firsts
        ],
        note="P(response) and profit beyond nothing are means of these customers",
    )
    alone = sum(each.better_alone for each in firsts)
    say(_left_alone(alone))
    say(f"{ranked.num_rows:,} rows written to {out}; without --top, decisions are made and recorded.")
    write_json(
        json,
        {
            "customers": customers,
            "rows": ranked.num_rows,
            "at": at.isoformat(),
            "better_left_alone": alone,
            "first": [each._asdict() for each in firsts],
            "out": str(out),
        },
    )


def _left_alone(customers: int) -> str:
    if not customers:
        return "For each of them some treatment is expected to earn more than it costs."
    told = "1 of them is" if customers == 1 else f"{customers:,} of them are"
    return f"{told} better left alone: no treatment is expected to earn more than it costs."


def _decide(
    project: Project,
    *,
    customers: Path | None,
    at: datetime,
    experiment: str | None,
    unpromoted: bool,
    seed: str | None,
    out: Path,
    json: Path | None,
) -> None:
    from functools import partial

    from features.tables import write_table
    from rapport.incumbent import incumbent
    from rapport.people.base import allowed, customer_base
    from rapport.trials.readiness import readiness
    from serving.assembly import masking_of, rules_of, scoring, trials_of
    from serving.batch import decide_all
    from serving.desk import Desk
    from serving.ledger import Ledger
    from serving.people import LinkedAccounts

    ledger, people = Ledger(project.ledger), LinkedAccounts(project.history)
    trials = trials_of(project, ledger, at=at, key=experiment, ready=partial(readiness, project, at=at))
    rules = rules_of(project)
    with step("features of every customer"):
        base = customer_base(project, customers, at=at)
        table, masks = allowed(project, project.features.offline(project.history, base.spine), people=people)
    with step("expected incremental profit of every treatment"):
        in_force = incumbent(project, unpromoted=unpromoted)
        scorer, note = scoring(in_force, project=project, rules=rules, at=at)
        values = scorer.values_of(table) if scorer else None
    say_base(base, project=project)
    say_model(scorer, note)
    say_trials(trials, at=at)
    version = scorer.version if scorer else ""
    desk = Desk(ledger, rules=rules, trials=trials, model=version, masking=masking_of(project))
    with step(f"{table.num_rows:,} decisions into the ledger"):
        named = seed or f"score {at:%Y-%m-%dT%H:%M}"
        decided = decide_all(table, desk=desk, at=at, seed=named, values=values, people=people, masks=masks)
        write_table(decided, out)
    titles = {each.treatment_id: (each.offer.title, each.channel) for each in rules.treatments}
    currency = project.settings.project.currency
    last = _last_checks(decided, ledger)
    _tell(decided, titles=titles, currency=currency, out=out, json=json, experiment=trials.key, at=at, last=last)
    _require_recorded(decided)


def _last_checks(decided: pa.Table, ledger: Ledger) -> dict[Reason, int]:
    """How often each check removed the last treatments of those decisions of which none was left."""
    import pyarrow.compute as pc

    from serving.explanation import counted_last_checks
    from serving.ledger import LedgerError
    from serving.reasons import Reason

    none_left = decided.filter(pc.equal(decided["reason"], Reason.NOTHING_LEFT.code))
    try:
        with ledger.reading() as book:
            return counted_last_checks(book, none_left["decision_id"].to_pylist())
    except LedgerError:
        return {}  # what was decided is told all the same


def _require_recorded(decided: pa.Table) -> None:
    """Raise when the ledger took only a part: a run that recorded nothing must not end as one that went well."""
    import pyarrow.compute as pc

    from features.errors import InputError
    from serving.reasons import Reason

    lost = pc.sum(pc.equal(decided["reason"], Reason.LEDGER_UNAVAILABLE.code)).as_py() or 0
    if lost:
        raise InputError(
            f"{lost:,} of {decided.num_rows:,} decisions are not in the ledger, so nobody is contacted by them",
            got="a ledger that could not be read or written, such as on a full disk",
            do="mend that and run the same again with the same --at and --seed: what was recorded stays",
        )


def _tell(
    decided: pa.Table,
    *,
    titles: dict[str, tuple[str, str]],
    currency: str,
    out: Path,
    json: Path | None,
    experiment: str,
    at: datetime,
    last: dict[Reason, int],
) -> None:
    from serving.reasons import Reason

    actions = _counts(decided, "action")
    reasons = _counts(decided, "reason")
    print_table(
        f"{decided.num_rows:,} decisions at {at:%Y-%m-%d %H:%M} UTC",
        ("offer", "channel", "customers", "share", f"contact cost ({currency})"),
        [
            (*titles.get(name, (name, "")), f"{n:,}", f"{n / decided.num_rows:.1%}", f"{cost / 100:,.2f}")
            for name, n, cost in actions
        ],
    )
    arms = _arms(decided)
    for key in dict.fromkeys(each["experiment"] for each in arms):
        own = ", ".join(f"{each['arm']} {each['n']:,}" for each in arms if each["experiment"] == key)
        say(f"Customers by arm of {key}: {own}")
    sentences = {reason.code: reason.sentence for reason in Reason}
    for code, n, _ in reasons:
        say(f"{n:,} x {sentences[code]}", style="dim")
        for reason, removed in last.items() if code == Reason.NOTHING_LEFT.code else ():
            say(f"  {removed:,} x last to go: {reason.sentence}", style="dim")
    say(f"Written to {out}; each one can be explained: rapport explain {decided['decision_id'][0]}")
    write_json(
        json,
        {
            "decisions": decided.num_rows,
            "at": at.isoformat(),
            "experiment": experiment,
            "actions": [{"action": name, "n": n, "contact_cost_cents": cost} for name, n, cost in actions],
            "arms": arms,
            "reasons": [{"code": code, "n": n} for code, n, _ in reasons],
            "last_checks": [{"code": reason.code, "n": n} for reason, n in last.items()],
            "out": str(out),
        },
    )


def _arms(decided: pa.Table) -> list[dict[str, Any]]:
    """How many customers each arm of each experiment has, the largest first."""
    grouped = decided.group_by(["experiment", "arm"]).aggregate([("decision_id", "count")])
    rows = [
        {"experiment": row["experiment"], "arm": row["arm"], "n": row["decision_id_count"]}
        for row in grouped.to_pylist()
    ]
    return sorted(rows, key=lambda row: (-row["n"], row["experiment"], row["arm"]))


def _counts(decided: pa.Table, column: str) -> list[tuple[str, int, int]]:
    grouped = decided.group_by(column).aggregate([("decision_id", "count"), ("contact_cost", "sum")])
    rows = zip(*(grouped[name].to_pylist() for name in (column, "decision_id_count", "contact_cost_sum")), strict=True)
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def moment_of(text: str | None) -> datetime:
    """The moment that ``--at`` names, in UTC; now without one."""
    from datetime import UTC

    from features.errors import InputError

    if text is None:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError("--at is not a time", got=repr(text), do="write it as 2026-11-21T09:00:00Z") from error
    if not _YEARS[0] <= found.year <= _YEARS[1]:
        raise InputError("--at is no time of this calendar", got=repr(text), do="write it as 2026-11-21T09:00:00Z")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)

"""``rapport train``: response, offer and uplift models, from the project or from any table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    import pandas as pd

    from features.tracking import TrackingStore
    from training.registry import Registration
    from training.trained import Plan, Trained

train = typer.Typer(no_args_is_help=True, help="Train, evaluate and register models: response, offers, uplift.")

Data = Annotated[Path | None, typer.Option("--data", metavar="TABLE", help="Any table, instead of the project.")]
Label = Annotated[str | None, typer.Option("--label", metavar="COL", help="Column of TABLE that says the outcome.")]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", metavar="COL", help="Column to leave out; repeatable.")]
TimeOrder = Annotated[bool, typer.Option("--time-order", help="Rows are in order of time: the last quarter tests.")]
Trials = Annotated[int, typer.Option("--trials", min=0, metavar="N", help="Optuna trials; 0 keeps the defaults.")]
ProjectDir = Annotated[Path, typer.Option("--project", metavar="DIR", help="The project folder.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Also write the model's bundle to DIR.")]
Runs = Annotated[Path | None, typer.Option("--mlruns", metavar="DIR", help="MLflow's folder; ./mlruns if none.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of every draw.")]
Name = Annotated[str | None, typer.Option("--name", help="Name in the registry; by kind and table if none.")]
Positive = Annotated[str | None, typer.Option("--positive", metavar="VALUE", help="Label that is the response.")]


@train.command()
def response(
    data: Data = None,
    label: Label = None,
    treatment: Annotated[
        str | None, typer.Option(metavar="COL", help="Column of TABLE with what was sent, as <offer>@<channel>.")
    ] = None,
    control: Annotated[
        str | None, typer.Option(metavar="VALUE", help="Treatment that means nothing was sent; by default: nothing.")
    ] = None,
    exclude: Exclude = None,
    positive: Positive = None,
    time_order: TimeOrder = False,
    trials: Trials = 0,
    project: ProjectDir = Path(),
    name: Name = None,
    out: Out = None,
    mlruns: Runs = None,
    seed: Seed = 1,
    json: JsonFile = None,
) -> None:
    """P(response given customer, treatment, moment), calibrated.

    Example: rapport train response --data bank.csv.gz --label y --exclude duration --trials 10

    With --treatment, decisions can ask the model about each treatment of the catalogue.
    """
    from training.pipeline import train_response

    plan = _plan(trials, seed)
    if data is None:
        _require_table(treatment, control)
        contacts, store, features = _project_set(project, mlruns)
        with step(f"train on {len(contacts.label):,} contacts ({contacts.censored:,} too fresh, left out)"):
            trained = train_response(
                contacts.frame.drop(columns=exclude or []),
                contacts.label,
                name=name or "response",
                label_name="response",
                times=contacts.times,
                groups=contacts.customers,
                features=features,
                plan=plan,
            )
    else:
        frame, answered = _answers(data, exclude, label=label, treatment=treatment, control=control)
        store = _store(mlruns)
        with step(f"train on {len(frame):,} rows"):
            trained = train_response(
                frame,
                answered,
                name=name or _name("response", data),
                label_name=str(label),
                in_order=time_order,
                positive=positive,
                plan=plan,
            )
    _finish(trained, store, out=out, json=json, plan=plan)


@train.command()
def offers(
    data: Data = None,
    customer: Annotated[str, typer.Option(metavar="COL", help="Column of TABLE with the customer.")] = "customer_id",
    item: Annotated[str, typer.Option(metavar="COL", help="Column of TABLE with the item or offer.")] = "item_id",
    weight: Annotated[str | None, typer.Option(metavar="COL", help="Column of TABLE that says how much.")] = None,
    time: Annotated[str | None, typer.Option(metavar="COL", help="Moment; without it rows are in order.")] = None,
    repeats: Annotated[bool, typer.Option("--repeats", help="An item may be recommended again.")] = False,
    length: Annotated[int, typer.Option("--length", min=1, metavar="N", help="Length of the lists.")] = 10,
    project: ProjectDir = Path(),
    name: Name = None,
    out: Out = None,
    mlruns: Runs = None,
    seed: Seed = 1,
    json: JsonFile = None,
) -> None:
    """The items that each customer would take next.

    Example: rapport train offers --data purchases.parquet --customer household --item product
    """
    from training.pipeline import train_offers

    if data is None:
        taken, store = _project_interactions(project, mlruns)
    else:
        columns = {customer: "customer_id", item: "item_id", weight: "weight", time: "at"}
        wanted = {old: new for old, new in columns.items() if old is not None}
        taken, store = _table(data, None, wanted=list(wanted))[list(wanted)].rename(columns=wanted), _store(mlruns)
    plan = _plan(0, seed)
    with step(f"train on {len(taken):,} interactions"):
        trained = train_offers(taken, name=name or _name("offers", data), repeats=repeats, k=length, plan=plan)
    _finish(trained, store, out=out, json=json, plan=plan)


@train.command()
def uplift(
    data: Data = None,
    label: Label = None,
    treatment: Annotated[str | None, typer.Option(metavar="COL", help="Column of TABLE with the treatment.")] = None,
    control: Annotated[
        str, typer.Option(metavar="VALUE", help="The treatment that others are held against.")
    ] = "nothing",
    exclude: Exclude = None,
    time_order: TimeOrder = False,
    project: ProjectDir = Path(),
    name: Name = None,
    out: Out = None,
    mlruns: Runs = None,
    seed: Seed = 1,
    json: JsonFile = None,
) -> None:
    """What each treatment adds for each customer, against the control.

    Example: rapport train uplift --data hillstrom.csv.gz --label visit --treatment segment --control "No E-Mail"
    """
    from training.pipeline import train_uplift
    from training.tables import outcome

    plan = _plan(0, seed)
    if data is None:
        contacts, store, features = _project_set(project, mlruns)
        frame = contacts.frame[list(features.names)].drop(columns=exclude or [])
        with step(f"train on {len(frame):,} contacts"):
            trained = train_uplift(
                frame,
                contacts.label,
                contacts.treatment,
                control=control,
                times=contacts.times,
                features=features,
                name=name or "uplift",
                label_name="response",
                plan=plan,
            )
    else:
        names = [*_named(label, "--label"), *_named(treatment, "--treatment")]
        table, store = _table(data, exclude, wanted=names, text=names[1:]), _store(mlruns)
        with step(f"train on {len(table):,} rows"):
            trained = train_uplift(
                table.drop(columns=names),
                outcome(table[names[0]]),
                table[names[1]],
                control=control,
                name=name or _name("uplift", data),
                label_name=names[0],
                in_order=time_order,
                plan=plan,
            )
    _finish(trained, store, out=out, json=json, plan=plan)


def _plan(trials: int, seed: int) -> Plan:
    from training.trained import Plan

    return Plan(trials=trials, seed=seed)


def _answers(
    data: Path, exclude: Sequence[str] | None, *, label: str | None, treatment: str | None, control: str | None
) -> tuple[pd.DataFrame, pd.Series]:
    """The columns to learn from, what was sent as ``treatment`` among them, and the label."""
    from features.errors import InputError
    from training.dataset import NOTHING, TREATMENT
    from training.tables import with_treatment

    names = _named(label, "--label")
    if treatment is None:
        if control is not None:
            _named(treatment, "--treatment")
        table = _table(data, exclude, wanted=names)
        return table.drop(columns=names), table[names[0]]
    if treatment == label:
        raise InputError("label and treatment are one column", got=repr(label), do="name two columns")
    table = _table(data, exclude, wanted=[*names, treatment], text=[treatment])
    frame = with_treatment(table.drop(columns=names), column=treatment, nothing=control)
    if NOTHING not in set(frame[TREATMENT]):
        say(f"no row has the treatment {NOTHING!r} (--control VALUE): what customers do unprompted stays unknown")
    return frame, table[names[0]]


def _require_table(treatment: str | None, control: str | None) -> None:
    from features.errors import InputError

    if treatment is not None or control is not None:
        raise InputError(
            "--treatment and --control go with --data",
            got="none",
            do="name a table, or leave them out: a project knows what was sent",
        )


def _table(
    data: Path, exclude: Sequence[str] | None, *, wanted: Sequence[str], text: Sequence[str] = ()
) -> pd.DataFrame:
    """The table without what is excluded, rows that have all that is ``wanted``; of ``text`` the words count."""
    from features.errors import InputError
    from features.tables import read_table, require_column
    from training.tables import frame_of

    table = read_table(data, text=text)
    for column in (*wanted, *(exclude or ())):
        require_column(table, column)
    if both := set(wanted) & set(exclude or ()):
        raise InputError(
            "a column is needed and left out", got=f"--exclude {sorted(both)[0]}", do="leave out columns to learn from"
        )
    return frame_of(table.drop_columns(list(dict.fromkeys(exclude or ()))), complete=wanted)


def _named(value: str | None, option: str) -> list[str]:
    from features.errors import InputError

    if value is None:
        raise InputError(
            f"{option} is missing", got="--data without it", do=f"name a column of the table: {option} COL"
        )
    return [value]


def _store(mlruns: Path | None) -> TrackingStore:
    from features.tracking import TrackingStore

    return TrackingStore(mlruns or Path("mlruns"))


def _name(kind: str, data: Path | None) -> str:
    from training.registry import slug

    return kind if data is None else slug(f"{kind}-{data.name.split('.')[0]}")


def _project_set(folder: Path, mlruns: Path | None) -> tuple[Any, TrackingStore, Any]:
    from rapport.project import load_project

    project = load_project(folder)
    with step("features as of each contact"):
        found = project.contacts()
    return found, _store(mlruns) if mlruns else project.tracking, project.features


def _project_interactions(folder: Path, mlruns: Path | None) -> tuple[pd.DataFrame, TrackingStore]:
    from rapport.project import load_project
    from training.dataset import interactions

    project = load_project(folder)
    taken = interactions(project.history, kinds=project.settings.response.kinds, purposes=project.purposes)
    return taken, _store(mlruns) if mlruns else project.tracking


def _finish(trained: Trained, store: TrackingStore, *, out: Path | None, json: Path | None, plan: Plan) -> None:
    from training.registry import register

    with step("register in MLflow"):
        done = register(trained, tracking=store, name=trained.card.name, out=out, tolerance=plan.tolerance)
    _show(trained, done, store)
    write_json(json, {"card": trained.card.to_json(), "metrics": trained.card.metrics, **done.to_json()})


def _show(trained: Trained, done: Registration, store: TrackingStore) -> None:
    card = trained.card
    baselines = list(dict.fromkeys(name for figure in card.figures for name in figure.baselines))
    print_table(
        f"{card.name}: {card.rows:,} rows, {card.features} features",
        ["on the test rows", "model", "95% interval", *baselines],
        [
            [figure.name, f"{figure.value:.4f}", figure.interval]
            + [f"{figure.baselines[name]:.4f}" if name in figure.baselines else "" for name in baselines]
            for figure in card.figures
        ],
        note=f"split: {card.split}",
    )
    say(card.drift)
    for note in (card.tuning, *card.notes):
        if note:
            say(f"- {note}", style="dim")
    say(f"{card.calibration}: {card.calibration_detail}", style="yellow" if card.calibration == "uncalibrated" else "")
    verdict = "promoted to champion" if done.promotion.promoted else "NOT promoted"
    say(f"{verdict}: {done.promotion.reason}", style="green" if done.promotion.promoted else "bold yellow")
    if not done.promotion.promoted:
        say("Whatever served goes on serving. Train on more or newer outcomes, or with --trials, and see its card.")
    if done.warning:
        say(done.warning, style="bold yellow")
    if done.folder is not None:
        say(f"bundle: {done.folder}")
    if done.run_id is not None:
        say(f"MLflow: {done.name} version {done.version}, run {done.run_id}")
        say(f"        mlflow ui --workers 1 --backend-store-uri {store.uri}")

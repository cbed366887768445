"""``rapport identity``: who is behind an account, by which links; and to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    from features.identity import Person
    from features.identity.ties import Tie
    from rapport.project import Project

identity = typer.Typer(no_args_is_help=True, help="Show which accounts are one person and why, and mend it.")

Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Any account of theirs.", show_default=False)]
Other = Annotated[str, typer.Argument(metavar="OTHER", help="The other account.", show_default=False)]
Folder = Annotated[Path, typer.Option("--project", metavar="DIR", help="The project folder.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who says so; it is kept.", show_default=False)]


@identity.command()
def show(account: Account, project: Folder = Path(), json: JsonFile = None) -> None:
    """Show who is behind an account: the accounts of the person, and what each is linked for.

    Example: rapport identity show crm-4711 --project shop
    """
    opened, person = _person(project, account)
    _tell(opened, account, person)
    write_json(json, {"account_id": account, **person._asdict()})


@identity.command()
def links(account: Account, project: Folder = Path(), json: JsonFile = None) -> None:
    """Show the links of the accounts of a person, one by one: what told them, how surely, since when.

    Example: rapport identity links crm-4711 --project shop
    """
    from features.identity.ties import ties_of

    opened, person = _person(project, account)
    ties = ties_of(opened.history, person.suppressing)
    rows = [
        (
            f"{each.account_id} - {each.other_id}",
            each.because if each.kind == "person" else "household",
            f"{each.probability:.2f}",
            _enough(opened, each),
            f"{each.since:%Y-%m-%d %H:%M}",
            each.by or "",
        )
        for each in ties
    ]
    if rows:
        print_table(f"links of {account}", ("accounts", "because of", "chance", "enough for", "since", "by"), rows)
    else:
        say(f"{account} is linked with no other account.")
    write_json(json, {"account_id": account, "links": [each._asdict() for each in ties]})


@identity.command()
def merge(account: Account, other: Other, by: By, project: Folder = Path()) -> None:
    """Make two accounts one person, because somebody knows; `split` takes it back exactly.

    Example: rapport identity merge crm-4711 web-12 --by "Ann, service" --project shop
    """
    from features.identity import merge as make_one
    from rapport.turn import turn

    opened, _ = _person(project, account)
    _person(project, other)
    with turn(opened):
        make_one(opened.history, account, other, by=_named(by), rules=opened.identity)
    _, person = _person(project, account)
    _tell(opened, account, person)
    if other not in person.own:
        say(f"{other} stays apart: an agent keeps it apart from one of these accounts.", style="yellow")


@identity.command()
def split(account: Account, other: Other, by: By, project: Folder = Path()) -> None:
    """Take back the merge of two accounts; without one, keep them apart whatever else links them.

    Example: rapport identity split crm-4711 web-12 --by "Ann, service" --project shop
    """
    from features.identity import split as take_back
    from rapport.turn import turn

    opened, _ = _person(project, account)
    _person(project, other)
    with turn(opened):
        parted = take_back(opened.history, account, other, by=_named(by), rules=opened.identity)
    _, person = _person(project, account)
    _tell(opened, account, person)
    if not parted:
        say(f"{other} is still the same person by other links; split once more to keep them apart.", style="yellow")
    elif other in person.suppressing:
        say(f"A no of {other} still stops {account}: a third account is linked with both.", style="yellow")


@identity.command()
def resolve(
    project: Folder = Path(),
    alike: Annotated[
        bool, typer.Option("--alike", help="Also link by how alike people are, which takes longer.")
    ] = False,
    json: JsonFile = None,
) -> None:
    """Link the accounts that are one person by all facts so far; what was linked before costs nothing.

    Example: rapport identity resolve --alike --project shop
    """
    from features.identity import link_profiles
    from features.identity import resolve as link_all
    from rapport.project import load_project
    from rapport.turn import turn

    opened = load_project(project)
    with turn(opened):
        with step("linking accounts by what they have in common"):
            found = link_all(opened.history, opened.identity)
        new, touched = found.links, found.accounts
        if alike:
            with step("linking accounts by how alike they are"):
                found = link_profiles(opened.history, opened.identity)
            new, touched = new + found.links, touched + found.accounts
    say(f"{new:,} new facts about links; {touched:,} accounts looked at.")
    if opened.identity.silent and not alike:
        say(
            "No [[identity.identifier]] in rapport.toml says what tells one person; see docs/identity.md.",
            style="yellow",
        )
    write_json(json, {"links": new, "accounts": touched})


def _person(project: Path, account: str) -> tuple[Project, Person]:
    """The person behind an account that the project knows."""
    from features.errors import InputError
    from features.identity import People
    from rapport.project import load_project

    opened = load_project(project)
    person = People(opened.history).persons([account])[account]
    facts = opened.history.customer(account)
    if len(person.suppressing) == 1 and person.household_id is None and not (facts.events or facts.profile):
        raise InputError(
            f"account {account!r} is not known",
            got="an id without any fact or link",
            do="check its spelling (capitals count), or run `rapport ingest` first",
        )
    return opened, person


def _tell(opened: Project, account: str, person: Person) -> None:
    say(f"{account} is customer {person.customer_id}", style="bold")
    rows = [(each, "one person") for each in person.own]
    rows += [(each, "contacts count together") for each in person.counted if each not in person.own]
    rows += [(each, "a no stops both") for each in person.suppressing if each not in person.counted]
    print_table("", ("account", "linked for"), rows)
    if person.household_id:
        say(f"household {person.household_id}")
    if len(rows) > 1:
        say(f"Why: rapport identity links {account} --project {opened.root}", style="dim")


def _enough(opened: Project, tie: Tie) -> str:
    """What a link is enough for, in a few words."""
    words = {"personalize": "one person", "count": "counting", "suppress": "a no"}
    strength = opened.identity.strength(tie.probability)
    if tie.kind == "household" and strength in ("count", "personalize"):
        return "household"
    return words.get(strength or "", "nothing" if tie.probability else "not one")


def _named(by: str) -> str:
    from features.errors import InputError

    if not by.strip():
        raise InputError("somebody must say so", got="--by with nothing in it", do="give a name or a team")
    return by.strip()

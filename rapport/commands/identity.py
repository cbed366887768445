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

identity = typer.Typer(help="Show which accounts are one person and why, and mend it.")

Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Any account of theirs.", show_default=False)]
Other = Annotated[str, typer.Argument(metavar="OTHER", help="The other account.", show_default=False)]
Folder = Annotated[Path, typer.Option("--project", metavar="DIR", help="The project folder.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who says so; it is kept.", show_default=False)]


# What a link is enough for, and why one makes no person of two, as a person reads it.
_ENOUGH = {
    "personalize": "one person",
    "count": "contacts count together",
    "suppress": "a no stops both",
    "household": "one household",
}
_REFUSALS = {
    "kept_apart": "an agent keeps them apart",
    "unique_identifier": "each holds another {unique}, of which a person has one",
    "shared_account": "one of them holds two of {unique}: several people use it",
    "shared_value": "too many, or too different, accounts hold the value",
}


@identity.callback(invoke_without_command=True)
def overview(context: typer.Context, project: Folder = Path(), json: JsonFile = None) -> None:
    """Without a command: how many accounts are how many persons, by which links, and which links were refused.

    Example: rapport identity --project shop
    """
    if context.invoked_subcommand is not None:
        return
    from dataclasses import asdict

    from features.identity.overview import overview as look
    from rapport.project import load_project

    opened = load_project(project)
    found = look(opened.history, opened.identity)
    say(f"{found.accounts:,} accounts are {found.persons:,} persons; {found.households:,} households.", style="bold")
    links = [(_ENOUGH[name], f"{count:,}") for name, count in found.links.items()]
    print_table("links", ("enough for", "pairs of accounts"), links)
    _tell_refused(opened, found.refused, found.examples)
    write_json(json, asdict(found))


def _tell_refused(opened: Project, refused: dict[str, int], examples: dict[str, tuple[str, str]]) -> None:
    """Name the pairs that something links and a guard stops."""
    if not refused:
        return
    unique = " or ".join(each.kind for each in opened.identity.identifier if each.unique) or "value"
    rows = [
        (reason, f"{count:,}", _REFUSALS[reason].format(unique=unique), " and ".join(examples[reason]))
        for reason, count in refused.items()
    ]
    print_table("links that a guard refused", ("reason", "pairs", "because", "such as"), rows)
    say(f"One person after all? rapport identity merge ACCOUNT OTHER --by NAME --project {opened.root}", style="dim")


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
    _tell_again(opened, account, other, merged=True)
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
    _tell_again(opened, account, other, merged=False)
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
    from features.identity.overview import overview as look
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
    if touched and any(each.unique for each in opened.identity.identifier):
        seen = look(opened.history, opened.identity)
        _tell_refused(opened, seen.refused, seen.examples)
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
    from rapport.people.erasure import erased_before
    from rapport.project import load_project

    opened = load_project(project)
    person = People(opened.history).persons([account])[account]
    facts = opened.history.customer(account)
    if len(person.suppressing) == 1 and person.household_id is None and not (facts.events or facts.profile):
        if account in (before := erased_before(opened, [account])):
            raise InputError(
                f"account {account!r} was erased",
                got=f"an erasure on {before[account]:%Y-%m-%d}",
                do="nothing: nobody is behind it any more, and it stays suppressed",
            )
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


def _tell_again(opened: Project, account: str, other: str, *, merged: bool) -> None:
    """Say so when an agent has said the very same of these two before; it is kept beside."""
    from features.identity.ties import ties_of

    pair = {account, other}
    said = [each for each in ties_of(opened.history, [account]) if {each.account_id, each.other_id} == pair]
    for each in said:
        if each.because == "agent" and (each.probability > 0) == merged:
            word = "merged" if merged else "split"
            say(f"{each.by} {word} {account} and {other} before, on {each.since:%Y-%m-%d %H:%M}.", style="yellow")


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

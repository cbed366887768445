"""``rapport channels``: what each channel and campaign brings, in one unit, from customers withheld from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.commands.pairs import texts
from rapport.commands.roles import each_its_own
from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    from experiments.channels import ChannelEffect, Pair


def channels(
    table: Annotated[Path, typer.Argument(help="CSV (also .gz) or Parquet: one row per customer.", show_default=False)],
    outcome: Annotated[str, typer.Option(help="Column of profit net of contact cost, or any number.")],
    held: Annotated[
        list[str], typer.Option(metavar="CHANNEL=COL", help="Column that is 1 where chance withheld the channel.")
    ],
    everything: Annotated[
        str | None, typer.Option(help="Column of who was withheld from everything.", show_default=False)
    ] = None,
    matchback: Annotated[
        list[str] | None, typer.Option(metavar="CHANNEL=COL", help="Column of what matching credits the channel with.")
    ] = None,
    contacts: Annotated[
        list[str] | None, typer.Option(metavar="CHANNEL=COL", help="Column of how many contacts it sent.")
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="Column of the household.", show_default=False)] = None,
    time: Annotated[str | None, typer.Option(help="Column of when each entered.", show_default=False)] = None,
    alpha: Annotated[float, typer.Option(help="1 - alpha is the level of the intervals.")] = 0.05,
    json: JsonFile = None,
) -> None:
    """Say what each channel and campaign brings per 1,000 customers, from holdouts that chance nested.

    Each customer was withheld from each channel by a chance of its own, and some from everything. Beside it stands what
    matching purchases to contacts would claim, and what two channels bring together beyond the sum.

    Example: rapport channels customers.csv --outcome profit --held email=no_email --held mail=no_mail --everything none
    """
    withheld = texts(held, option="--held CHANNEL=COL", example="email=no_email")
    claimed = texts(matchback, option="--matchback CHANNEL=COL", example="email=claimed_email")
    sent = texts(contacts, option="--contacts CHANNEL=COL", example="email=emails")
    each_its_own(
        {"--outcome": outcome, "--everything": everything, "--cluster": cluster, "--time": time}
        | {
            f"{option} {channel}": column
            for option, given in (("--held", withheld), ("--matchback", claimed), ("--contacts", sent))
            for channel, column in given.items()
        }
    )
    with step("holding the channels against their holdouts"):
        from experiments.channels import channels as hold
        from features.tables import read_table

        found = hold(
            read_table(table),
            outcome=outcome,
            held=withheld,
            everything=everything,
            matchback=claimed,
            contacts=sent,
            cluster=cluster,
            time=time,
            alpha=alpha,
        )
    write_json(json, found.to_json())
    for sentence in found.sentences:
        say(sentence, style="bold")
    say("")
    rows = [*found.channels, *([found.together] if found.together else [])]
    matched = any(row.matchback is not None for row in rows)
    columns = ("channel", "withheld", f"{outcome} it brings", *(("matchback claims",) if matched else ()))
    print_table("per 1,000 customers who may get it", columns, (_row(row, matched=matched) for row in rows))
    pairs = [*found.pairs, *([found.beyond_sum] if found.beyond_sum else [])]
    if pairs:
        say("")
        named = ("together", "withheld from both", "beyond the sum")
        print_table("what two bring together, less the sum of each alone", named, map(_pair, pairs))
    say("")
    for note in found.notes:
        say(note, style="dim")


def _row(row: ChannelEffect, *, matched: bool) -> tuple[str, ...]:
    claim = () if not matched else ("" if row.matchback is None else f"{row.matchback:+,.0f}",)
    return row.channel, f"{row.n_held:,} of {row.n_held + row.n:,}", _range(row.effect, row.ci_low, row.ci_high), *claim


def _pair(pair: Pair) -> tuple[str, ...]:
    return f"{pair.first}, {pair.second}", f"{pair.n_both:,}", _range(pair.beyond_sum, pair.ci_low, pair.ci_high)


def _range(value: float, low: float, high: float) -> str:
    from experiments.wording import amount_words

    return amount_words(1.0)(value, low, high)

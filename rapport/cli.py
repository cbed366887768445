"""The one command, ``rapport``: its subcommands and nothing else."""

from __future__ import annotations

import inspect

import typer

from rapport.commands.analyze import analyze
from rapport.commands.channels import channels
from rapport.commands.demo import demo
from rapport.commands.erase import erase
from rapport.commands.evaluate import evaluate
from rapport.commands.explain import explain
from rapport.commands.export import export
from rapport.commands.features import features
from rapport.commands.gains import gains
from rapport.commands.holdout import holdout
from rapport.commands.identity import identity
from rapport.commands.ingest import ingest
from rapport.commands.init import init
from rapport.commands.ladder import ladder
from rapport.commands.learn import learn
from rapport.commands.link import link
from rapport.commands.market import market
from rapport.commands.plan import plan
from rapport.commands.publish import publish
from rapport.commands.replay import replay
from rapport.commands.report import report
from rapport.commands.retention import retention
from rapport.commands.score import score
from rapport.commands.serve import serve
from rapport.commands.train import train
from rapport.terminal import prose, run

app = typer.Typer(
    name="rapport",
    help="Decide the next best contact for each customer, and prove that it beat a static one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def rapport() -> None:
    """Decide the next best contact for each customer, and prove that it beat a static one."""


app.command()(analyze)
app.command()(channels)
app.command()(demo)
app.command()(erase)
app.command()(evaluate)
app.command()(explain)
app.command()(export)
app.command()(features)
app.command()(gains)
app.command()(holdout)
app.command()(ingest)
app.command()(init)
app.command()(ladder)
app.command()(learn)
app.command()(link)
app.command()(market)
app.command()(plan)
app.command()(publish)
app.command()(replay)
app.command()(report)
app.command()(retention)
app.command()(score)
app.command()(serve)
app.add_typer(identity, name="identity")
app.add_typer(train, name="train")
for group in (app, identity, train):
    for command in group.registered_commands:
        command.help = prose(inspect.getdoc(command.callback) or "")


def main() -> None:
    """Entry point of the console script."""
    run(app)

"""The command line as a whole: help with an example for every command, and misuse told in three parts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import typer

from rapport.cli import app
from rapport.terminal import run

COMMANDS = sorted(each.callback.__name__ for each in app.registered_commands if each.callback is not None)


@pytest.mark.parametrize("command", [*COMMANDS, "train response", "train offers", "train uplift"])
def test_every_command_explains_itself_with_an_example(command: str, rapport_cli: Callable[..., Any]) -> None:
    ran = rapport_cli(*command.split(), "--help")
    assert ran.exit_code == 0
    assert f"Example: rapport {command.split()[0]}" in " ".join(ran.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["analyze", "t.csv"], "Missing option"),
        (["plan", "--nonsense"], "No such option"),
        (["plan", "--baseline", "much"], "Invalid value for '--baseline'"),
    ],
)
def test_misuse_is_told_in_three_parts(arguments: list[str], wrong: str, rapport_cli: Callable[..., Any]) -> None:
    ran = rapport_cli(*arguments)
    assert ran.exit_code == 2
    assert ran.stderr.startswith("wrong")
    assert wrong in " ".join(ran.stderr.split())
    assert "got " in ran.stderr
    assert "do " in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("arguments", [[], ["train"]])
def test_without_a_command_help_is_shown(arguments: list[str], rapport_cli: Callable[..., Any]) -> None:
    ran = rapport_cli(*arguments)
    assert ran.exit_code == 2
    assert " ".join(["Usage: rapport", *arguments]) in ran.stdout
    assert ran.stderr == ""


def test_what_nothing_foresaw_ends_without_a_traceback(
    rapport_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("rapport.init.create_project", broken)
    ran = rapport_cli("init", "shop")
    assert ran.exit_code == 1
    assert "ZeroDivisionError: division by zero" in ran.stderr
    assert "Traceback" not in ran.stderr
    monkeypatch.setenv("RAPPORT_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        rapport_cli("init", "shop")


def test_a_full_disk_is_told_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    small = typer.Typer()

    @small.command()
    def fill() -> None:
        with closing(sqlite3.connect(":memory:")) as database:
            database.execute("PRAGMA max_page_count = 2")  # SQLite's own way to a disk of two pages
            database.execute("CREATE TABLE big AS SELECT randomblob(100000)")

    with pytest.raises(SystemExit) as ended:
        run(small, [])
    told = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 2 and "disk is full" in told and "the disk not full" in told
    assert "did not foresee" not in told

"""What a person sees in the terminal: tables, progress, the three-part error; and the JSON twin for machines."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from features.errors import InputError

# How SQLite, PostgreSQL and DuckDB say that a disk is full or a file can't be used; named so that none is imported.
_FROM_OUTSIDE = ("OperationalError", "IOException")

# What moves the cursor, changes the direction of writing, or can't be written at all; a line's end may stay.
_COMMANDS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write JSON to FILE, in a new folder too.", show_default=False),
]


def plain(text: str) -> str:
    r"""``text`` for rich, whoever wrote it: neither its markup nor its control characters are obeyed; they are shown.

    >>> plain("\x1b[2Jgone")
    '\\x1b[2Jgone'
    """
    return escape(_COMMANDS.sub(lambda found: repr(found[0])[1:-1], text))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, note: str = "") -> None:
    """Print a table: the first column reads left, the others right; ``note`` stands below it."""
    table = Table(title=plain(title), title_justify="left", title_style="bold", box=None, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(plain(column), justify="left" if place == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(plain(str(cell)) for cell in row))
    console.print(table)
    if note:
        console.print(plain(note), style="dim")


def prose(text: str) -> str:
    r"""The paragraphs of ``text`` in one line each: a terminal breaks them where it ends.

    >>> prose("One\ntwo.\n\nThree.")
    'One two.\n\nThree.'
    """
    return "\n\n".join(" ".join(each.split()) for each in text.split("\n\n"))


def say(text: str, *, style: str = "") -> None:
    """Print one line of prose, wrapped at the terminal's width; markup in ``text`` is shown, not obeyed."""
    console.print(plain(text), style=style)


def write_json(path: Path | None, payload: Mapping[str, Any]) -> None:
    """Write ``payload`` to ``path`` when a path was given, whole or not at all; NaN and infinity become null.

    A file that is there already is replaced when it holds JSON too: a table that was read is never written over.
    """
    if path is None:
        return
    try:
        text = json.dumps(_finite(payload), indent=2, allow_nan=False, default=str) + "\n"
        if path.exists() and not path.is_file():  # a pipe, or /dev/stdout
            path.write_text(text, encoding="utf-8")
            return
        if path.exists() and not _is_json(path):
            raise InputError(
                "the JSON file would replace another kind of file",
                got=f"{str(path)!r}, which does not hold JSON",
                do="pass --json another path, or remove that file",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.parent / f".{path.name[:40]}.{os.getpid()}.tmp"
        try:
            scratch.write_text(text, encoding="utf-8")
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(
            "the JSON file can't be written", got=str(error), do="pass --json a path you may write"
        ) from error


def _is_json(path: Path) -> bool:
    """Whether the file is empty or begins as a JSON object does; a line of JSON alone is a table of rows."""
    with path.open("rb") as stream:
        return not (head := stream.read(2)) or head in (b"{\n", b"{}")


@contextmanager
def step(text: str) -> Iterator[None]:
    """Show a spinner beside ``text`` while the block runs, and the seconds it took when it is done."""
    import time

    begun = time.perf_counter()
    with errors.status(plain(text)):
        yield
    errors.print(f"[green]done[/green] {plain(text)} [dim]({time.perf_counter() - begun:.1f} s)[/dim]")


def fail(error: InputError) -> None:
    """Print the three parts of ``error`` on standard error."""
    errors.print(f"[bold red]wrong[/bold red]  {plain(error.wrong)}")
    errors.print(f"[bold]got[/bold]    {plain(error.got)}")
    errors.print(f"[bold]do[/bold]     {plain(error.do)}")


def run(app: typer.Typer, arguments: Sequence[str] | None = None) -> None:
    """Run the command line on ``arguments``, or on the process's own; bad input ends with exit code 2 and its parts."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        # Named here, as typer would guess the name from how the process was started.
        code = app(given, prog_name="rapport", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except typer.TyperException as error:
        _misused(error, given=given)
        sys.exit(2)
    except InputError as error:
        fail(error)
        sys.exit(2)
    except KeyboardInterrupt:
        errors.print("stopped")
        sys.exit(130)
    except Exception as error:  # the last line of defence: no command ends in a traceback
        if os.environ.get("RAPPORT_TRACEBACK"):
            raise
        outside = isinstance(error, OSError) or type(error).__name__ in _FROM_OUTSIDE
        fail(_unforeseen(error, outside=outside))
        sys.exit(2 if outside else 1)


def _unforeseen(error: Exception, *, outside: bool) -> InputError:
    """An error that nothing foresaw, in three parts; ``outside`` when files or the system caused it."""
    said = str(error).strip().splitlines()
    got = f"{type(error).__name__}: {said[0][:300]}" if said else type(error).__name__
    if outside:
        return InputError(
            "a file can't be read or written",
            got=got,
            do="check that it is whole, the path yours, and the disk not full; what was whole before still is",
        )
    return InputError(
        "Rapport met an error that it did not foresee",
        got=got,
        do="run it again with RAPPORT_TRACEBACK=1 and report what it prints",
    )


def _misused(error: typer.TyperException, *, given: Sequence[str]) -> None:
    """Tell of a wrong option or command in three parts; a bare ``rapport`` got help instead of a command."""
    context = getattr(error, "ctx", None)
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if not message:
        return  # the help is on the screen already
    command = context.command_path if context else "rapport"
    do = f"see `{command} --help`"
    if columns := _columns_in(given):
        do += f"; the table's columns are {columns}"
    fail(InputError(message.rstrip("."), got=" ".join(["rapport", *given]), do=do))


def _columns_in(given: Sequence[str]) -> str:
    """The columns of the first table among the arguments, so that a missing option can be filled in; else nothing."""
    from features.errors import listed
    from features.tables import named_columns

    for each in given:
        if each.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".txt", ".parquet", ".pq")):
            try:
                return listed(named_columns(each), most=30)
            except (InputError, OSError, ValueError):
                return ""
    return ""


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        value = value.item()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value

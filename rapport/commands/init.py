"""``rapport init``: a project folder to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rapport.terminal import JsonFile, print_table, say, write_json


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.")],
    name: Annotated[str, typer.Option(help="The company's name; the folder's by default.")] = "",
    json: JsonFile = None,
) -> None:
    """Make a project folder: sources, offers, scenarios, contact policy and an experiment, with comments.

    Example: rapport init shop
    """
    from rapport.init import create_project

    written = create_project(folder, name=name or folder.resolve().name)
    meanings = {
        "rapport.toml": "the company, its sources and features",
        "offers.toml": "what can be proposed, on which channel, at what cost",
        "scenarios.toml": "marketers' rules",
        "contact_policy.toml": "limits, cooldowns, quiet hours",
        "always-on.toml": "static against personalized",
        ".gitignore": "keeps personal data out of the repository",
    }
    print_table(
        f"Project {folder}", ["file", "what it holds"], [(p.relative_to(folder), meanings[p.name]) for p in written]
    )
    say(f"Next: name your files under [[source]] in {folder / 'rapport.toml'}, then rapport ingest --project {folder}")
    write_json(json, {"files": [str(path) for path in written]})

"""A new project folder: files with comments that work as they are."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from features.errors import InputError

_IGNORED = "# Facts, models, decisions and MLflow's store hold personal data: not for a repository.\n"
_KEPT_OUT = ("history/", "quarantine/", "models/", "mlruns/", "ledger.db*", "exports/")


def create_project(folder: str | Path, *, name: str) -> tuple[Path, ...]:
    """Write a project into ``folder`` and return its files.

    Raises
    ------
    InputError
        When the folder already holds a project, or is a file.
    """
    root = Path(folder)
    if not name.isprintable() or any(mark in name for mark in '"\\') or not name.strip():
        raise InputError(
            "the name can't be written into TOML",
            got=repr(name[:80]),
            do="pass --name without quotes, backslashes and control characters",
        )
    try:
        if (root / "rapport.toml").exists() or root.is_file():
            raise InputError(
                f"{str(folder)!r} is already taken", got="a project or a file of that name", do="name a new folder"
            )
        return (*write_files(root, template="rapport/template", values={"name": name}), keep_out(root))
    except (OSError, ValueError) as error:
        raise InputError(
            "the project can't be written", got=str(error), do="name a folder in which you may write"
        ) from error


def write_files(root: Path, *, template: str, values: dict[str, Any], only: str = "*.toml") -> tuple[Path, ...]:
    """Fill in the files of a packaged template folder that match ``only`` and write them below ``root``."""
    language = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, trim_blocks=True)
    package, _, inside = template.partition("/")
    written = []
    with as_file(files(package) / inside) as origin:
        for source in sorted(origin.rglob(only)):
            target = root / source.relative_to(origin)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = language.from_string(source.read_text(encoding="utf-8")).render(values)
            target.write_text(text, encoding="utf-8")
            written.append(target)
    return tuple(written)


def keep_out(root: Path) -> Path:
    """Write the ``.gitignore`` that keeps personal data out of a repository."""
    path = root / ".gitignore"
    path.write_text(_IGNORED + "".join(f"{each}\n" for each in _KEPT_OUT), encoding="utf-8")
    return path

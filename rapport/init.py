"""A new project folder: files with comments that work as they are."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from features.errors import InputError

_IGNORED = "# Facts, models, decisions and MLflow's store hold personal data: not for a repository.\n"
_KEPT_OUT = ("history/", "quarantine/", "models/", "mlruns/", "ledger.db*")


def create_project(folder: str | Path, *, name: str) -> tuple[Path, ...]:
    """Write a project into ``folder`` and return its files.

    Raises
    ------
    InputError
        When the folder already holds a project, or is a file.
    """
    root = Path(folder)
    if (root / "rapport.toml").exists() or root.is_file():
        raise InputError(
            f"{str(folder)!r} is already taken", got="a project or a file of that name", do="name a new folder"
        )
    if any(mark in name for mark in '"\\\n\r'):
        raise InputError("the name can't be written into TOML", got=repr(name), do="leave out quotes and line ends")
    written = []
    with as_file(files("rapport") / "template") as template:
        for source in sorted(template.rglob("*.toml")):
            target = root / source.relative_to(template)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
            target.write_text(text.from_string(source.read_text(encoding="utf-8")).render(name=name), encoding="utf-8")
            written.append(target)
    ignore = root / ".gitignore"
    ignore.write_text(_IGNORED + "".join(f"{each}\n" for each in _KEPT_OUT), encoding="utf-8")
    return (*written, ignore)

"""What a table or a file calls things is shown on the terminal and never obeyed by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from features.errors import InputError
from rapport.terminal import fail, print_table, say

ODD = "\x1b[2J\x1b]0;owned\x07[red]a[/red]\u202eb\x9b1m\x00"


def test_escape_codes_of_a_table_s_arms_reach_no_terminal(tmp_path: Path, rapport_cli: Callable[..., Any]) -> None:
    source = tmp_path / "units.csv"
    source.write_text("arm,y\n" + "".join(f"\x1b[31mred{'' if k % 2 else 'der'},{k % 3}\n" for k in range(400)))
    done = rapport_cli("analyze", source, "--arm", "arm", "--control", "\x1b[31mred", "--metric", "y")
    assert done.exit_code == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr and r"\x1b[31mredder" in done.stdout


def test_every_way_to_print_shows_what_it_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    say(ODD)
    print_table(ODD, (ODD, "n"), [(ODD, 1)], note=ODD)
    fail(InputError(ODD, got=ODD, do=ODD))
    printed = "".join(capsys.readouterr())
    assert not set(printed) & set("\x1b\x07\x9b\x00\u202e")
    assert r"\x1b[2J\x1b]0;owned\x07[red]a[/red]\u202eb" in printed.replace("\n", "")

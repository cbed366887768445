"""Turns: whatever changes a project's facts as a whole does so alone, one process after the other."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from rapport.project import Project
from rapport.terminal import step


@contextmanager
def turn(project: Project) -> Iterator[None]:
    """This process's turn with a project: an intake, an erasure, a change of identity. It waits for those of others.

    An erasure that ran beside an intake could miss what that takes in after it looked. The lock ends with the process,
    however that ends.
    """
    project.history.folder.mkdir(parents=True, exist_ok=True)
    with (project.history.folder / ".turn").open("w") as handle:
        if not _free(handle):
            with step("waiting for another rapport to end that changes this project"):
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _free(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""Turns: what changes a project's facts as a whole, or looks at an experiment, does so alone, one after the other."""

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
    with _alone(project, ".turn", "waiting for another rapport to end that changes this project"):
        yield


@contextmanager
def look_turn(project: Project, key: str) -> Iterator[None]:
    """This process's turn to look at an experiment; it waits for those of others.

    Two looks at once would each be numbered, and spend of a campaign's alpha, as if there were no other.
    """
    with _alone(project, f".look-{key}", f"waiting for another look at {key} to end"):
        yield


@contextmanager
def _alone(project: Project, name: str, waiting: str) -> Iterator[None]:
    project.history.folder.mkdir(parents=True, exist_ok=True)
    with (project.history.folder / name).open("w") as handle:
        if not _free(handle):
            with step(waiting):
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _free(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

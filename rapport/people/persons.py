"""Whose accounts are one: the links in a project's history, as they were known at a moment."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from experiments.outcomes import query

if TYPE_CHECKING:
    from rapport.project import Project

_LINKS = """
    SELECT account_id, customer_id FROM members
    WHERE strength = $strength AND since < $as_of AND coalesce($as_of <= until, true)
"""


def persons_known(
    project: Project, *, as_of: datetime, strength: Literal["personalize", "household"] = "personalize"
) -> pa.Table:
    """``account_id, customer_id`` of the accounts that were known to be one person's (or one household's) at ``as_of``.

    What ``experiments.outcomes.by_person`` takes; an account that is alone is not in it.
    """
    return query(_LINKS, values={"as_of": as_of, "strength": strength}, members=project.history.members())

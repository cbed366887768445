"""Links by likeness: accounts whose names, births and addresses tell that they are one person, as the data teach."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import InputError
from features.history import History
from features.identity.resolution import Resolution, believe
from features.identity.rules import IdentityRules
from features.sql import identifier, in_memory, literal, literals

if TYPE_CHECKING:
    from features.linkage import LinkageModel

_GROWN = 1.25  # so many times the people that a model learned from, and it learns anew


def link_profiles(history: History, rules: IdentityRules, *, at: datetime | None = None) -> Resolution:
    """Link accounts by how alike their profiles are (`features.linkage`), and bring the groups up to date.

    The first time all accounts are compared, and the model that was learned is kept. From then on only accounts of
    which there are new facts are compared, with all others; once a quarter more people are known, all are again. A
    pair that was held for one person and no longer is, is taken back by a newer fact. ``at``: when that is known (now).

    Raises
    ------
    InputError
        When ``people`` of the rules names no attributes, or the attributes can't tell one person from another.
    """
    from features.linkage import LinkageModel, link  # brings Splink: only who links by likeness pays for it

    parts = history.parts("profile")  # before they are read: what comes in meanwhile is new the next time
    people = person_table(history, rules)
    if people.num_rows < 2:
        return Resolution(links=0, accounts=0)
    lesson = _Lesson.read(history, rules)
    if lesson is not None and lesson.covers(parts) and people.num_rows <= _GROWN * lesson.model.records:
        model = lesson.model
        told = _compared(
            history, rules, model, people, fresh=[each for each in parts if _name(each) not in lesson.parts]
        )
        found = believe(history, told, rules=rules, at=at)
    else:
        linkage = link([people], id_column="account_id")
        model = LinkageModel.of(linkage)
        found = believe(history, _likely(linkage.pairs, rules), rules=rules, at=at, everything=True)
    _Lesson(model=model, parts=frozenset(map(_name, parts))).write(history, rules)
    return found


def person_table(history: History, rules: IdentityRules) -> pa.Table:
    """One row an account that has any: ``account_id`` and the latest value of each attribute that ``people`` names."""
    if not rules.people:
        raise InputError(
            "nothing says what people are compared by",
            got="no people in [identity]",
            do='name the attributes that hold it, such as people = {given_name = "first_name", surname = "last_name"}',
        )
    columns = ", ".join(
        f"arg_max(value, (occurred_at, recorded_at)) FILTER (attribute = {literal(attribute)}) AS {identifier(column)}"
        for column, attribute in rules.people.items()
    )
    with in_memory() as connection:
        return connection.execute(
            f"SELECT customer_id AS account_id, {columns} FROM {history.scan('profile')} "
            f"WHERE {_told(rules)} GROUP BY customer_id ORDER BY customer_id"
        ).to_arrow_table()


def _told(rules: IdentityRules) -> str:
    return f"attribute IN ({literals(list(rules.people.values()))})"


def _likely(pairs: pa.Table, rules: IdentityRules) -> pa.Table:
    renamed = {"account_id": pairs["id_l"], "other_id": pairs["id_r"], "probability": pairs["probability"]}
    likely = pa.table(renamed)
    return likely.filter(pc.greater_equal(likely["probability"], rules.suppress))


def _compared(
    history: History, rules: IdentityRules, model: LinkageModel, people: pa.Table, *, fresh: Sequence[Path]
) -> pa.Table:
    """What the model tells of accounts with facts in ``fresh``; 0 where it told of one before and does not now."""
    from features.linkage import link_new

    if not fresh:
        return pa.table({"account_id": [""], "other_id": [""], "probability": [0.0]}).slice(1)
    with in_memory() as connection:
        connection.execute(
            f"CREATE TEMP TABLE fresh AS SELECT DISTINCT customer_id FROM read_parquet([{literals(fresh)}]) "
            f"WHERE {_told(rules)}"
        )
        ids = connection.execute("FROM fresh").to_arrow_table()["customer_id"]
        before = connection.execute(
            f"SELECT DISTINCT account_id, other_id, 0.0::DOUBLE AS probability FROM {history.scan('links')} "
            "WHERE because = 'model' AND (account_id IN (FROM fresh) OR other_id IN (FROM fresh))"
        ).to_arrow_table()
    new = pc.is_in(people["account_id"], value_set=ids)
    known, changed = (model.prepare(people.filter(each), id_column="account_id") for each in (pc.invert(new), new))
    pairs = link_new(model, known=known, new=changed, least=rules.suppress)
    return pa.concat_tables([_likely(pairs, rules), before])  # of two that are told of a pair, the higher counts


@dataclass(frozen=True, kw_only=True)
class _Lesson:
    """What likeness taught, and the parts of profile facts whose accounts were compared by it; it names nobody."""

    model: LinkageModel
    parts: frozenset[str]

    @classmethod
    def read(cls, history: History, rules: IdentityRules) -> _Lesson | None:
        """The lesson that is kept; None where there is none, or it was of other attributes, or can't be read."""
        from features.linkage import LinkageModel

        try:
            said = json.loads(_target(history).read_text(encoding="utf-8"))
            if said["people"] != rules.people:
                return None
            return cls(model=LinkageModel.from_json(said["model"]), parts=frozenset(map(str, said["parts"])))
        except (OSError, ValueError, KeyError, TypeError, InputError):
            return None  # it is learned anew

    def covers(self, parts: Sequence[Path]) -> bool:
        """Whether every part whose accounts were compared is still there as it was."""
        return self.parts <= set(map(_name, parts))

    def write(self, history: History, rules: IdentityRules) -> None:
        target = _target(history)
        scratch = target.with_suffix(f".{os.getpid()}.tmp")
        told = {"people": rules.people, "parts": sorted(self.parts), "model": self.model.to_json()}
        try:
            scratch.write_text(json.dumps(told), encoding="utf-8")
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)


def _target(history: History) -> Path:
    return history.folder / "likeness.json"


def _name(part: Path) -> str:
    return f"{part.name}:{part.stat().st_size}"

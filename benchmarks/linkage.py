"""Who is the same person, on simulated tables of people whose truth is known: how right, and how fast.

``python -m benchmarks linkage``. The tables are simulated (``people``): typing errors, swapped names, short forms,
missing values, moves, families at one address, second tables with other columns. Nothing of them was used to set the
linkage; the FEBRL files of the tests are the other witness. Beside it Splink by itself, set up by hand.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from benchmarks.linkage_splink import splink_alone
from features.linkage import link


def pool(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GIVEN = pool("""
james mary robert patricia john jennifer michael linda david elizabeth william barbara richard susan joseph
jessica thomas sarah christopher karen charles lisa daniel nancy matthew betty anthony sandra mark margaret
donald ashley steven kimberly andrew emily paul donna joshua michelle kenneth carol kevin amanda brian melissa
timothy deborah ronald stephanie edward rebecca jason sharon jeffrey laura ryan cynthia jacob dorothy nicholas
olivia eric amy jonathan kathleen stephen angela larry shirley justin emma scott brenda brandon pamela benjamin
nicole samuel anna gregory samantha alexander katherine patrick christine frank debra raymond rachel jack
carolyn dennis janet
""")
SHORT = {
    "james": "jim", "robert": "bob", "patricia": "pat", "jennifer": "jen", "michael": "mike", "david": "dave",
    "elizabeth": "liz", "william": "bill", "richard": "rick", "susan": "sue", "joseph": "joe", "thomas": "tom",
    "christopher": "chris", "charles": "charlie", "daniel": "dan", "matthew": "matt", "anthony": "tony",
    "andrew": "andy", "kenneth": "ken", "timothy": "tim", "deborah": "deb", "edward": "ed", "rebecca": "becky",
    "jeffrey": "jeff", "nicholas": "nick", "jonathan": "jon", "stephen": "steve", "benjamin": "ben", "samuel": "sam",
    "gregory": "greg", "alexander": "alex", "katherine": "kate",
}  # fmt: skip
STARTS = pool(
    "al ber car dan el fin gar hol in jor kem lan mor nor os pel quin ros san tor ul ven wal yor zim ash bran"
)
MIDDLES = pool("a e i o u an en in on ar er or al el il ing ist ow ay")
ENDS = pool("son ton ley man well ford field berg stein ski ez ini ova wood worth by ham ner ers")
MAILS = ("mail", "post", "web")
KINDS = ("street", "road", "avenue", "lane", "close", "drive", "place", "court")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How dirty a simulated table is: chances per value, and shares of people."""

    typo: float = 0.1
    missing: float = 0.05
    swapped: float = 0.03
    short: float = 0.1
    moved: float = 0.1
    family: float = 0.3
    duplicated: float = 0.3
    most: int = 3


def word(rng: np.random.Generator, *pools) -> str:
    return "".join(pool[int(rng.integers(len(pool)))] for pool in pools)


def people(records: int, *, recipe: Recipe, seed: int) -> pa.Table:
    """About ``records`` rows of people; ``rec_id`` is a number, ``person`` the truth; shuffled."""
    rng = np.random.default_rng(seed)
    surnames = sorted({word(rng, STARTS, MIDDLES, ENDS) for _ in range(6000)})
    towns = sorted({word(rng, STARTS, MIDDLES, ("ville", "ton", "burg", "field", "mouth")) for _ in range(400)})
    streets = sorted({word(rng, STARTS, MIDDLES, ENDS) for _ in range(3000)})
    common = 1 / np.arange(1, len(surnames) + 1) ** 0.8
    common /= common.sum()

    def home() -> dict[str, str]:
        town = min(int(rng.exponential(60)), len(towns) - 1)
        street = f"{streets[int(rng.integers(len(streets)))]} {KINDS[int(rng.integers(8))]}"
        return {
            "street_number": str(int(rng.integers(1, 250))), "street": street, "town": towns[town],
            "postcode": f"{10000 + 37 * town + int(rng.integers(5)):05d}", "state": f"S{town % 12}",
        }  # fmt: skip

    rows: list[dict[str, str | None]] = []
    before: dict[str, str] | None = None
    person = 0
    while len(rows) < records:
        kin = before is not None and rng.random() < recipe.family
        place = (
            {key: before[key] for key in ("street_number", "street", "town", "postcode", "state")} if kin else home()
        )
        given = GIVEN[min(int(rng.exponential(25)), len(GIVEN) - 1)]
        surname = before["surname"] if kin else surnames[int(rng.choice(len(surnames), p=common))]
        born = np.datetime64("1930-01-01") + int(rng.integers(0, 27000))
        phone = before["phone"] if kin and rng.random() < 0.4 else f"07{int(rng.integers(10**8, 10**9))}"
        own = {
            "given_name": given, "surname": surname, "birth_date": str(born), **place, "phone": phone,
            "email": f"{given[: int(rng.integers(1, 6))]}.{surname}{int(rng.integers(100))}@{word(rng, MAILS)}.com",
        }  # fmt: skip
        before = own
        copies = int(rng.integers(1, recipe.most + 1)) if rng.random() < recipe.duplicated else 0
        rows.append({**own, "person": str(person)})
        rows += [{**dirty(own, recipe, rng, home), "person": str(person)} for _ in range(copies)]
        person += 1
    order = rng.permutation(len(rows))
    ids = [f"R{int(each):07d}" for each in rng.permutation(len(rows))]
    return pa.Table.from_pylist([{"rec_id": ids[k], **rows[int(each)]} for k, each in enumerate(order)])


def dirty(own, recipe, rng, home):
    """A second record of a person, as another system has it."""
    row = {**own, **(home() if rng.random() < recipe.moved else {})}
    if rng.random() < recipe.short:
        row["given_name"] = SHORT.get(row["given_name"], row["given_name"])
    if rng.random() < recipe.swapped:
        row["given_name"], row["surname"] = row["surname"], row["given_name"]
    for name, value in row.items():
        if rng.random() < recipe.missing:
            row[name] = None
        elif rng.random() < recipe.typo:
            row[name] = typo(value, rng)
    return row


def typo(value: str, rng: np.random.Generator) -> str:
    """One sign wrong, gone, too many, or two swapped."""
    place = int(rng.integers(len(value)))
    kind = int(rng.integers(4))
    sign = str(int(rng.integers(10))) if value[place].isdigit() else chr(97 + int(rng.integers(26)))
    if kind == 0:
        return value[:place] + sign + value[place + 1 :]
    if kind == 1 and len(value) > 1:
        return value[:place] + value[place + 1 :]
    if kind == 2:
        return value[:place] + sign + value[place:]
    return value[:place] + value[place + 1 : place + 2] + value[place] + value[place + 2 :]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How right groups are, in pairs."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-12)


def quality(customers, truth) -> Quality:
    """Pairs that are together in ``customers`` beside those in ``truth``: two lists, a label per record."""

    def pairs(labels) -> int:
        return sum(size * (size - 1) // 2 for size in Counter(labels).values())

    both = pairs(list(zip(customers, truth, strict=True)))
    return Quality(precision=both / max(pairs(customers), 1), recall=both / max(pairs(truth), 1))


def judged(table: pa.Table, **options) -> tuple[Quality, float, int]:
    """Quality, seconds and compared pairs of linking a table whose column ``person`` is the truth."""
    truth = dict(zip(table.column("rec_id").to_pylist(), table.column("person").to_pylist(), strict=True))
    begun = time.perf_counter()
    found = link([table.drop(["person"])], id_column="rec_id", **options)
    seconds = time.perf_counter() - begun
    rows = found.records.to_pylist()
    return (
        quality([row["customer_id"] for row in rows], [truth[row["record_id"]] for row in rows]),
        seconds,
        found.compared,
    )


WORLDS = {
    "as it comes": Recipe(),
    "clean": Recipe(typo=0.02, missing=0.01, swapped=0.0, short=0.02, moved=0.02),
    "dirty": Recipe(typo=0.25, missing=0.15, swapped=0.08, short=0.2, moved=0.2),
    "few doubles": Recipe(duplicated=0.02, most=1),
    "many doubles": Recipe(duplicated=0.9, most=12),
    "families": Recipe(family=0.7),
}
WITHOUT = {
    "all columns": [],
    "no e-mail, phone": ["email", "phone"],
    "no date of birth": ["birth_date"],
    "no address": ["street_number", "street", "town", "postcode", "state"],
    "names, date, town": ["email", "phone", "street_number", "street", "postcode", "state"],
}


def main() -> None:
    print(
        f"{'simulated people':34}{'records':>9}{'precision':>11}{'recall':>8}{'F1':>8}{'pairs/rec':>11}{'seconds':>9}"
        f"{'Splink alone: F1':>18}{'seconds':>9}"
    )
    for name, recipe in WORLDS.items():
        table = people(5000, recipe=recipe, seed=1)
        for less, columns in WITHOUT.items():
            show(f"{name}, {less}", table.drop(columns), peer=name == "as it comes")
    show("as it comes (goal: under 60 s)", people(50_000, recipe=Recipe(), seed=2))


def show(name: str, table: pa.Table, *, peer: bool = False) -> None:
    found, seconds, compared = judged(table)
    beside = ""
    if peer:
        groups, alone = splink_alone(table)
        beside = f"{quality(groups, table.column('person').to_pylist()).f1:>18.4f}{alone:>9.1f}"
    rows = table.num_rows
    print(
        f"{name:34}{rows:>9,}{found.precision:>11.4f}{found.recall:>8.4f}{found.f1:>8.4f}"
        f"{compared / rows:>11.1f}{seconds:>9.1f}{beside}",
        flush=True,
    )


if __name__ == "__main__":
    main()

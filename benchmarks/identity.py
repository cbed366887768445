"""Identity at size: 900,000 known accounts and 15,000 new ones, beside making everything anew; and what guards cost.

``python -m benchmarks identity``. The new ones come twice: as accounts of known people, which touch several times as
many known accounts, and as strangers, whose cost alone, on an empty history, stands beside. Each step is a process of
its own, so that its peak memory is its own. The naive twin (pandas and connected components over all identifiers)
makes no dated facts, no thresholds and no guards.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from features import History
from features.facts import PROFILE
from features.identity import Identifier, IdentityRules, resolve

START = datetime(2024, 1, 1, tzinfo=UTC)
RULES = IdentityRules(
    identifier=(Identifier(kind="login"), Identifier(kind="email"), Identifier(kind="phone")),
    household=("address", "family_name"),
    country="49",
)
PARTS = 18  # weekly files, as they would have come


def world(accounts: int, *, people: int, seed: int, first: int = 0, strange: int = 0) -> pa.Table:
    """Profile facts of accounts drawn from ``people``; one in 500 e-mail addresses is a house's.

    ``strange``: the number of the first of the people, above those of another world to have none of them.
    """
    rng = np.random.default_rng(seed)
    person = strange + rng.integers(0, people, accounts)
    home = person // 2
    week = np.sort(rng.integers(0, PARTS, accounts)) + (PARTS if first else 0)
    house = rng.random(accounts) < 1 / 500
    values = {
        "email": np.where(
            house, np.char.add("office", (person % 300).astype(str)), np.char.add("p", person.astype(str))
        ),
        "phone": np.char.add("0170 ", (1_000_000 + home).astype(str)),
        "address": np.char.add("Main Street ", home.astype(str)),
        "family_name": np.char.add("Name", (home % 5_000).astype(str)),
        "login": np.char.add("u", person.astype(str)),
    }
    values["email"] = np.char.add(values["email"], "@Shop.Example")
    names = np.char.add("a", (first + np.arange(accounts)).astype(str))
    tables = []
    for attribute, value in values.items():
        has = rng.random(accounts) < {"login": 0.3, "phone": 0.5}.get(attribute, 0.9)
        moments = pa.array([START + timedelta(weeks=int(each)) for each in range(2 * PARTS)], PROFILE.field(3).type)
        at = moments.take(pa.array(week[has]))
        facts = [pa.array(names[has]), pa.array([attribute] * int(has.sum())), pa.array(value[has]), at, at]
        tables.append(pa.table([*facts, pa.nulls(int(has.sum()), pa.string())], schema=PROFILE))
    return pa.concat_tables(tables)


def prepare(folder: str, accounts: int, new: int) -> None:
    History(folder).append_profile(world(accounts, people=accounts * 5 // 9, seed=1), part="known")
    pa.parquet.write_table(world(new, people=accounts * 5 // 9, seed=2, first=accounts), f"{folder}/new.parquet")
    others = world(new, people=new * 5 // 9, seed=3, first=2 * accounts, strange=accounts)
    pa.parquet.write_table(others, f"{folder}/strangers.parquet")


def rebuild(folder: str, *_: int) -> dict:
    """Everything from facts: no cache, no links, no groups."""
    history = History(folder)
    for each in ("identifiers", "links", "members"):
        for path in (history.folder / each).rglob("*.parquet"):
            path.unlink()
    return timed(lambda: resolve(history, RULES))


def arrive(folder: str, *_: int) -> dict:
    """New accounts come in, and nothing else."""
    history = History(folder)
    history.append_profile(pa.parquet.read_table(f"{folder}/new.parquet"), part="new")
    return timed(lambda: resolve(history, RULES))


def strangers(folder: str, *_: int) -> dict:
    """New people come in, of whom nobody was known."""
    history = History(folder)
    history.append_profile(pa.parquet.read_table(f"{folder}/strangers.parquet"), part="strangers")
    return timed(lambda: resolve(history, RULES))


def alone(folder: str, *_: int) -> dict:
    """The same people on an empty history."""
    with tempfile.TemporaryDirectory() as empty:
        history = History(empty)
        history.append_profile(pa.parquet.read_table(f"{folder}/strangers.parquet"), part="strangers")
        return timed(lambda: resolve(history, RULES))


def again(folder: str, *_: int) -> dict:
    return timed(lambda: resolve(History(folder), RULES))


def naive(folder: str, *_: int) -> dict:
    """Plain connected components over all values of e-mail, phone and log-in, with pandas and scipy."""
    from features.identity.groups import components

    def run():
        facts = History(folder).profile().to_pandas()
        facts = facts[facts["attribute"].isin(["email", "phone", "login"])]
        account, accounts = pd.factorize(facts["customer_id"])
        value, values = pd.factorize(facts["attribute"].str.cat(facts["value"].str.lower().str.strip(), sep=":"))
        labels = components(len(accounts) + len(values), account, value + len(accounts))
        sizes = np.bincount(labels[: len(accounts)])
        return {"links": 0, "accounts": len(accounts), "largest": int(sizes.max())}

    return timed(run)


def timed(call) -> dict:
    from benchmarks.analysis import forget_peak, memory

    forget_peak()
    before, cpu, begun = memory("VmRSS"), time.process_time(), time.perf_counter()
    found = call()
    seconds, spent = time.perf_counter() - begun, time.process_time() - cpu
    told = found if isinstance(found, dict) else {"links": found.links, "accounts": found.accounts}
    return {"seconds": seconds, "cpu": spent, "peak": memory("VmHWM"), "more": memory("VmHWM") - before, **told}


def step(name: str, folder: str, accounts: int, new: int) -> dict:
    """One step in a process of its own."""
    code = f"import json, benchmarks.identity as b; print(json.dumps(b.{name}({folder!r}, {accounts}, {new})))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(ran.stdout.strip().splitlines()[-1]) or {}


def main(accounts: int = 900_000, new: int = 15_000) -> None:
    """Print the figures of each step."""
    with tempfile.TemporaryDirectory() as folder:
        step("prepare", folder, accounts, new)
        print(f"{accounts:,} accounts, then {new:,} new ones; goal: new ones cost at most a fifth of making all anew")
        print(f"{'':34}{'seconds':>8}{'CPU s':>8}{'peak':>9}{'on top':>9}{'links':>11}{'accounts':>10}")
        found = {}
        for name, what in (
            ("rebuild", "all anew, known accounts"),
            ("arrive", "new accounts arrive"),
            ("strangers", "new people arrive"),
            ("alone", "the same, nobody known"),
            ("again", "nothing new"),
            ("rebuild", "all anew, all accounts"),
            ("naive", "naive twin: pandas, no guards"),
        ):
            got = found[what] = step(name, folder, accounts, new)
            print(
                f"{what:34}{got['seconds']:8.2f}{got['cpu']:8.2f}{got['peak']:6.0f} MB{got['more']:6.0f} MB"
                f"{got['links']:11,}{got['accounts']:10,}",
                flush=True,
            )
        share = found["new accounts arrive"]["seconds"] / found["all anew, all accounts"]["seconds"]
        beside = found["new people arrive"]["cpu"] / found["the same, nobody known"]["cpu"]
        print(f"new accounts cost {share:.1%} of making all anew; {_persons(folder)}")
        print(f"new people cost {beside:.1f} times the processor seconds that they cost where nobody is known")


def _persons(folder: str) -> str:
    sizes = History(folder).members().to_pandas()
    now = sizes[sizes["until"].isna()].groupby(["strength", "customer_id"]).size()
    told = {name: now[name] for name in ("personalize", "suppress", "household")}
    return "largest group: " + ", ".join(f"{name} {int(each.max())}" for name, each in told.items())


if __name__ == "__main__":
    main()

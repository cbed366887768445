"""``rapport market``: a simulated retailer's year, as the exports of its source systems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json


def market(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the exports.")],
    customers: Annotated[int, typer.Option(help="How many customers.")] = 50_000,
    seed: Annotated[int, typer.Option(help="Seed of all draws: the same seed, the same market.")] = 1,
    weeks: Annotated[int, typer.Option(help="Weeks of history.")] = 52,
    heterogeneity: Annotated[float, typer.Option(help="How much customers differ; 0: all alike.")] = 1.0,
    identity_noise: Annotated[float, typer.Option(help="Share of customers known under two ids.")] = 0.0,
    json: JsonFile = None,
) -> None:
    """Write a simulated market's year as raw exports of six systems and a CRM, with their mapping. No real person.

    Example: rapport market --customers 50000 --seed 1 --out exports
    """
    from experiments.market import Market, MarketSpec, write_exports

    spec = MarketSpec(customers=customers, seed=seed, heterogeneity=heterogeneity, identity_noise=identity_noise)
    with step(f"simulating {weeks} weeks of {customers:,} customers"):
        written = write_exports(Market(spec), out, weeks=weeks)
    sizes = {name: (out / name).stat().st_size for name in written}
    print_table(
        f"Simulated market in {out}",
        ["file", "rows", "MB"],
        [(name, f"{count:,}", f"{sizes[name] / 1e6:.1f}") for name, count in written.items() if count],
        note="Simulated: no real customers. What is true of them can be asked: docs/market.md.",
    )
    say(f"Next: put {out / 'sources.toml'} into a project's rapport.toml and run rapport ingest")
    write_json(
        json,
        {
            "simulated": True,
            "customers": customers,
            "seed": seed,
            "weeks": weeks,
            "files": [{"file": name, "rows": count, "bytes": sizes[name]} for name, count in written.items()],
        },
    )

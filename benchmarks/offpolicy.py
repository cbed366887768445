"""Off-policy evaluation and uplift figures: how fast they are, and where intervals stop covering.

``python -m benchmarks offpolicy``. obp and scikit-uplift want environments of their own: their seconds are quoted, as
measured alone on two cores.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from experiments.estimation.influence import mean_interval
from experiments.offpolicy import evaluate
from experiments.offpolicy.differences import against_what_ran
from experiments.offpolicy.estimators import estimate, terms_of
from experiments.offpolicy.evaluation import diagnose
from experiments.offpolicy.logs import Log
from features.tables import read_table, write_table
from training.targeting import targeting

_NAMES = ("ips", "snips", "dr", "sndr", "switch_dr")


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Shares of ``runs`` whose nominal 95% interval holds the value: by estimator, and plainly.

    ``plain`` is the self-normalized estimate with the error of its influence values alone, as it is usually given.
    """

    world: str
    runs: int
    covered: dict[str, float]
    plain: float


def log_of(n: int, *, actions: int, sharp: float, seed: int) -> tuple[Log, np.ndarray, float]:
    """A log, fair expected rewards (n, actions), and the policy's true value on its rows."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, actions))
    chance = 1 / (1 + np.exp(1.0 - base))
    logging, policy = (np.exp(slope * base) for slope in (-sharp, sharp))
    logging /= logging.sum(axis=1, keepdims=True)
    policy /= policy.sum(axis=1, keepdims=True)
    action = (rng.random((n, 1)) > logging.cumsum(axis=1)).sum(axis=1).clip(0, actions - 1)
    rows = np.arange(n)
    reward = (rng.random(n) < chance[rows, action]).astype(float)
    log = _log(action, reward, logging[rows, action], policy)
    return log, np.full_like(chance, 0.3), float((policy * chance).sum(axis=1).mean())


def _log(action: np.ndarray, reward: np.ndarray, probability: np.ndarray, policy: np.ndarray) -> Log:
    return Log(
        actions=tuple(map(str, range(policy.shape[1]))),
        action=action,
        reward=reward,
        probability=probability,
        policy=policy,
        features=np.zeros((action.size, 1), dtype=np.float32),
        cluster=None,
    )


def best_of(call: Callable[[], object], *, times: int = 5) -> tuple[float, float]:
    """The least seconds on the clock, and of the processor, that ``call`` took."""
    taken = []
    for _ in range(times):
        begun, busy = time.perf_counter(), time.process_time()
        call()
        taken.append((time.perf_counter() - begun, time.process_time() - busy))
    return min(clock for clock, _ in taken), min(cpu for _, cpu in taken)


def _tell(what: str, seconds: tuple[float, float], note: str) -> None:
    print(f"{what:<58}{seconds[0]:8.3f} s{seconds[1]:8.3f} s  {note}", flush=True)


def speed(n: int = 1_000_000) -> None:
    """Seconds for all six estimators with intervals, for the whole command's work, and for the uplift figures."""
    print(f"{n:,} rows{'clock':>54}{'processor':>12}")
    log, expected, _ = log_of(n, actions=10, sharp=0.5, seed=1)

    def six() -> object:
        log.__dict__.pop("weight", None)
        return estimate(log, expected=expected)

    _tell("six estimators with intervals, 10 actions", best_of(six), "goal 0.15 s")
    print(f"{'  obp, doubly robust alone / with 100 bootstraps':<58}    0.19 s / 1.76 s  (quoted)")
    with tempfile.TemporaryDirectory() as folder:
        rows = write_table(_table(log), Path(folder) / "log.parquet")
        names = {f"p_{place}": log.policy[:, place] for place in range(10)}
        wished = write_table(pa.table(names), Path(folder) / "policy.parquet")

        def whole() -> object:
            found = evaluate(
                read_table(rows), action="action", reward="reward", probability="probability", policy=read_table(wished)
            )
            return found.estimates

        _tell("tables read, models of three folds, estimates", best_of(whole, times=1), "as `rapport evaluate` does")
    rng = np.random.default_rng(1)
    score, treated = rng.random(n), rng.random(n) < 0.5
    bought = (rng.random(n) < 0.1 + 0.05 * score * treated).astype(float)
    figures = best_of(lambda: targeting(score, outcome=bought, treated=treated))
    _tell("six uplift figures, one sort", figures, "goal 0.3 s")
    print(f"{'  scikit-uplift, qini_auc_score alone':<58}    0.97 s  (quoted)")


def _table(log: Log) -> pa.Table:
    rng = np.random.default_rng(2)
    features = {f"x{place}": rng.normal(size=log.reward.size) for place in range(5)}
    names = np.array(log.actions)[log.action]
    return pa.table({"action": names, "reward": log.reward, "probability": log.probability, **features})


def coverage(runs: int = 400, *, sharps: Sequence[float] = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)) -> list[Coverage]:
    """Coverage as overlap shrinks: 2,000 rows, 3 actions; a world is named by the median effective sample size."""
    found = []
    for sharp in sharps:
        effective: list[float] = []

        def draw(seed: int, sharp: float = sharp, effective: list[float] = effective) -> tuple[Log, np.ndarray, float]:
            drawn = log_of(2_000, actions=3, sharp=sharp, seed=seed)
            effective.append(diagnose(drawn[0]).effective_sample_size)
            return drawn

        covered, plain = _covered(draw, runs)
        world = f"{np.median(effective):,.0f} effective of 2,000"
        found.append(Coverage(world=world, runs=runs, covered=covered, plain=plain))
    return found


def rare_rewards(runs: int = 500) -> list[Coverage]:
    """Coverage where few decisions earn anything: clicks in logs like Open Bandit's, and sales with uneven weights."""
    worlds: list[tuple[str, Callable[[int], tuple[Log, np.ndarray, float]]]] = [
        ("50 clicks of 10,000, log at random", lambda seed: _clicks(10_000, back=False, seed=seed)),
        ("50 clicks of 10,000, log of Thompson", lambda seed: _clicks(10_000, back=True, seed=seed)),
        ("12 clicks of 2,500, log at random", lambda seed: _clicks(2_500, back=False, seed=seed)),
        ("12 clicks of 2,500, log of Thompson", lambda seed: _clicks(2_500, back=True, seed=seed)),
        ("sales, a fifth of the policy tried once in 70", lambda seed: _sales(10_000, weight=70, share=0.2, seed=seed)),
        ("sales, two fifths tried once in 5", lambda seed: _sales(10_000, weight=5, share=0.4, seed=seed)),
    ]
    found = []
    for world, draw in worlds:
        covered, plain = _covered(draw, runs)
        found.append(Coverage(world=world, runs=runs, covered=covered, plain=plain))
    return found


def _clicks(n: int, *, back: bool, seed: int) -> tuple[Log, np.ndarray, float]:
    """34 items, of which Thompson sampling shows few most of the time; ``back``: at random is valued from its log."""
    fixed, rng = np.random.default_rng(7), np.random.default_rng([7, seed])
    thompson = 0.002 + fixed.dirichlet(np.full(34, 0.3))
    thompson /= thompson.sum()
    rate = 0.005 * fixed.gamma(4, 0.25, 34)
    even = np.full(34, 1 / 34)
    logging, policy = (thompson, even) if back else (even, thompson)
    action = rng.choice(34, n, p=logging)
    reward = (rng.random(n) < rate[action]).astype(float)
    log = _log(action, reward, logging[action], np.broadcast_to(policy, (n, 34)))
    return log, np.full((n, 34), 0.005), float(policy @ rate)


def _sales(n: int, *, weight: int, share: float, seed: int) -> tuple[Log, np.ndarray, float]:
    """4% buy, for 15 each; on a ``share`` of the customers the log does what the policy does once in ``weight``."""
    rng = np.random.default_rng([8, seed])
    chance = np.where(rng.random(n) < share, 1 / weight, 0.6)
    action = (rng.random(n) >= chance).astype(np.int64)
    reward = (rng.random(n) < 0.04) * rng.lognormal(np.log(15) - 0.18, 0.6, n)
    policy = np.broadcast_to(np.array([1.0, 0.0]), (n, 2))
    return _log(action, reward, np.where(action == 0, chance, 1 - chance), policy), np.full((n, 2), 0.6), 0.6


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A world in which a candidate is held against what ran.

    ``draw`` gives a log, expected rewards and the true difference; ``narrower``: the paired interval is narrower than
    this share of two independent ones; ``most_shifted``: the candidate's own interval, moved by the value of what ran,
    covers at most this share, 1 where it is too wide.
    """

    name: str
    draw: Callable[[int], tuple[Log, np.ndarray, float]]
    narrower: float
    most_shifted: float


def _alike(seed: int) -> tuple[Log, np.ndarray, float]:
    """4% buy one of three; the candidate does a little more of what the log does."""
    rng = np.random.default_rng([21, seed])
    base = rng.normal(size=(4_000, 3))
    logging, policy = (np.exp(slope * base) for slope in (0.8, 1.1))
    logging, policy = (each / each.sum(axis=1, keepdims=True) for each in (logging, policy))
    chance = 0.08 / (1 + np.exp(-base))
    action = (rng.random((4_000, 1)) > logging.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    rows = np.arange(4_000)
    reward = (rng.random(4_000) < chance[rows, action]).astype(float)
    # The truth is the mean over 20 million other customers.
    return _log(action, reward, logging[rows, action], policy), np.full_like(chance, 0.04), 0.001717


def _households(seed: int) -> tuple[Log, np.ndarray, float]:
    """Five decisions on each of 800 customers, whose spending is mostly their own; one of two contacts is better."""
    rng = np.random.default_rng([22, seed])
    who = np.repeat(np.arange(800), 5)
    action = (rng.random(4_000) < 0.5).astype(np.int64)
    reward = 10 + 5 * rng.normal(size=800)[who] + action + rng.normal(size=4_000)
    policy = np.broadcast_to(np.array([0.2, 0.8]), (4_000, 2))
    log = replace(_log(action, reward, np.full(4_000, 0.5), policy), cluster=who)
    return log, np.full((4_000, 2), 10.5), 0.3


def _drops(seed: int) -> tuple[Log, np.ndarray, float]:
    """The log does something risky one time in five, which the candidate drops."""
    rng = np.random.default_rng([23, seed])
    action = (rng.random(4_000) < 0.2).astype(np.int64)
    reward = np.where(action == 1, 12 * rng.gamma(1.0, 1.0, 4_000) - 2, 10 + rng.normal(size=4_000))
    policy = np.broadcast_to(np.array([1.0, 0.0]), (4_000, 2))
    log = _log(action, reward, np.where(action == 1, 0.2, 0.8), policy)
    return log, np.full((4_000, 2), 10.0), 0.0


PAIRED = (
    Pair(name="more of what ran", draw=_alike, narrower=0.5, most_shifted=1.0),
    Pair(name="five decisions a customer", draw=_households, narrower=0.5, most_shifted=1.0),
    Pair(name="a risky action dropped", draw=_drops, narrower=1.0, most_shifted=0.8),
)


def paired_once(world: Pair, *, seed: int) -> list[tuple[str, tuple[float, float], float]]:
    """Intervals of the doubly robust difference to what ran: paired, of two independent values, and the value's own."""
    log, expected, truth = world.draw(seed)
    terms = terms_of(log, expected=expected)
    apart = against_what_ran(log, terms)[3]
    value, ran = (mean_interval(each, cluster=log.cluster) for each in (terms["dr"].values, log.reward))
    own = value.high - value.value
    wide = float(np.hypot(own, ran.high - ran.value))
    return [
        ("paired", (apart.ci_low, apart.ci_high), truth),
        ("independent", (apart.difference - wide, apart.difference + wide), truth),
        ("shifted", (apart.difference - own, apart.difference + own), truth),
    ]


def paired(runs: int = 1_000) -> None:
    """Coverage and width of intervals for the difference to what ran."""
    print(f"\ndifference to what ran, doubly robust, nominal 95%, {runs:,} runs each: coverage and mean width")
    print(f"{'':<30}{'paired':>20}{'two independent':>20}{'own, shifted':>20}")
    for world in PAIRED:
        found: dict[str, list[tuple[bool, float]]] = {}
        for seed in range(runs):
            for name, (low, high), truth in paired_once(world, seed=seed):
                found.setdefault(name, []).append((low <= truth <= high, high - low))
        cells = (np.mean(each, axis=0) for each in found.values())
        print(f"{world.name:<30}" + "".join(f"{held:12.1%}{width:8.4f}" for held, width in cells), flush=True)


def _covered(draw: Callable[[int], tuple[Log, np.ndarray, float]], runs: int) -> tuple[dict[str, float], float]:
    held, plain = dict.fromkeys(_NAMES, 0), 0
    for seed in range(runs):
        log, expected, truth = draw(seed)
        for each in estimate(log, expected=expected):
            if each.estimator in held:
                held[each.estimator] += each.ci_low <= truth <= each.ci_high
        ratio = float(log.weight @ log.reward / log.weight.sum())
        own = mean_interval(ratio + log.weight * (log.reward - ratio) / log.weight.mean())
        plain += own.low <= truth <= own.high
    return {name: count / runs for name, count in held.items()}, plain / runs


def show(title: str, found: Sequence[Coverage]) -> None:
    """Print coverages as a table."""
    print(f"\n{title}, nominal 95%, {found[0].runs} runs each")
    print(f"{'':<46}" + "".join(f"{name:>10}" for name in (*_NAMES, "plain")))
    for each in found:
        shares = (*each.covered.values(), each.plain)
        print(f"{each.world:<46}" + "".join(f"{share:10.1%}" for share in shares), flush=True)


def main() -> None:
    """Speed, then coverage."""
    speed()
    show("coverage as overlap shrinks", coverage())
    show("coverage where few decisions earn anything", rare_rewards())
    paired()


if __name__ == "__main__":
    main()

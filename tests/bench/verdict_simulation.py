"""How the statistics behave where the truth is known: `python tests/bench/verdict_simulation.py [--draws 1000] [--seed 1] [--processes 1]`.

Coverage of Wilson's and Tango's intervals is computed exactly, by summing over all outcomes. Size and power of the whole verdict are
simulated: pairs are drawn from known rates and go through the same analysis and the same rules as a run. It prints a table and one line
of JSON with the seed; it refuses to judge.
"""

import argparse
import functools
import importlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path[0] = str(Path(__file__).resolve().parents[2])

import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402

from engine.core.analysis import Pair, Settings, analyse, describe  # noqa: E402
from engine.core.statistics import smallest_detectable_difference, tango_interval, wilson_interval  # noqa: E402
from engine.core.verdict import Arm, Evidence, GateOutcome, decide  # noqa: E402
from engine.protocol.evaluation import Outcome, Prereg, Verdict  # noqa: E402

GUARDED = ("format", "safety")
SETTINGS = Settings(guarded=GUARDED)
BASE_RATE = 0.6
CHUNK = 50


@dataclass(frozen=True)
class Truth:
    """What pairs are drawn from. `lost` and `won` are P(only base succeeds), P(only SFT succeeds); types named in GUARDED have their own.

    Items come in clusters of `cluster` items, which share one outcome with probability `together`. `runaway`: the share of items on
    which the base arm goes on into a new prompt and fails for that alone.
    """

    name: str
    lost: float = 0.08
    won: float = 0.08
    guarded_lost: float = 0.08
    guarded_won: float = 0.08
    guarded_items: int = 60
    other_items: int = 280
    cluster: int = 1
    together: float = 0.5
    runaway: float = 0.0


NO_LIFT = Truth("no lift")
FIVE = Truth("+5 points", lost=0.055, won=0.105, guarded_lost=0.055, guarded_won=0.105)
TEN = Truth("+10 points", lost=0.03, won=0.13, guarded_lost=0.03, guarded_won=0.13)
CLUSTERS = {"cluster": 3, "guarded_items": 180, "other_items": 720}
TRUTHS = (
    NO_LIFT,
    FIVE,
    TEN,
    *(replace(truth, name=f"{truth.name}, clusters of 3", **CLUSTERS) for truth in (NO_LIFT, FIVE, TEN)),
    replace(NO_LIFT, name="+10 points, guarded unchanged", lost=0.03, won=0.13),
    replace(NO_LIFT, name="+10 points, guarded unchanged, n 100", lost=0.03, won=0.13, guarded_items=100),
    replace(TEN, name="+10 points, guarded -10, n 60", guarded_lost=0.14, guarded_won=0.04),
    replace(TEN, name="+10 points, guarded -10, n 100", guarded_lost=0.14, guarded_won=0.04, guarded_items=100),
    replace(NO_LIFT, name="only stopping", runaway=0.15),
)


def wilson_coverage(n: int, p: float) -> float:
    """P(the 95% interval holds p) for k ~ Bin(n, p)."""
    k = np.arange(n + 1)
    limits = [wilson_interval(int(each), n) for each in k]
    holds = np.array([low <= p <= high for low, high in limits])
    return float(stats.binom.pmf(k, n, p)[holds].sum())


@functools.cache
def tango(b: int, c: int, n: int) -> tuple[float, float]:
    """Tango's interval, remembered: the sums over several truths meet the same counts."""
    return tango_interval(b, c, n)


def tango_coverage(n: int, lost: float, won: float) -> float:
    """P(the 95% interval holds won − lost), over all (b, c) but for those of less than 10⁻⁷ probability."""
    total = 0.0
    for b in range(n + 1):
        c = np.arange(n - b + 1)
        mass = stats.binom.pmf(b, n, lost) * stats.binom.pmf(c, n - b, won / (1 - lost))
        for each in c[mass > 1e-7]:
            low, high = tango(b, int(each), n)
            total += float(mass[each]) * (low - 1e-12 <= won - lost <= high + 1e-12)
    return total


def drawn(truth: Truth, seed: np.random.SeedSequence) -> tuple[list[Pair], list[Pair]]:
    """Pairs as the arms answered, and as they are once both are cut at new-prompt markers."""
    generator = np.random.default_rng(seed)
    whole, cut = [], []
    for name, count in (("fact", truth.other_items), *((name, truth.guarded_items) for name in GUARDED)):
        lost, won = (truth.guarded_lost, truth.guarded_won) if name in GUARDED else (truth.lost, truth.won)
        cells = _cells(generator, count, lost, won, truth)
        runs_away = generator.random(count) < truth.runaway
        for place, (cell, away) in enumerate(zip(cells, runs_away, strict=True)):
            cluster = f"{name}{place // truth.cluster}" if truth.cluster > 1 else None
            base, sft = cell in (0, 1), cell in (0, 2)
            pair = Pair(id=f"{name}{place}", types=(name,), base=bool(base), sft=bool(sft), cluster=cluster)
            cut.append(pair)
            whole.append(Pair(id=pair.id, types=pair.types, base=bool(base and not away), sft=pair.sft, cluster=cluster))
    return whole, cut


def _cells(generator: np.random.Generator, count: int, lost: float, won: float, truth: Truth) -> np.ndarray:
    """0 both, 1 only base, 2 only SFT, 3 neither."""
    shares = [BASE_RATE - lost, lost, won, 1 - BASE_RATE - won]
    alone = generator.choice(4, size=count, p=shares)
    shared = np.repeat(generator.choice(4, size=-(-count // truth.cluster), p=shares), truth.cluster)[:count]
    one = np.repeat(generator.random(-(-count // truth.cluster)) < truth.together, truth.cluster)[:count]
    return np.where(one & (truth.cluster > 1), shared, alone)


def judged(whole: list[Pair], after: Outcome) -> Verdict:
    """The verdict of a run that has nothing against it but its pairs."""
    analysis, n = analyse(whole, SETTINGS), len(whole)
    return decide(
        Evidence(
            analysis=analysis,
            settings=SETTINGS,
            gates=(GateOutcome(id="leakage", severity="hard", status="pass"),),
            arms=(Arm(name="base", planned=n, done=n), Arm(name="sft", planned=n, done=n)),
            prereg=Prereg(hash="0", exploratory=False, attempt=1, alpha=SETTINGS.alpha),
            after_stop_rules=after,
        )
    )


def chunk(truth: Truth, seeds: list[np.random.SeedSequence]) -> Counter[str]:
    """What the verdicts of these draws say."""
    _remember_design_power()
    found: Counter[str] = Counter()
    for seed in seeds:
        whole, cut = drawn(truth, seed)
        verdict = judged(whole, describe(cut, SETTINGS))
        found[verdict.decision] += 1
        found["GO without a flag"] += verdict.decision == "GO" and not verdict.flags
        found["GO, STOPPING ONLY"] += verdict.decision == "GO" and "STOPPING ONLY" in verdict.flags
        failed = {reason.id for reason in verdict.reasons if reason.status == "fail"}
        found["guard regressed"] += any(name.startswith("guard.") for name in failed)
        found["too small"] += "min_lift" in failed
    return found


def _remember_design_power() -> None:
    """The smallest detectable differences depend on the design alone, which is the same in every draw."""
    remembered = functools.cache(smallest_detectable_difference)
    for name in ("analyse", "guards"):
        module = importlib.import_module(f"engine.core.analysis.{name}")
        if not hasattr(module.smallest_detectable_difference, "cache_info"):
            module.smallest_detectable_difference = remembered


def simulated(truths: tuple[Truth, ...], draws: int, seed: int, processes: int) -> Iterator[tuple[Truth, Counter[str]]]:
    """Each truth with the counts of its draws; the same whatever the number of processes."""
    with ProcessPoolExecutor(processes) as pool:
        for truth, root in zip(truths, np.random.SeedSequence(seed).spawn(len(truths)), strict=True):
            seeds = root.spawn(draws)
            parts = [seeds[start : start + CHUNK] for start in range(0, draws, CHUNK)]
            yield truth, sum(pool.map(chunk, [truth] * len(parts), parts), Counter())


def coverage() -> dict[str, dict[str, float]]:
    """Exact coverage of nominal 95% intervals, by method and truth."""
    wilson = {f"n {n}, p {p:g}": wilson_coverage(n, p) for n in (60, 300) for p in (0.02, 0.1, 0.5, 0.81, 0.98)}
    tangos = {
        f"n {n}, lost {lost:g}, won {won:g}": tango_coverage(n, lost, won)
        for n in (60, 300)
        for lost, won in ((0.02, 0.02), (0.08, 0.08), (0.03, 0.13), (0.01, 0.2))
    }
    return {"wilson": wilson, "tango": tangos}


def main() -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    given, began = parser.parse_args(), time.perf_counter()
    covered = coverage()
    for method, values in covered.items():
        for truth, value in values.items():
            print(f"{method:<8}{truth:<32}{100 * value:6.2f}% of 95%")
    names = ("GO", "GO without a flag", "GO, STOPPING ONLY", "NO-GO", "guard regressed", "too small", "INCONCLUSIVE")
    print(f"\n{'share of draws in %':<40}" + "".join(f"{name:>19}" for name in names))
    verdicts = {}
    for truth, counts in simulated(TRUTHS, given.draws, given.seed, given.processes):
        verdicts[truth.name] = {"truth": asdict(truth), **{name: counts[name] for name in names}}
        print(f"{truth.name:<40}" + "".join(f"{100 * counts[name] / given.draws:>19.1f}" for name in names), flush=True)
    about = {
        "draws": given.draws,
        "seed": given.seed,
        "numpy": version("numpy"),
        "scipy": version("scipy"),
        "alpha": SETTINGS.alpha,
    }
    print(json.dumps({**about, "elapsed_s": round(time.perf_counter() - began), "coverage": covered, "verdicts": verdicts}))


if __name__ == "__main__":
    main()

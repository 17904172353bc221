"""The kill test: real processes, killed with SIGKILL at random instants, started again until their run is done.

``python benchmarks/kill.py --kills 500 [--route openai ...] [--seed 1] [--seconds-limit 1200]``: every run has three
shards and, but for a few, two rounds, and meets one trouble beside the kills (``kill_troubles.py``). Checked after
each: jobs created are jobs needed, no two ask the same, none is stopped but a second one, every custom_id is answered
once with the digest of its own prompt, the books balance. Exits with 1 on a breach, with the run directory's listing
and the seed.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Any

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from airflow_batch_provider.testing.routes import DISTINCT
from benchmarks.kill_attempts import PHASES, Zygote
from benchmarks.kill_troubles import TROUBLES
from benchmarks.killing import BreachError, Tally, bench_of

KILLS_A_RUN = 8
SWITCH_SECONDS = 0.0005
HEAD = ("route", "kills", "runs", "tries", "twins", "created", "needed", "rows", "refused", *PHASES, "seconds")


def kill_on(
    name: str, zygote: Zygote, kills: int, seed: int, until: float, first_run: int = 0, *, measure: bool = True
) -> Tally:
    """Run on one route until so many kills are made.

    :param until: no run begins after this time of the monotonic clock.
    :param measure: whether a first run shows how long one takes; else it is guessed.
    :raises BreachError: at the first breach.
    """
    with bench_of(name, zygote, seed) as bench:
        if measure:
            bench.measure()
        number = first_run
        while bench.tally.kills < kills and time.monotonic() < until:
            bench.run(number, kills=min(KILLS_A_RUN, kills - bench.tally.kills))
            number += 1
        return bench.tally


def line_of(tally: Tally) -> str:
    """One line of the table."""
    told: dict[str, Any] = {
        **vars(tally),
        **{phase: tally.phases[phase] for phase in PHASES},
        "seconds": f"{tally.seconds:.0f}",
    }
    return f"{tally.route:20}" + "".join(f"{told[name]:>8}" for name in HEAD[1:])


def total_of(tallies: list[Tally]) -> Tally:
    """All routes as one."""
    total = Tally("total")
    for tally in tallies:
        for name in ("kills", "runs", "tries", "twins", "created", "needed", "rows", "refused", "seconds"):
            setattr(total, name, getattr(total, name) + getattr(tally, name))
        total.phases.update(tally.phases)
        total.troubles.update(tally.troubles)
    return total


def run_all(routes: list[str], zygote: Zygote, kills: int, seed: int, seconds: float, first_run: int) -> int:
    """Route after route; prints the table.

    :return: 1 when any law was broken, else 0.
    """
    until = time.monotonic() + seconds
    tallies: list[Tally] = []
    broken = 0
    print(f"{HEAD[0]:20}" + "".join(f"{name:>8}" for name in HEAD[1:]), flush=True)
    for number, name in enumerate(routes):
        quota = kills * (number + 1) // len(routes) - kills * number // len(routes)
        try:
            tallies.append(kill_on(name, zygote, quota, seed, until, first_run))
            print(line_of(tallies[-1]), flush=True)
        except BreachError as error:
            broken += 1
            print(error, flush=True)
    total = total_of(tallies)
    print(line_of(total))
    print("runs by trouble:", ", ".join(f"{name} {total.troubles[name]}" for name in TROUBLES))
    verdict = f"{broken} routes with a breach" if broken else "no breach"
    print(f"seed {seed}: {total.kills} kills, {total.created} jobs created, {total.needed} needed, {verdict}")
    return int(broken > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kills", type=int, default=500, help="over all routes")
    parser.add_argument("--route", nargs="+", choices=DISTINCT, default=list(DISTINCT))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds-limit", type=float, default=3600.0, help="no run begins after so many seconds")
    parser.add_argument("--first-run", type=int, default=0, help="the number of the first run, to see a breach again")
    told = parser.parse_args()
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.setswitchinterval(SWITCH_SECONDS)  # the fakes' threads must not delay a kill
    with Zygote() as zygote:
        return run_all(told.route, zygote, told.kills, told.seed, told.seconds_limit, told.first_run)


if __name__ == "__main__":
    sys.exit(main())

"""Run simulations of whole clusters: `python -m tests.simulation --help`."""

from __future__ import annotations

import argparse
import itertools
import sys
import time

from .faults import simulate
from .promises import Violation

PROGRESS = 1000
"""seeds after which the program says that it goes on"""


def main() -> int:
    """Replay one seed, or go on over new ones."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument(
        "seed", nargs="?", type=int, help="replay this seed; without it, seeds from --first on"
    )
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument("--first", type=int, default=0, help="the first of many seeds (default 0)")
    parser.add_argument("--count", type=int, help="how many seeds; without it, until it is stopped")
    options = parser.parse_args()
    if options.seed is not None:
        simulate(options.seed, trace=options.trace)
        return 0
    failed, began_s = 0, time.monotonic()
    seeds = (
        itertools.count(options.first)
        if options.count is None
        else range(options.first, options.first + options.count)
    )
    done = 0
    try:
        for done, seed in enumerate(seeds, 1):
            try:
                simulate(seed)
            except Violation as violation:
                failed += 1
                print(f"seed {seed}: {violation}", flush=True)
            if done % PROGRESS == 0:
                print(f"{done} seeds, {failed} failed", flush=True)
    except KeyboardInterrupt:
        pass
    print(f"{done} seeds in {time.monotonic() - began_s:.0f} s, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

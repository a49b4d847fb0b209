"""Sends hostile frames to a runtime, seed after seed, until it is stopped or one did harm.

The frames and what is checked are those of tests/scheduler/fuzz. A seed that did
harm is named, and does the same again: --first SEED --count 1. Exit code: 1 if one did.
"""

from __future__ import annotations

import argparse
import sys
from itertools import count

import trio

from generated_file import ROOT

sys.path.insert(0, str(ROOT))
from tests.scheduler.fuzz.hostile_peer import send_hostile_frames
from tests.scheduler.lab import open_lab
from tests.scheduler.pump import A

BATCHES = 50


async def fuzz(seed: int) -> None:
    async with open_lab(A, held=()) as lab:
        tally = await send_hostile_frames(lab, seed, BATCHES)
    print(f"seed {seed}: {tally.accepted} frames delivered, {tally.refused} refused", flush=True)


def main() -> int:
    """Run the seeds that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="seed to begin with")
    parser.add_argument("--count", type=int, help="how many seeds; without end if not given")
    options = parser.parse_args()
    for seed in (
        count(options.first) if options.count is None else range(options.first, options.first + options.count)
    ):
        print(f"seed {seed}", end="\r", flush=True)  # known also if the OS process crashes
        try:
            trio.run(fuzz, seed)
        except Exception as error:
            print(f"seed {seed} did harm: {error!r}", file=sys.stderr)
            raise
    return 0


if __name__ == "__main__":
    sys.exit(main())

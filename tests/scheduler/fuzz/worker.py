"""Runs batches of generated guests and tells of each in a line of JSON, for `tools/fuzz_hostcalls.py`.

Arguments: first seed, last seed, seeds of a batch, and whether to count host calls (0 or 1).
"""

from __future__ import annotations

import faulthandler
import json
import sys
import tempfile
from pathlib import Path
from typing import Final

import trio

from .harness import Counts, Harmed, run, warm_up

BATCH_S: Final = 10.0
"""seconds until what is left of a batch is killed; it is sooner, when nobody does anything any more"""


def tell(**record: object) -> None:
    print(json.dumps(record), flush=True)


async def work(first: int, last: int, size: int, *, counting: bool) -> None:
    counts: Counts | None = Counts() if counting else None
    with tempfile.TemporaryDirectory() as directory:
        await warm_up(Path(directory))
    for start in range(first, last + 1, size):
        seeds = range(start, min(start + size, last + 1))
        tell(begins=[seeds[0], seeds[-1]])
        harm, seed = None, None
        with tempfile.TemporaryDirectory() as directory:
            try:
                await run(seeds, Path(directory), seconds=BATCH_S, counts=counts)
            except Harmed as error:
                harm, seed = str(error), error.seed
        tell(done=[seeds[0], seeds[-1]], harm=harm, seed=seed)
    if counts is not None:
        tell(counts=[[row, what, number] for (row, what), number in counts.items()])


if __name__ == "__main__":
    faulthandler.enable()
    numbers = [int(argument) for argument in sys.argv[1:]]
    trio.run(lambda: work(*numbers[:3], counting=bool(numbers[3])))

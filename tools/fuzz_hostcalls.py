"""Runs guests generated from the host-call table, many thousands of them, and tells which did harm.

The guests and what is checked are those of tests/scheduler/fuzz. Each worker is an
OS process of its own, so that a crash is a finding like any other; the seeds of a
batch that did harm are run again one by one. With --count each host call is reported
by the guests, and a table shows how often it was called, came back, and gave 0.
Exit code: 1 if any harm was done.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import sanitize
from generated_file import ROOT
from luna.scheduler.hostcalls import ALL_CALLS

sys.path.insert(0, str(ROOT))
from tests.scheduler.fuzz.program import generate

CHUNK: Final = 20
"""batches of one worker: what a runtime keeps to the end of its OS process stays bounded"""
WORKER_S: Final = 600
"""seconds a worker may take for a batch; one that takes longer hangs"""
SHOWN: Final = 2000
"""characters of one harm"""


def records(
    first: int, last: int, size: int, counting: bool, setting: Mapping[str, str] | None
) -> Iterator[dict[str, Any]]:
    """What a worker tells of these seeds, and at last how it ended."""
    command = [
        sys.executable,
        "-m",
        "tests.scheduler.fuzz.worker",
        str(first),
        str(last),
        str(size),
        str(int(counting)),
    ]
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=setting,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as worker:
            assert worker.stdout is not None
            for line in worker.stdout:
                if line.startswith("{"):
                    yield json.loads(line)
            code = worker.wait()
        errors.seek(0)
        yield {"code": code, "errors": errors.read()}


class NoWorkerError(Exception):
    """A worker ended before it ran anything."""


class Fuzzing:
    """The harm found so far, and what was counted."""

    def __init__(self, size: int, counting: bool, setting: Mapping[str, str] | None) -> None:
        self._size = size
        self._counting = counting
        self._setting = setting
        self.done = 0
        self.harmful: dict[str, str] = {}
        self.counts: Counter[tuple[int, int]] = Counter()

    def run(self, first: int, last: int) -> None:
        """Run these seeds in as many workers as it takes."""
        while first <= last:
            first = self._run_worker(first, min(last, first + CHUNK * self._size - 1), self._size)

    def _run_worker(self, first: int, last: int, size: int) -> int:
        """The seed to go on with."""
        begun: tuple[int, ...] = ()
        for record in records(first, last, size, self._counting, self._setting):
            if "begins" in record:
                begun = tuple(record["begins"])
            elif "done" in record:
                self.done += begun[1] - begun[0] + 1
                first = begun[1] + 1
                if record["harm"] is not None:
                    self._note(begun[0], begun[1], record["harm"])
            elif "counts" in record:
                for row, what, number in record["counts"]:
                    self.counts[row, what] += number
            elif not begun:
                raise NoWorkerError(f"a worker ended with code {record['code']} at once: {record['errors']}")
            elif record["code"] or first <= last:
                problem = f"the worker ended with code {record['code']}: {record['errors']}"
                self._note(begun[0], begun[1], problem)
                return begun[1] + 1
        return first

    def _note(self, first: int, last: int, harm: str) -> None:
        self.harmful[f"{first}-{last}" if first != last else str(first)] = harm
        print(f"\nseeds {first} to {last} did harm: {harm[:SHOWN]}", flush=True)
        if first != last:
            for seed in range(first, last + 1):
                self._run_worker(seed, seed, 1)


def show_counts(counts: Counter[tuple[int, int]]) -> None:
    """One line for each host call; those that rarely come back are marked."""
    print(f"{'host call':62}{'called':>9}{'returned':>9}{'gave 0':>9}")
    for row in ALL_CALLS:
        called, returned, zero = (counts[row.index, what] for what in range(3))
        mark = "  rare" if returned < max(1, called // 10) else ""
        print(f"{row.namespace}::{row.key:<{60 - len(row.namespace)}}{called:>9}{returned:>9}{zero:>9}{mark}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=1_000_000, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1000, help="how many to run at most")
    parser.add_argument("--seconds", type=float, default=60.0, help="begin no worker after so long")
    parser.add_argument("--batch", type=int, default=80, help="guests at once in one runtime")
    parser.add_argument("--count", action="store_true", help="count what becomes of host calls")
    parser.add_argument(
        "--sanitizer", choices=sorted(sanitize.LIBRARIES), help="run the core with a sanitizer"
    )
    parser.add_argument("--show", type=int, metavar="SEED", help="only print the guest of a seed")
    arguments = parser.parse_args()
    if arguments.show is not None:
        print(generate(arguments.show, counting=arguments.count).wat)
        return 0
    with tempfile.TemporaryDirectory() as reports:
        setting = None
        if arguments.sanitizer is not None:
            target = sanitize.build(arguments.sanitizer)
            setting = sanitize.environment(arguments.sanitizer, target, Path(reports))
        fuzzing = Fuzzing(arguments.batch, arguments.count, setting)
        end = time.monotonic() + arguments.seconds
        first, last = arguments.first, arguments.first + arguments.seeds - 1
        problem = ""
        try:
            while first <= last and time.monotonic() < end:
                chunk = min(last, first + CHUNK * arguments.batch - 1)
                fuzzing.run(first, chunk)
                first = chunk + 1
                print(f"{fuzzing.done} seeds, up to {chunk}", flush=True)
        except NoWorkerError as error:
            problem = str(error)
        found = sorted(Path(reports).iterdir())
        for report in found:
            print(f"--- {report.name}\n{report.read_text(errors='replace')}")
    if arguments.count:
        show_counts(fuzzing.counts)
    print(
        f"{fuzzing.done} seeds; harm was done by {', '.join(fuzzing.harmful) or 'none'}; {len(found)} reports"
    )
    if problem:
        print(problem, file=sys.stderr)
    return 1 if fuzzing.harmful or found or problem else 0


if __name__ == "__main__":
    sys.exit(main())

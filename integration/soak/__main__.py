"""Run a soak: `python -m integration.soak --help`."""

from __future__ import annotations

import argparse
import logging
import random
import sys
from pathlib import Path

from integration.hosts.bed import CONTAINERS, NAMESPACES, choose_here
from integration.hosts.engine import EngineError

from .report import write_report
from .run import soak


def main() -> int:
    """0 if every promise was kept, 1 if not, 2 if there can be no cluster here."""
    parser = argparse.ArgumentParser(prog="python -m integration.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long there are faults (default 1)")
    parser.add_argument("--seed", type=int, help="decides which faults happen; without it, any")
    parser.add_argument("--report", type=Path, default=Path("build/soak/report.html"), help="where it goes")
    parser.add_argument(
        "--bed",
        choices=(CONTAINERS, NAMESPACES),
        help="what the hosts are (default: containers, if there are any)",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tell more on the way")
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(message)s",
        stream=sys.stderr,
    )
    seed = options.seed if options.seed is not None else random.randrange(1_000_000)
    choice = choose_here(options.bed)
    for reason in choice.lacking:
        print(f"no {CONTAINERS if choice.kind else 'soak'}: {reason}", file=sys.stderr)
    if not choice.kind:
        return 2
    try:
        outcome = soak(options.minutes, seed, choice.kind)
    except EngineError as error:
        print(f"no soak: {error}", file=sys.stderr)
        return 2
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(write_report(outcome))
    print(f"the report: {options.report}")
    for finding in outcome.findings:
        print(f"BROKEN: {finding.promise}: {finding.text}", file=sys.stderr)
    if outcome.findings:
        print(f"seed {seed}; to repeat: make soak MINUTES={options.minutes:g} SEED={seed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command: picks benchmarks, runs each system of each in turn, shows the table, writes the document."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from benchmarks.lab import GUESTS, Lab, build_erlang, build_floors
from benchmarks.local import LOCAL
from benchmarks.machine import machine_facts, versions
from benchmarks.model import Benchmark, BenchmarkError, Probe, Result, find_benchmarks
from benchmarks.remote import REMOTE
from benchmarks.report import document, table

DEFAULT_REPEAT = 3
TABLE_WIDTH = 140
"""columns of the table where there is no terminal to fit it to."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--only", metavar="NAME", multiple=True, help="Run this benchmark or group; repeatable.")
@click.option(
    "--list", "list_only", is_flag=True, help="Show the benchmarks and what they measure; run none."
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=DEFAULT_REPEAT,
    show_default=True,
    help="Runs of each; the median is shown, with the range.",
)
@click.option("--quick", is_flag=True, help="A tenth of the size, once: to see that all of it runs.")
@click.option("--million", is_flag=True, help="Park 1 000 000 processes instead of 100 000.")
@click.option("--slow", is_flag=True, help="Also what takes minutes: a frozen node.")
@click.option("--no-erlang", is_flag=True, help="Do not measure Erlang, even if it is installed.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all samples there."
)
def main(
    only: tuple[str, ...],
    list_only: bool,
    repeat: int,
    quick: bool,
    million: bool,
    slow: bool,
    no_erlang: bool,
    json_file: Path | None,
) -> None:
    """Measure Luna beside the floor of this machine, and beside Erlang if `erl` is installed.

    No figure passes or fails. The exit code is 1 only when something could not be measured.
    """
    if list_only:
        for benchmark in (*LOCAL, *REMOTE):
            click.echo(
                f"{benchmark.name:18} {benchmark.about}.{' Only with --slow.' if benchmark.slow else ''}"
            )
        return
    # As Ctrl-C does: leave through every block, so that no child is left behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="luna-bench-"))
    try:
        chosen = find_benchmarks((*LOCAL, *REMOTE), only, slow)
        if not (GUESTS / "bench.wasm").exists():
            raise BenchmarkError("the guests are not built; run: make guests")
        erlang = None if no_erlang else build_erlang()
        lab = Lab(folder, build_floors(), erlang, quick=quick, million=million)
        failed = run_all(chosen, lab, 1 if quick else repeat, json_file)
    except BenchmarkError as error:
        raise click.ClickException(str(error)) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failed else 0)


def run_all(chosen: Sequence[Benchmark], lab: Lab, repeat: int, json_file: Path | None) -> bool:
    """Run, show and write; whether something could not be measured."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    machine, found = machine_facts(), versions(lab.erlang is not None)
    talk, out = Console(stderr=True, soft_wrap=True), Console()
    if not out.is_terminal:
        out = Console(width=TABLE_WIDTH)
    talk.print(", ".join(f"{key} {value}" for key, value in {**machine, **found}.items()), highlight=False)
    if lab.erlang is None:
        talk.print("Erlang is not measured: erl is not installed or not wanted", highlight=False)
    results = []
    with talk.status("") as status:
        for benchmark in chosen:
            status.update(f"{benchmark.name}: {benchmark.about}")
            began = time.monotonic()
            results.append(run_one(benchmark, lab, repeat))
            talk.print(f"{benchmark.name} done in {time.monotonic() - began:.0f} s", highlight=False)
    problems = [f"{result.benchmark.name}: {problem}" for result in results for problem in result.problems]
    out.print(table(results), highlight=False)
    for problem in problems:
        talk.print(problem, style="red", markup=False, highlight=False)
    if json_file is not None:
        options = {"repeat": repeat, "quick": lab.quick, "million": lab.million}
        made = document(results, machine, found, options, started)
        json_file.write_text(json.dumps(made, indent=2) + "\n")
    return bool(problems)


def run_one(benchmark: Benchmark, lab: Lab, repeat: int) -> Result:
    """Run every system of a benchmark `repeat` times, taking turns so that all see the same machine.

    A system that fails is not asked again; the others go on.
    """
    probes: dict[str, Probe] = {f"floor: {name}": probe for name, probe in benchmark.floors.items()}
    probes["luna"] = benchmark.luna
    if benchmark.erlang is not None and lab.erlang is not None:
        probes["erlang"] = benchmark.erlang
    result = Result(benchmark)
    for _ in range(repeat):
        for system, probe in list(probes.items()):
            try:
                result.add(system, probe(lab))
            except BenchmarkError as error:
                result.problems.append(f"{system}: {error}")
                del probes[system]
    return result


if __name__ == "__main__":
    main()

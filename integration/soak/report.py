"""The report of a soak: one HTML file that needs nothing else. Pure: an outcome in, text out."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from importlib.metadata import version

from luna.proto.limits import MIB

from . import series
from .figures import Figures
from .judge import COMPLETE, INTACT, NO_LOSS, ORDER, TOLD_ONCE
from .judge_others import NAMES, SPAWNS, TIMERS
from .leaks import NO_LEAK, Row, compare
from .ledger import Kind, Ledger
from .outcome import Outcome
from .plots import Line, Span, legend, plot

PROMISES = (ORDER, NO_LOSS, TOLD_ONCE, INTACT, SPAWNS, TIMERS, NAMES, COMPLETE, NO_LEAK)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1e293b; max-width: 1000px; margin: 2em auto;
  padding: 0 1em }
h1 { margin-bottom: 0 } h2 { margin-top: 2em; font-size: 1.2em }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .25em .75em; border-bottom: 1px solid #e2e8f0 }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
.good { color: #047857; font-weight: 600 } .bad { color: #b91c1c; font-weight: 600 }
svg { width: 100%; height: auto } svg text { font-size: 11px; fill: #64748b }
svg .grid { stroke: #e2e8f0 } svg path { fill: none; stroke-width: 1.5; stroke-linejoin: round }
svg .fault { fill: #fecaca; opacity: .6 }
.key { margin-right: 1.5em } .key i { display: inline-block; width: 1em; height: .3em; margin-right: .4em;
  vertical-align: middle }
p.small { color: #64748b; font-size: .9em }
"""


def write_report(outcome: Outcome) -> str:
    """The page."""
    verdict = (
        _mark("every promise was kept") if not outcome.findings else _mark("promises were broken", good=False)
    )
    again = f"make soak MINUTES={outcome.minutes:g} SEED={outcome.seed}"
    return "\n".join(
        (
            '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Luna: a soak</title>',
            f"<style>{_STYLE}</style>",
            f"<h1>A soak of {outcome.minutes:g} min</h1><p>{verdict}. To repeat: <code>{again}</code></p>",
            _table((), [("seed", str(outcome.seed)), *_surroundings()]),
            "<h2>Promises</h2>",
            _promises(outcome),
            "<h2>Over time</h2>",
            "<p class=small>Red: a fault, until all nodes see each other again.</p>",
            *_plots(outcome),
            "<h2>Work</h2>",
            _work(outcome),
            "<h2>What the nodes held, before and after</h2>",
            _leaks(outcome),
            "<h2>Faults</h2>",
            _faults(outcome),
            "</html>\n",
        )
    )


def _surroundings() -> list[tuple[str, str]]:
    cores = len(os.sched_getaffinity(0))
    return [
        (
            "versions",
            f"Luna {version('luna-node')}, wasmtime {version('wasmtime')}, grpcio {version('grpcio')}",
        ),
        ("Python", platform.python_version()),
        (
            "machine",
            f"{platform.system()} {platform.release()}, {platform.machine()}, {cores} cores",
        ),
    ]


def _promises(outcome: Outcome) -> str:
    rows = []
    for promise in PROMISES:
        texts = [finding.text for finding in outcome.findings if finding.promise == promise]
        mark = _mark("kept") if not texts else _mark(f"broken {len(texts)} times", good=False)
        rows.append((escape(promise), mark + "".join(f"<br>{escape(text)}" for text in texts)))
    return _table(("promise", ""), rows)


def _plots(outcome: Outcome) -> Iterable[str]:
    begin_s, end_s = outcome.begin_s, outcome.end_s - outcome.begin_s
    spans = [
        Span(injected.begin_s - begin_s, injected.whole_s - begin_s, str(injected.fault))
        for injected in outcome.faults
    ]
    nodes = outcome.samples.items()
    sent = [
        series.rate(name, samples, lambda sample: {"": sample.messages_sent}, begin_s)
        for name, samples in nodes
    ]
    data = [series.rate(name, samples, _mib_sent, begin_s) for name, samples in nodes]
    memory = [series.memory(name, samples, begin_s) for name, samples in nodes]
    chats = [work.parts[0].ledger for work in outcome.works if work.kind == "chat"]

    def figure(title: str, lines: Sequence[Line], unit: str) -> str:
        picture = plot(lines, spans, end_s, lambda value: f"{value:,.6g} {unit}".strip())
        return f"<h3>{title}</h3>{legend([line.name for line in lines])}{picture}"

    yield figure("Messages sent by processes of each node, a second", sent, "")
    yield figure("Bytes sent to other nodes by each node, a second", data, "MiB")
    yield figure("Round trip of a question to another node", series.latency(chats, begin_s), "ms")
    yield figure("Resident memory of each node", memory, "MiB")


def _mib_sent(figures: Figures) -> dict[str, float]:
    return {peer: sent / MIB for peer, sent in figures.bytes_sent.items()}


def _work(outcome: Outcome) -> str:
    rows = []
    for kind in dict.fromkeys(work.kind for work in outcome.works):
        works = [work for work in outcome.works if work.kind == kind]
        ledgers = [part.ledger for work in works for part in work.parts]
        counts: Counter[str] = Counter()
        for ledger in ledgers:
            counts.update(_counts(ledger))
        text = ", ".join(f"{number:,} {name}" for name, number in counts.items() if number)
        lost = sum(ledger.is_lost for ledger in ledgers)
        rows.append((kind, str(len(works)), str(lost), text))
    return _table(("kind", "begun", "processes lost with a node", "in all"), rows)


def _counts(ledger: Ledger) -> dict[str, int]:
    """What a ledger says in all, by name."""
    counts = {
        "messages sent": max((entry.numbers[0] for entry in ledger.of(Kind.SENT)), default=0),
        "taken": sum(entry.numbers[1] - entry.numbers[0] + 1 for entry in ledger.of(Kind.GOT)),
        "ends of sessions told": len(ledger.of(Kind.DOWN)),
        "timers cancelled": sum(entry.numbers[1].bit_count() for entry in ledger.of(Kind.ROUND)),
        "timers arrived": sum(entry.numbers[1].bit_count() for entry in ledger.of(Kind.ROUND_CAME)),
        "operations": max((entry.numbers[0] for entry in ledger.of(Kind.NAMES)), default=0),
    }
    for entry in ledger.of(Kind.CHILDREN)[-1:]:
        born, refused, _, ended, _, lost, _ = entry.numbers
        counts |= {
            "children born": born,
            "births refused": refused,
            "ends told": ended,
            "of lost nodes": lost,
        }
    return counts


def _leaks(outcome: Outcome) -> str:
    names = [name for name in outcome.before if name in outcome.after]
    tables = {name: compare(outcome.before[name], outcome.after[name]) for name in names}
    rows = [
        (escape(rows[0].name), *(_change(row) for row in rows), f"{rows[0].bound:,} more")
        for rows in zip(*tables.values(), strict=True)
    ]
    return _table(("figure", *(f"node {name}" for name in names), "allowed"), rows, numbers=True)


def _change(row: Row) -> str:
    text = f"{row.before:,} → {row.after:,}"
    return text if not row.is_leak else _mark(text, good=False)


def _faults(outcome: Outcome) -> str:
    rows = [
        (
            f"{injected.begin_s - outcome.begin_s:.1f} s",
            escape(str(injected.fault.kind)),
            escape(" to ".join(injected.fault.nodes)),
            f"{injected.end_s - injected.begin_s:.1f} s",
            f"{injected.whole_s - injected.end_s:.1f} s",
        )
        for injected in outcome.faults
    ]
    return _table(("after", "fault", "node", "for", "whole again after"), rows)


def _mark(text: str, *, good: bool = True) -> str:
    return f'<span class="{"good" if good else "bad"}">{escape(text)}</span>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    """Of cells that are HTML; with `numbers`, all but the first column is flush right."""

    def line(cells: Sequence[str], tag: str) -> str:
        kind = ' class="number"' if numbers else ""
        rest = "".join(f"<{tag}{kind}>{cell}</{tag}>" for cell in cells[1:])
        return f"<tr><{tag}>{cells[0]}</{tag}>{rest}</tr>"

    head = line(heads, "th") if heads else ""
    return f"<table>{head}{''.join(line(cells, 'td') for cells in rows)}</table>"

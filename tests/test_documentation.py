"""The documents tell the truth, as far as that is cheap to see.

Links lead somewhere, files that are named exist, commands and options exist, and the tour of the README is
played from its own text: its program is compiled, its nodes start, its commands say what is printed there.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest

from luna.cli.luna import root
from luna.cli.luna_node import main as luna_node
from luna.cli.verbs import IMPLIED_RUN

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "proto|scheduler|cluster|node|cli|sdk|examples|tests|integration|benchmarks|tools|docs"

FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)
NAMED_TEST = re.compile(r"`(?P<file>[\w./-]+\.py)::(?P<name>test_\w+)`")
NAMED_FILE = re.compile(rf"`(?P<path>(?:{FOLDERS})/[\w./-]*)`")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
COMMAND = re.compile(r"\b(?P<command>luna-node|luna) (?=[a-z-])(?P<rest>[^`\n]*)")

SETTLE_S = 30.0
"""seconds in which what a command shows must become true; it takes well under one on a quiet machine."""


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


pages = pytest.mark.parametrize("path", PAGES, ids=page_name)


def prose(path: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """What a link can name in a page, by GitHub's rule."""
    found = set()
    for match in HEADING.finditer(prose(path)):
        text = match["text"].lower().replace("`", "")
        found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found


# --- links, files, commands -----------------------------------------------------------------


@pages
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for match in LINK.finditer(prose(path)):
        target, _, anchor = match["target"].partition("#")
        if "://" in target:
            continue
        file = (path.parent / target) if target else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(match["target"])
    assert broken == []


@pages
def test_files_that_are_named_exist(path: Path) -> None:
    named = {match["path"] for match in NAMED_FILE.finditer(prose(path))}
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@pages
def test_tests_that_are_named_exist(path: Path) -> None:
    missing = [
        match[0]
        for match in NAMED_TEST.finditer(prose(path))
        if f"def {match['name']}(" not in (ROOT / match["file"]).read_text(encoding="utf-8")
    ]
    assert missing == []


def test_each_promise_of_the_distribution_names_its_tests() -> None:
    text = (ROOT / "docs" / "distribution.md").read_text(encoding="utf-8")
    promised = re.findall(r"^### (\d)\. ", text, re.MULTILINE)
    tested = [
        row[1]
        for row in re.finditer(r"^\| (\d) \| (.*) \|$", text, re.MULTILINE)
        if NAMED_TEST.search(row[2])
    ]
    assert promised == tested == [str(number) for number in range(1, 10)]


def test_every_page_can_be_found_from_the_readme() -> None:
    linked = {match["target"] for match in LINK.finditer(prose(PAGES[0]))}
    assert [page_name(path) for path in PAGES[1:] if page_name(path) not in linked] == []


def test_every_module_of_the_native_core_is_in_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    modules = sorted((ROOT / "scheduler").glob("_*.pyx"))
    assert modules
    assert [module.name for module in modules if f"`scheduler/{module.name}`" not in text] == []


def option_names(command: click.Command) -> set[str]:
    given = (name for option in command.params if isinstance(option, click.Option) for name in option.opts)
    return {"--help", *given}


def subcommand(program: str, verb: str) -> click.Command | None:
    group = root if program == "luna" else luna_node
    assert isinstance(group, click.Group)
    return group.get_command(click.Context(group), verb)


def wrong_commands(text: str) -> list[str]:
    """The `luna` and `luna-node` commands in a text whose verb or options do not exist."""
    wrong = []
    for match in COMMAND.finditer(text):
        # What stands behind the file is the program's own.
        program, rest = match["command"], re.split(r"#|\.wasm\b|\.wat\b", match["rest"])[0]
        is_file = program == "luna" and IMPLIED_RUN.match(match["rest"].split()[0])
        verb = "run" if is_file else rest.split()[0]
        command = None if verb.startswith("-") else subcommand(program, verb)
        known = option_names(root) if program == "luna" else option_names(luna_node)
        if command is None and not verb.startswith("-"):
            wrong.append(match[0])
            continue
        if command is not None:
            known |= option_names(command)
        wrong += [f"{match[0]}: {option}" for option in OPTION.findall(rest) if option not in known]
    return wrong


def commands_of(path: Path) -> str:
    """Inline code and console lines of a page that are commands."""
    text = path.read_text(encoding="utf-8")
    lines = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    spans = re.findall(r"`([^`]+)`", FENCE.sub("", text).replace("\n", " "))
    return "\n".join([*lines, *(span for span in spans if span.startswith(("luna ", "luna-node ")))])


@pages
def test_commands_and_their_options_exist(path: Path) -> None:
    assert wrong_commands(commands_of(path)) == []


@pytest.mark.parametrize(
    "text",
    ["luna fly", "luna ps --colour", "luna-node start --colour red", "luna-node stop", "luna --colour"],
)
def test_a_command_that_does_not_exist_is_seen(text: str) -> None:
    assert len(wrong_commands(text)) == 1


def test_options_named_alone_in_the_readme_exist() -> None:
    start = subcommand("luna-node", "start")
    verbs = [subcommand("luna", verb) for verb in root.list_commands(click.Context(root))]
    known = option_names(root).union(*(option_names(command) for command in [start, *verbs] if command))
    alone = set(re.findall(r"`(--[a-z][a-z-]*)`", prose(PAGES[0])))
    assert alone
    assert sorted(alone - known) == []


# --- the tour -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """A command of the tour, and the lines that are printed below it."""

    command: str
    shown: tuple[str, ...]


def tour() -> tuple[str, list[Step]]:
    """(the program, the commands) of the README's tour."""
    text = PAGES[0].read_text(encoding="utf-8").partition("\n## A tour\n")[2].partition("\n## ")[0]
    blocks = list(FENCE.finditer(text))
    [program] = [block["body"] for block in blocks if block["kind"] == "c"]
    steps = []
    for block in blocks:
        if block["kind"] == "console":
            for part in ("\n" + block["body"]).split("\n$ ")[1:]:
                command, *shown = part.rstrip("\n").split("\n")
                steps.append(Step(command, tuple(shown)))
    return program, steps


def shape(lines: list[str]) -> list[str]:
    """Lines without what differs from run to run: numbers, times, widths of columns."""
    return [" ".join(re.sub(r"\d+", "0", line).replace("0ms", "0s").split()) for line in lines]


@dataclass
class Tourist:
    """Plays the tour in a folder, an environment and a cluster of its own."""

    folder: Path
    environment: dict[str, str]
    cluster: str = field(default_factory=lambda: f"tour-{secrets.token_hex(6)}")
    nodes: list[subprocess.Popen[str]] = field(default_factory=list)
    first_address: str = ""

    def play(self, step: Step) -> None:
        words = shlex.split(step.command)
        if step.command in {"make setup", ". .venv/bin/activate"}:
            return  # done: this runs in it
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.environment[name] = value
        elif words[0] == "luna-node":
            self.start_node(step, words)
        else:
            self.run(step, words)

    def start_node(self, step: Step, words: list[str]) -> None:
        join = ["--join", self.first_address] if self.first_address else []
        # Nothing of another cluster or port of this machine, and no waiting for multicast.
        words = [*words, "--listen", "127.0.0.1:0", "--cluster", self.cluster, *join]
        with (self.folder / f"node-{len(self.nodes)}.log").open("w") as log:
            node = subprocess.Popen(
                [BIN / words[0], *words[1:]],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.nodes.append(node)
        assert node.stdout is not None
        line = node.stdout.readline().rstrip("\n")
        assert shape([line]) == shape(list(step.shown))
        self.first_address = self.first_address or line.rpartition("=")[2]

    def run(self, step: Step, words: list[str]) -> None:
        deadline = time.monotonic() + SETTLE_S
        while True:
            done = subprocess.run(
                [BIN / words[0], *words[1:]],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
                check=False,
            )
            said, shown = shape(done.stdout.splitlines()), shape(list(step.shown))
            if shown[-1:] == ["..."]:
                shown = shown[:-1]
                said = said[: len(shown)]
            # What asks for a state may be early: the state is that of other processes.
            early = done.returncode != 0 or said != shown
            if not early or words[:2] not in (["luna", "nodes"], ["luna", "ps"], ["luna", "logs"]):
                break
            if time.monotonic() > deadline:
                break
        assert done.returncode == 0, f"{step.command}\n{done.stdout}"
        assert said == shown, step.command

    def close(self) -> None:
        for node in self.nodes:
            node.send_signal(signal.SIGTERM)
        for node in self.nodes:
            try:
                node.wait(15)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()
            if node.stdout is not None:
                node.stdout.close()


@pytest.fixture
def tourist() -> Iterator[Tourist]:
    folder = Path(tempfile.mkdtemp(prefix="luna-"))  # not tmp_path: the path of a unix socket is short
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LUNA_")}
    environment |= {
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "NO_COLOR": "1",
    }
    made = Tourist(folder, environment)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_the_tour_of_the_readme_happens_as_it_is_told(tourist: Tourist) -> None:
    program, steps = tour()
    (tourist.folder / "ticks.c").write_text(program)
    (tourist.folder / "sdk").symlink_to(ROOT / "sdk")
    assert sum(step.command.startswith("luna-node start") for step in steps) == 2
    for step in steps:
        tourist.play(step)
    assert [node.poll() for node in tourist.nodes] == [None, None]


def test_the_program_of_the_page_on_guests_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "guests.md").read_text(encoding="utf-8")
    [program] = [block["body"] for block in FENCE.finditer(text) if block["kind"] == "wat"]
    (tmp_path / "hello.wat").write_text(program)
    done = subprocess.run(
        [BIN / "luna", "run", tmp_path / "hello.wat"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "hello from WAT\n")

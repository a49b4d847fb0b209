"""The renderer on a terminal: colours, unless they are not wanted, and indented documents."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from luna.proto.run_directory import NodeRecord

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What `luna` writes to a terminal of 100 columns."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "luna.cli.luna", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=slave,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment},
    )
    os.close(slave)
    written = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not data:
            break
        written += data
    os.close(master)
    assert process.wait(30) == 0
    return written.decode().replace("\r\n", "\n")


def test_table_on_a_terminal_has_styles(node: NodeRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    text = on_a_terminal("nodes")
    assert "\x1b[32malive" in text
    assert "\x1b[33msuspect" in text
    lines = [line.rstrip() for line in ESCAPE.sub("", text).splitlines()]
    assert lines[0].split() == ["NAME", "ID", "STATE", "ADDRESS", "PROCESSES", "LABELS"]
    assert lines[1].split() == ["alpha", "*", "11", "alive", "127.0.0.1:7001", "2", "disk=ssd,zone=z1"]


def test_no_color_is_respected(node: NodeRecord) -> None:
    assert "\x1b[3" not in on_a_terminal("nodes", NO_COLOR="1")


def test_dumb_terminal_gets_the_plain_table(node: NodeRecord) -> None:
    assert "\x1b" not in on_a_terminal("nodes", TERM="dumb")


def test_document_on_a_terminal_is_indented(node: NodeRecord) -> None:
    assert on_a_terminal("kill", "--json", "1@alpha") == (
        '{\n  "schema": "luna.kill/1",\n  "data": {\n    "pid": "1@alpha",\n    "was_alive": true\n  }\n}\n'
    )

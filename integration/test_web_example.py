"""The example of a web server: sockets, a database and metrics of one program, as a browser sees it."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from .node_process import BIN

WEB = Path(__file__).parent.parent / "build" / "guests" / "web.wasm"
VISITORS = 20


class Server(NamedTuple):
    pages: str
    metrics: str


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """The server on free ports, in a directory of its own."""
    process = subprocess.Popen(
        [BIN / "luna", "run", "--metrics", "127.0.0.1:0", WEB, "0"],
        cwd=tmp_path,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        yield Server(process.stdout.readline().split()[-1], process.stderr.readline().split()[-1])
    finally:
        process.kill()
        process.communicate()


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as page:
        return str(page.read().decode())


def test_every_visitor_has_a_number_of_its_own(server: Server, tmp_path: Path) -> None:
    assert read(server.pages) == "You are visitor 1.\n"
    with ThreadPoolExecutor(VISITORS) as visitors:
        pages = visitors.map(read, [server.pages] * VISITORS)
    assert sorted(pages) == sorted(f"You are visitor {2 + number}.\n" for number in range(VISITORS))
    assert f"web_requests_total {VISITORS + 1}.0\n" in read(server.metrics)
    assert (tmp_path / "visits.db").exists()

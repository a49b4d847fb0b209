"""The demo when things go wrong: it says so, shows the logs, stops its nodes and leaves nothing behind.

The nodes here are scripts; `make demo` itself plays on real ones.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
PLAY = (
    "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import demo; "
    "sys.exit(demo.main(Path(sys.argv[2])))"
)
# Tells the test where its state would be, then behaves like a node as far as the demo can see.
NODE = """\
#!/bin/sh
echo "$XDG_STATE_HOME" > "$NOTED/state"
echo $$ >> "$NOTED/pids"
echo "a line of the log" >&2
echo "ready name=$3 id=7 listen=127.0.0.1:1"
trap 'exit 0' TERM
while :; do sleep 0.05; done
"""

Play = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Starts the demo with the given texts as `luna-node` and `luna`."""

    def start(luna_node: str, luna: str) -> subprocess.Popen[str]:
        for name, text in (("luna-node", luna_node), ("luna", luna)):
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        return subprocess.Popen(
            [sys.executable, "-c", PLAY, str(TOOLS), str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NOTED": str(tmp_path)},
        )

    return start


def check_nothing_is_left(tmp_path: Path) -> None:
    state = Path((tmp_path / "state").read_text().strip())
    assert state.parent.name.startswith("luna-demo-")
    assert not state.parent.exists()
    for pid in (tmp_path / "pids").read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_node_that_does_not_start_fails_the_demo_with_its_log(play: Play) -> None:
    process = play("#!/bin/sh\necho 'no port is free' >&2\nexit 1\n", "#!/bin/sh\n")
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "$ luna-node start --name a " in stdout
    assert "The demo failed: node a did not start; its log is below" in stderr
    assert "--- the log of node a" in stderr
    assert "no port is free" in stderr


def test_node_that_says_something_else_fails_the_demo(play: Play) -> None:
    process = play("#!/bin/sh\necho hello\n", "#!/bin/sh\n")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "where its ready line was expected" in stderr


def test_command_that_fails_stops_the_nodes(play: Play, tmp_path: Path) -> None:
    process = play(NODE, "#!/bin/sh\necho 'luna: it broke' >&2\nexit 1\n")
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ready name=c id=7 listen=127.0.0.1:1" in stdout
    assert "luna --connect a nodes failed: luna: it broke" in stderr
    assert stderr.count("a line of the log") == 3
    check_nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 128 + signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_interruption_stops_the_nodes(play: Play, tmp_path: Path, number: signal.Signals, code: int) -> None:
    # The first command never returns, so the demo stands where it is interrupted.
    process = play(NODE, '#!/bin/sh\necho > "$NOTED/asked"\nexec sleep 600\n')
    assert process.stdout is not None
    while "multicast" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    check_nothing_is_left(tmp_path)

"""The container engine of this machine, by its command line: whether it answers, its images, its compose.

Knows nothing of Luna. Needs only Python's standard library, as everything does that builds the image.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

ANSWER_TIMEOUT_S = 30.0
"""seconds for a question the engine answers from memory; a machine under load needs a few"""

PULL_TIMEOUT_S = 600.0
"""seconds for an image to come from a registry"""


class EngineError(Exception):
    """A command of the engine failed; the text is what it said, and what would help."""


def docker(*arguments: str, timeout_s: float = ANSWER_TIMEOUT_S, check: bool = True) -> str:
    """Run `docker` with arguments; what it wrote on stdout. Raises EngineError if it fails and `check`."""
    return run(["docker", *arguments], timeout_s=timeout_s, check=check).stdout


def run(
    command: Sequence[str],
    *,
    timeout_s: float = ANSWER_TIMEOUT_S,
    check: bool = True,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with its output kept apart. Raises EngineError if it fails and `check`."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            cwd=cwd,
            env=env,
        )
    except FileNotFoundError:
        raise EngineError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"`{' '.join(command)}` did not end within {timeout_s:.0f} s") from None
    if check and done.returncode != 0:
        raise EngineError(
            f"`{' '.join(command)}` failed with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip()
        )
    return done


@functools.cache
def why_not() -> str | None:
    """Why no containers can be run here, or None."""
    if shutil.which("docker") is None:
        return "the command `docker` is not installed"
    try:
        docker("version", "--format", "{{.Server.Version}}")
    except EngineError as error:
        return f"no container engine answers: {error}"
    return None


@functools.cache
def why_no_compose() -> str | None:
    """Why no compose file can be brought up here, or None."""
    reason = why_not()
    if reason is None:
        try:
            compose_command()
        except EngineError as error:
            return str(error)
    return reason


@functools.cache
def compose_command() -> tuple[str, ...]:
    """How compose is called here: the plugin, or the older command. Raises EngineError for neither."""
    if run(["docker", "compose", "version"], check=False).returncode == 0:
        return ("docker", "compose")
    if shutil.which("docker-compose") is not None:
        return ("docker-compose",)
    raise EngineError(
        "there is neither `docker compose` nor `docker-compose` here (Debian: apt-get install docker-compose)"
    )


def has_image(image: str, **labels: str) -> bool:
    """Whether the engine holds an image, with these labels if any are given."""
    for label, value in labels.items():
        found = docker(
            "image", "inspect", "--format", f'{{{{index .Config.Labels "{label}"}}}}', image, check=False
        )
        if found.strip() != value:
            return False
    return run(["docker", "image", "inspect", image], check=False).returncode == 0


def pull(image: str) -> bool:
    """Try to get an image from its registry; whether it is here now."""
    try:
        docker("pull", "--quiet", image, timeout_s=PULL_TIMEOUT_S)
    except EngineError:
        return False
    return True


def size_bytes(image: str) -> int:
    """The size of an image, all its layers included."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))

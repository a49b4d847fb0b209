"""Builds the image of Luna: `python -m integration.hosts.image`; in tests, `ensure_image()`.

Finds a base first (see base.py), so that it works where no registry can be reached, and passes on what a
network may need: proxies, and where pip finds packages. What did not change is not built again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from .base import MIRROR, PUBLIC_BASE, ensure_base
from .engine import EngineError, docker, has_image, pull, run, size_bytes, why_not

ROOT: Final = Path(__file__).resolve().parents[2]
TAG: Final = "luna:local"
"""what the compose file runs"""

PUBLIC_PROMETHEUS: Final = "prom/prometheus:v3.5.0"
"""what the compose file scrapes with; a test compares the two"""
LOCAL_PROMETHEUS: Final = "luna-prometheus:local"
"""one made of Debian's package on the local base; takes the same command line"""

BUILD_TIMEOUT_S: Final = 1800.0
"""seconds; two minutes on two cores, of which most is the native core"""

PASSED_ON: Final = (
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST"),
)
"""variables of this environment that a build sees"""


def build_arguments(base: str, version: str, revision: str, environment: Mapping[str, str]) -> list[str]:
    """The `--build-arg` options of a build on `base`."""
    values = {"BASE": base, "VERSION": version, "REVISION": revision}
    values |= {name: environment[name] for name in PASSED_ON if environment.get(name)}
    return [part for name, value in values.items() for part in ("--build-arg", f"{name}={value}")]


def ensure_image(
    base: str | None = None, tag: str = TAG, mirror: str = MIRROR, say: Callable[[str], None] = lambda _: None
) -> str:
    """Build the image of this working tree under `tag`; its id, `sha256:...`.

    The id names this very image, also when another working tree builds one under the same tag meanwhile.
    Takes a second if nothing changed. Raises EngineError.
    """
    if (reason := why_not()) is not None:
        raise EngineError(reason)
    base = ensure_base(base, mirror, say)
    say(f"building {tag} on {base}")
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    revision = run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], check=False).stdout.strip() or "unknown"
    return _build(["--tag", tag, *build_arguments(base, version, revision, os.environ), str(ROOT)])


def ensure_prometheus(mirror: str = MIRROR, say: Callable[[str], None] = lambda _: None) -> str:
    """The name of an image of Prometheus that is here: the public one, or one made of Debian's package.

    Raises EngineError.
    """
    if has_image(PUBLIC_PROMETHEUS):
        return PUBLIC_PROMETHEUS
    if not has_image(LOCAL_PROMETHEUS) and pull(PUBLIC_PROMETHEUS):
        return PUBLIC_PROMETHEUS
    base = ensure_base(None, mirror, say)
    say(f"building {LOCAL_PROMETHEUS} on {base}")
    folder = ROOT / "integration" / "prometheus"
    arguments = build_arguments(base, "", "", os.environ)
    _build(["--tag", LOCAL_PROMETHEUS, *arguments, str(folder)])
    return LOCAL_PROMETHEUS


def _build(arguments: Sequence[str]) -> str:
    with tempfile.TemporaryDirectory(prefix="luna-image-") as folder:
        result = Path(folder, "id")
        docker("build", "--iidfile", str(result), *arguments, timeout_s=BUILD_TIMEOUT_S)
        return result.read_text().strip()


def largest_parts(image: str, count: int = 8) -> list[tuple[str, int]]:
    """The largest folders of Python packages in an image, and their bytes."""
    command = "du -sk /opt/luna/lib/python3*/site-packages/*"
    lines = docker("run", "--rm", "--entrypoint", "sh", image, "-c", command).splitlines()
    parts = [
        (Path(path).name, int(size) * 1024) for size, _, path in (line.partition("\t") for line in lines)
    ]
    return sorted(parts, key=lambda part: -part[1])[:count]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m integration.hosts.image", description=__doc__)
    parser.add_argument(
        "--base", metavar="IMAGE", help=f"what to build on (default: {PUBLIC_BASE}, or made here)"
    )
    parser.add_argument("--tag", default=TAG, help="the name of the image (default: %(default)s)")
    parser.add_argument(
        "--mirror", default=MIRROR, help="Debian's packages, for a base made here (default: %(default)s)"
    )
    parser.add_argument("--prometheus", action="store_true", help="also have an image of Prometheus here")
    options = parser.parse_args(arguments)
    try:
        image = ensure_image(options.base, options.tag, options.mirror, _say)
        parts = largest_parts(image)
        prometheus = ensure_prometheus(options.mirror, _say) if options.prometheus else None
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    largest = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in parts)
    print(f"{options.tag}: {size_bytes(image) / 1e6:.0f} MB, of which {largest}")
    if prometheus is not None:
        print(f"Prometheus: {prometheus}")
        if prometheus != PUBLIC_PROMETHEUS:
            print(f"have compose use it: export PROMETHEUS_IMAGE={prometheus}")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

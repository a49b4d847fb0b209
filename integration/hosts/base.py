"""The image that Luna's own begins with: a small Debian, from a registry or made of Debian's packages.

Owns the choice, and how one is made where no registry can be reached. Making one needs root and debootstrap.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from .engine import EngineError, docker, has_image, pull, run

PUBLIC_BASE: Final = "debian:trixie-slim"
"""what the Dockerfile begins with unless told otherwise"""
LOCAL_BASE: Final = "luna-base:local"
"""the name of the one made here"""

SUITE: Final = "trixie"
MIRROR: Final = "http://deb.debian.org/debian"
LABEL: Final = "luna-base"
"""the label that holds what a base was made of, so that one made otherwise is made anew"""

BUNDLES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
"""where systems keep the authorities they trust, in one file; the first is also where Debian looks"""
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

INSTALL_TIMEOUT_S: Final = 1800.0
"""seconds for 60 MB of packages over a slow line, and their installation"""

# As in Debian's own slim images: what nobody reads in a container is not unpacked, and never later either.
SLIM: Final = """\
path-exclude /usr/share/doc/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
"""
SLIM_FOLDERS: Final = ("doc", "info", "locale", "man")


def choose_base(
    given: str | None, has: Callable[[str], bool], fetch: Callable[[str], bool], local: Callable[[], bool]
) -> str | None:
    """The base to build on, or None if one has to be made.

    `has` tells whether the engine holds an image, `fetch` tries to get it, `local` tells whether a usable one
    was made here: an earlier look for the public one failed then, and another would most likely, too.
    """
    if given is not None:
        return given
    if has(PUBLIC_BASE):
        return PUBLIC_BASE
    if local():
        return LOCAL_BASE
    return PUBLIC_BASE if fetch(PUBLIC_BASE) else None


def ensure_base(given: str | None = None, mirror: str = MIRROR, say: Callable[[str], None] = print) -> str:
    """A base that is here: `given`, the public one, or one made now (half a minute). Raises EngineError."""
    recipe = recipe_of(mirror, _authorities())
    with _one_at_a_time():
        base = choose_base(given, has_image, pull, lambda: has_image(LOCAL_BASE, **{LABEL: recipe}))
        if base is None:
            say(f"{PUBLIC_BASE} cannot be had: making {LOCAL_BASE} of the packages at {mirror}")
            _make(recipe, mirror)
            base = LOCAL_BASE
    return base


def recipe_of(mirror: str, authorities: bytes) -> str:
    """A short text that is another one whenever a base would come out otherwise (but for newer packages)."""
    parts = (SUITE, mirror, SLIM, hashlib.sha256(authorities).hexdigest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def why_not_make(is_root: bool, debootstrap: str | None) -> str | None:
    """Why no base can be made here, and what to do about it; None if one can."""
    if not is_root:
        return (
            f"{PUBLIC_BASE} cannot be had from a registry, and only root can make another one in its place: "
            "run this as root, or name an image that is here with --base"
        )
    if debootstrap is None:
        return (
            f"{PUBLIC_BASE} cannot be had from a registry, and no debootstrap is here to make another one: "
            "install it (apt-get install debootstrap debian-archive-keyring), "
            "or name an image that is here with --base"
        )
    return None


def _make(recipe: str, mirror: str) -> None:
    is_root = os.geteuid() == 0
    if is_root and shutil.which("debootstrap") is None and shutil.which("apt-get") is not None:
        packages = ["debootstrap", "debian-archive-keyring"]
        run(["apt-get", "install", "--yes", *packages], timeout_s=INSTALL_TIMEOUT_S, check=False)
    debootstrap = shutil.which("debootstrap")
    if (reason := why_not_make(is_root, debootstrap)) is not None:
        raise EngineError(reason)
    assert debootstrap is not None
    with tempfile.TemporaryDirectory(prefix="luna-base-") as folder:
        root = Path(folder, "root")
        keyring = [f"--keyring={KEYRING}"] if KEYRING.exists() else []
        command = [
            debootstrap,
            "--variant=minbase",
            "--include=ca-certificates",
            *keyring,
            SUITE,
            str(root),
            mirror,
        ]
        run(command, timeout_s=INSTALL_TIMEOUT_S)
        _trim(root)
        _set_sources(root, mirror)
        if authorities := _authorities():
            (root / BUNDLES[0].lstrip("/")).write_bytes(authorities)
        _import(root, recipe)


def _trim(root: Path) -> None:
    shutil.rmtree(root / "debootstrap", ignore_errors=True)
    for folder in ("var/cache/apt/archives", "var/lib/apt/lists", "var/log"):
        _empty(root / folder)
    for name in SLIM_FOLDERS:
        _empty(root / "usr/share" / name)
    (root / "etc/dpkg/dpkg.cfg.d/luna-slim").write_text(SLIM)


def _empty(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _set_sources(root: Path, mirror: str) -> None:
    lines = (f"deb {mirror} {SUITE} main", f"deb {mirror} {SUITE}-updates main")
    security = f"deb {mirror}-security {SUITE}-security main"
    (root / "etc/apt/sources.list").write_text("\n".join([*lines, security, ""]))


def _import(root: Path, recipe: str) -> None:
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as archive:
        done = subprocess.run(
            [
                "docker",
                "import",
                "--change",
                f"LABEL {LABEL}={recipe}",
                "--change",
                'CMD ["bash"]',
                "-",
                LOCAL_BASE,
            ],
            stdin=archive.stdout,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
    if archive.returncode != 0 or done.returncode != 0:
        docker("image", "rm", LOCAL_BASE, check=False)
        raise EngineError(f"the system made in {root} could not be imported: {done.stderr}".rstrip())


def _authorities() -> bytes:
    """Whom this machine trusts: a network may have an authority of its own, and containers download, too."""
    for bundle in (os.environ.get("SSL_CERT_FILE"), *BUNDLES):
        if bundle and Path(bundle).is_file():
            return Path(bundle).read_bytes()
    return b""


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two that need a base at the same time make one."""
    with Path(tempfile.gettempdir(), f"luna-base-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

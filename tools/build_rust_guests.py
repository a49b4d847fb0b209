"""Builds the guests in Rust into build/guests/rust/*.wasm, if this machine can: those of
integration/guests/rust, and the example examples/chat-rust.

A Rust toolchain with the target wasm32-wasip1 is taken from the folder that LUNA_RUST_ROOT names, which
holds a Debian system, or else from `cargo` on the path. `--bootstrap DIR` makes such a folder; nothing is
ever installed unasked. The crates come from crates.io, in the versions of the committed lock file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from generated_file import ROOT

SOURCES: Final = ROOT / "integration" / "guests" / "rust"
CHAT: Final = ROOT / "examples" / "chat-rust"
PACKAGES: Final = (SOURCES, CHAT)
OUTPUT: Final = ROOT / "build" / "guests" / "rust"
TARGET: Final = "wasm32-wasip1"
ROOT_VARIABLE: Final = "LUNA_RUST_ROOT"

FETCH_TIMEOUT_S: Final = 300
"""seconds for downloading the crates once: some 40 MB"""

BUILD_TIMEOUT_S: Final = 1200
"""seconds for compiling the crates and the programs: half a minute on two cores"""

SUITE: Final = "trixie"
"""the first Debian whose Rust, 1.85, knows wasm32-wasip1"""
MIRROR: Final = "http://deb.debian.org/debian"
DEBIAN_PACKAGES: Final = "rustc,cargo,libstd-rust-dev-wasm32,lld,gcc,libc6-dev,ca-certificates"
INSIDE: Final = "luna"
"""where such a folder gets the sources and keeps what was built from them"""
BUNDLES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
"""where systems keep the authorities they trust, in one file"""
SYSTEM_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON: Final = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


class NoToolchainError(Exception):
    """This machine cannot build Rust guests; the text says why, and what would help."""


class BuildError(Exception):
    """The guests do not compile; the text is the compiler's."""


def programs(package: Path = SOURCES) -> list[str]:
    """The names of all programs of a package, sorted."""
    found = [path.stem for path in (package / "src" / "bin").glob("*.rs")]
    if (package / "src" / "main.rs").exists():
        found.append(tomllib.loads((package / "Cargo.toml").read_text(encoding="utf-8"))["package"]["name"])
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A cargo that knows the target, and where it sees a package."""

    package: Path
    command: tuple[str, ...]
    environment: Mapping[str, str]
    sources: str
    """the path of the package, as cargo sees it"""
    target: Path
    """the folder cargo builds into, as we see it"""
    target_inside: str
    """the same, as cargo sees it"""
    copy_to: Path | None = None
    """where the sources have to be put first"""

    def cargo(self, *arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Run cargo on the package."""
        manifest = f"{self.sources}/Cargo.toml"
        command = [*self.command, arguments[0], "--manifest-path", manifest, "--locked", *arguments[1:]]
        try:
            return subprocess.run(
                [*command, "--target", TARGET],
                env={**self.environment, "CARGO_TARGET_DIR": self.target_inside},
                cwd="/",  # else the cargo settings of whatever folder this is would count
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BuildError(f"cargo {arguments[0]} did not end within {timeout_s:.0f} s") from None


def find_toolchain(environment: Mapping[str, str] = os.environ, package: Path = SOURCES) -> Toolchain:
    """The toolchain to use for a package. Raises NoToolchainError."""
    root = environment.get(ROOT_VARIABLE)
    return _on_path(package, environment) if not root else _in_folder(Path(root), package, environment)


def _on_path(package: Path, environment: Mapping[str, str]) -> Toolchain:
    cargo, rustc = (shutil.which(name, path=environment.get("PATH")) for name in ("cargo", "rustc"))
    if cargo is None or rustc is None:
        raise NoToolchainError(f"there is no cargo on the path, and {ROOT_VARIABLE} names no folder with one")
    done = subprocess.run(
        [rustc, "--print", "target-libdir", "--target", TARGET],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 or not Path(done.stdout.strip()).is_dir():
        raise NoToolchainError(f"{rustc} has no {TARGET}; `rustup target add {TARGET}` would add it")
    target = ROOT / "build" / "rust"
    return Toolchain(package, (cargo,), environment, str(package), target, str(target))


def _in_folder(root: Path, package: Path, environment: Mapping[str, str]) -> Toolchain:
    if not (root / "usr" / "bin" / "cargo").exists():
        raise NoToolchainError(
            f"{ROOT_VARIABLE}={root} holds no /usr/bin/cargo; --bootstrap makes such a folder"
        )
    if not (root / "usr" / "lib" / "rustlib" / TARGET).is_dir():
        raise NoToolchainError(f"{root} has no {TARGET}; its package libstd-rust-dev-wasm32 brings it")
    chroot = shutil.which("chroot", path=SYSTEM_PATH)
    if os.geteuid() != 0 or chroot is None:
        raise NoToolchainError(f"only root can change its root to {root}")
    linkers = sorted((root / "usr" / "bin").glob("wasm-ld*"), key=lambda path: (len(path.name), path.name))
    if not linkers:
        raise NoToolchainError(f"{root} has no wasm-ld; its package lld brings it")
    inside = {
        "HOME": "/root",
        "PATH": SYSTEM_PATH,
        "CARGO_TARGET_WASM32_WASIP1_LINKER": linkers[-1].name,
        **{name: environment[name] for name in PASSED_ON if name in environment},
        **_trust(root, environment),
    }
    place = root / INSIDE
    return Toolchain(
        package,
        (chroot, str(root), "/usr/bin/cargo"),
        inside,
        f"/{INSIDE}/{package.name}",
        place / "target",
        f"/{INSIDE}/target",
        place / package.name,
    )


def _trust(root: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Have the system in the folder trust whom this one trusts: a proxy may have an authority of its own."""
    for bundle in (environment.get("SSL_CERT_FILE"), *BUNDLES):
        if bundle and Path(bundle).is_file():
            copy = root / INSIDE / "authorities.pem"
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(bundle, copy)
            return {"CARGO_HTTP_CAINFO": f"/{INSIDE}/authorities.pem"}
    return {}


def build(toolchain: Toolchain) -> Path:
    """Build all programs of the toolchain's package; the folder with NAME.wasm for each.

    Raises NoToolchainError when the crates cannot be had, BuildError when something does not compile.
    """
    if toolchain.copy_to is not None:
        shutil.rmtree(toolchain.copy_to, ignore_errors=True)
        shutil.copytree(toolchain.package, toolchain.copy_to, ignore=shutil.ignore_patterns("target"))
    fetched = toolchain.cargo("fetch", timeout_s=FETCH_TIMEOUT_S)
    if fetched.returncode != 0:
        raise NoToolchainError(f"the crates are not here and cannot be fetched:\n{fetched.stderr.strip()}")
    built = toolchain.cargo("build", "--bins", timeout_s=BUILD_TIMEOUT_S)
    if built.returncode != 0:
        raise BuildError(built.stderr)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name in programs(toolchain.package):
        fresh = OUTPUT / f"{name}.{os.getpid()}.new"  # another build may run at the same time
        shutil.copyfile(toolchain.target / TARGET / "debug" / f"{name}.wasm", fresh)
        fresh.replace(OUTPUT / f"{name}.wasm")
    return OUTPUT


def bootstrap(folder: Path) -> None:
    """Make a folder with a Debian system that has Rust, 1.5 GB. Raises NoToolchainError."""
    if os.geteuid() != 0:
        raise NoToolchainError("only root can install a system into a folder")
    debootstrap = shutil.which("debootstrap")
    if debootstrap is None:
        raise NoToolchainError("there is no debootstrap here; Debian's package of that name brings it")
    if folder.exists() and any(folder.iterdir()):
        raise NoToolchainError(f"{folder} is not empty")
    command = [debootstrap, "--variant=minbase", f"--include={DEBIAN_PACKAGES}", SUITE, str(folder), MIRROR]
    if subprocess.run(command, check=False).returncode != 0:
        raise NoToolchainError(f"debootstrap failed; its log is {folder}/debootstrap/debootstrap.log")
    shutil.copyfile("/etc/resolv.conf", folder / "etc" / "resolv.conf")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--bootstrap", metavar="DIR", type=Path, help="first make DIR a Debian system with Rust (as root)"
    )
    folder: Path | None = parser.parse_args(arguments).bootstrap
    environment = dict(os.environ)
    try:
        if folder is not None:
            bootstrap(folder)
            environment[ROOT_VARIABLE] = str(folder.resolve())
        for package in PACKAGES:
            output = build(find_toolchain(environment, package))
    except (NoToolchainError, BuildError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"built {sum(len(programs(package)) for package in PACKAGES)} programs in {output}")
    if folder is not None:
        print(f"from now on: export {ROOT_VARIABLE}={environment[ROOT_VARIABLE]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Programs in Rust, written with the `lunatic` crate as its users do, on the real commands.

They are in guests/rust/, check themselves, and end with exit code 0 or a panic. Without a Rust toolchain for
wasm32-wasip1 all but the first tests are skipped; docs/guests.md tells how to get one.
"""

from __future__ import annotations

import datetime
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .node_process import BIN, NodeStarter, wait_for

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "integration" / "guests" / "rust"

RUN_TIMEOUT_S = 100.0  # a program takes a few seconds at most on a quiet machine
MAX_LINES = 150

ALONE = (
    "abstract_processes",
    "catch",
    "chain",
    "crowd",
    "early_kill",
    "flood",
    "limits",
    "messages",
    "metrics",
    "names_locals",
    "restart",
    "tasks",
    "tcp",
    "udp",
    "zero_timeouts",
)
"""programs that need nothing but to be run"""

OTHERS = ("cluster", "files", "sqlite", "stdio", "tls")
"""programs with tests of their own"""


def builder() -> ModuleType:
    """tools/build_rust_guests.py, which is a script and in no package."""
    path = ROOT / "tools" / "build_rust_guests.py"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(path.parent))
        spec = importlib.util.spec_from_file_location("build_rust_guests", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, spec.name, module)  # dataclasses look themselves up there
        spec.loader.exec_module(module)
    return module


def test_every_program_is_listed_and_every_listed_one_exists() -> None:
    assert builder().programs() == sorted((*ALONE, *OTHERS))


def test_programs_are_short_and_say_what_they_are() -> None:
    for path in (SOURCES / "src" / "bin").glob("*.rs"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) < MAX_LINES, path.name
        assert lines[0].startswith("//! "), path.name


def test_the_crate_is_the_one_from_the_registry_in_a_locked_version() -> None:
    lock = (SOURCES / "Cargo.lock").read_text(encoding="utf-8")
    assert 'name = "lunatic"\nversion = "0.14.1"\nsource = "registry+' in lock
    assert 'lunatic = { version = "=0.14.1"' in (SOURCES / "Cargo.toml").read_text(encoding="utf-8")


def test_a_machine_without_rust_is_told_what_is_missing(tmp_path: Path) -> None:
    tool = builder()
    for environment, text in (
        ({"PATH": str(tmp_path)}, "no cargo on the path"),
        ({"PATH": str(tmp_path), "LUNA_RUST_ROOT": str(tmp_path)}, "holds no /usr/bin/cargo"),
    ):
        with pytest.raises(tool.NoToolchainError, match=text):
            tool.find_toolchain(environment)


@pytest.fixture(scope="session")
def rust() -> Path:
    """The folder of the built programs; skips when this machine cannot build them."""
    tool = builder()
    try:
        folder = tool.build(tool.find_toolchain())
    except tool.NoToolchainError as error:
        pytest.skip(f"NO RUST PROGRAM IS TESTED: {error}")
    assert isinstance(folder, Path)
    return folder


def run(
    folder: Path, name: str, *arguments: str, options: Sequence[str] = (), stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """`luna run` a program; it must end with 0."""
    done = subprocess.run(
        [BIN / "luna", "run", *options, str(folder / f"{name}.wasm"), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done


@pytest.mark.parametrize("name", ALONE)
def test_program(rust: Path, name: str) -> None:
    run(rust, name)


@pytest.mark.parametrize("first", ["self", "child"])
def test_stdio(rust: Path, first: str) -> None:
    text = "one\ntwö\n" + "x" * 200_000
    options = ["--env", "LUNA_GREETING=hello there"]
    done = run(rust, "stdio", first, "--flag", "", options=options, stdin=text)
    assert done.stdout == f'{text.upper()}\n["{first}", "--flag", ""]\nhello there\nthe end'
    assert done.stderr == "3 lines\n"


def test_files(rust: Path, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    run(rust, "files", str(folder), options=["--dir", str(folder)])
    assert [path.name for path in tmp_path.iterdir()] == ["given"]
    assert (folder / "shared").read_text() == "for children"


def test_sqlite(rust: Path, tmp_path: Path) -> None:
    run(rust, "sqlite", str(tmp_path / "numbers.db"), options=["--dir", str(tmp_path)])
    assert (tmp_path / "numbers.db").exists()


def test_tls(rust: Path, tmp_path: Path) -> None:
    authority, stranger = Authority("Luna's test authority"), Authority("a stranger")
    certificate, key = authority.issue("localhost")
    files = {"ca.pem": authority.pem, "server.pem": certificate, "key.pem": key, "other.pem": stranger.pem}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    run(rust, "tls", *(str(tmp_path / name) for name in files), options=["--dir", str(tmp_path)])


def test_one_program_on_two_nodes(rust: Path, nodes: NodeStarter) -> None:
    a = nodes.start("a")
    b = nodes.start("b", "--join", a.address)
    wait_for(lambda: a.sees("a", "b") and b.sees("a", "b"), "a and b connected")
    for node in (a, b):
        done = node.luna("spawn", "--follow", str(rust / "cluster.wasm"), "2", timeout_s=RUN_TIMEOUT_S)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        assert sorted(done.stdout.splitlines()) == sorted(f"node {n.id} did its part" for n in (a, b))


@pytest.mark.parametrize("name", ["chain", "early_kill", "flood", "restart", "tcp"])
def test_program_on_a_node(rust: Path, nodes: NodeStarter, name: str) -> None:
    node = nodes.start("a")
    done = node.luna("spawn", "--follow", str(rust / f"{name}.wasm"), timeout_s=RUN_TIMEOUT_S)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


class Authority:
    """A certificate authority for one test."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.pem = self._sign(self._name, self._key, constraints)

    def issue(self, host: str) -> tuple[bytes, bytes]:
        """The certificate of a server on this machine, and its key, both as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        certificate = self._sign(name, key, x509.BasicConstraints(ca=False, path_length=None), names)
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate, text

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension in extensions:
            made = made.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

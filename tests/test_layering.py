"""The import directions of the architecture, read from the sources.

proto imports nothing of ours; scheduler and cluster import proto; node imports all three;
cli imports proto, and the rest only inside the commands that start a runtime or a node.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ALLOWED: dict[str, set[str]] = {
    "proto": {"proto"},
    "scheduler": {"scheduler", "proto"},
    "cluster": {"cluster", "proto"},
    "node": {"node", "scheduler", "cluster", "proto"},
    "cli": {"cli", "proto"},
}
# Allowed inside a function as well, where starting the program does not pay for it.
ALLOWED_LATE: dict[str, set[str]] = {"cli": {"node", "scheduler"}}

CYTHON_IMPORT = re.compile(r"^\s*(?:from\s+(?P<source>[\w.]+)\s+c?import\b|c?import\s+(?P<name>[\w.]+))")


def modules_of(node: ast.AST) -> list[str]:
    """What one statement imports; `from luna import proto` counts as luna.proto."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "packages import each other by their full name"
        assert node.module is not None
        if node.module == "luna":
            return [f"luna.{alias.name}" for alias in node.names]
        return [node.module]
    return []


def walk_imports(node: ast.AST, late: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield (module, whether it is imported only when a function runs or for types)."""
    for child in ast.iter_child_nodes(node):
        for module in modules_of(child):
            yield module, late
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        yield from walk_imports(child, late or inside or for_types)


def imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".py", ".pyi"):
        yield from walk_imports(ast.parse(text))
        return
    for line in text.splitlines():
        if match := CYTHON_IMPORT.match(line):
            yield match["source"] or match["name"], False


def sources(package: str) -> list[Path]:
    found = [path for path in (ROOT / package).rglob("*") if path.suffix in (".py", ".pyi", ".pyx", ".pxd")]
    assert found, f"{package} has no sources"
    return found


def violations(package: str) -> list[str]:
    wrong = []
    for path in sources(package):
        for module, late in imports_of(path):
            first, _, rest = module.partition(".")
            name = str(path.relative_to(ROOT))
            if first in ALLOWED:
                wrong.append(f"{name}: imports {module}, a second copy of luna.{module}")
            if first != "luna":
                continue
            target = rest.partition(".")[0]
            if target not in ALLOWED[package] | (ALLOWED_LATE.get(package, set()) if late else set()):
                wrong.append(f"{name}: imports {module}")
    return wrong


@pytest.mark.parametrize("package", ALLOWED)
def test_package_imports_only_what_lies_below_it(package: str) -> None:
    assert violations(package) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import luna.node.x", [("luna.node.x", False)]),
        ("from luna import node", [("luna.node", False)]),
        ("def f():\n    from luna.node import x", [("luna.node", True)]),
        ("async def f():\n    import luna.node", [("luna.node", True)]),
        ("if True:\n    import luna.node", [("luna.node", False)]),
        ("if TYPE_CHECKING:\n    import luna.node", [("luna.node", True)]),
        ("class A:\n    import luna.node", [("luna.node", False)]),
    ],
)
def test_every_form_of_import_is_seen(text: str, expected: list[tuple[str, bool]]) -> None:
    assert list(walk_imports(ast.parse(text))) == expected


def test_cython_imports_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.pyx"
    path.write_text("from luna.node._x cimport y\ncimport luna.cli._z\nimport luna.proto\nimportant = 1\n")
    assert [module for module, _ in imports_of(path)] == ["luna.node._x", "luna.cli._z", "luna.proto"]


def test_packaging_and_type_checkers_know_every_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for name, folder in settings["package-dir"].items():
        assert name == "luna." + folder.replace("/", ".")
    assert set(ALLOWED) <= set(settings["package-dir"].values())
    top = {name.removeprefix("luna.").partition(".")[0] for name in settings["packages"]}
    assert top == set(ALLOWED)
    links = {link.name: link.resolve() for link in (ROOT / ".types" / "luna").iterdir()}
    assert links == {package: ROOT / package for package in ALLOWED}


def test_every_folder_with_code_is_packaged() -> None:
    # Packages are listed by hand: a forgotten one would be missing from the wheel only.
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        "luna." + ".".join(path.parent.relative_to(ROOT).parts)
        for package in ALLOWED
        for path in (ROOT / package).rglob("*.py")
    }
    assert found == listed


def test_command_line_starts_without_grpc_and_engine() -> None:
    code = "import sys, luna.cli.luna\nprint([name for name in ('grpc', 'wasmtime') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"

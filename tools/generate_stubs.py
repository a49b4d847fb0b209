"""Regenerates the protobuf and gRPC stubs in proto/ from its .proto files.

`--check` leaves the tree alone and fails when a regenerated stub differs.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("node.proto", "control.proto")


def generate(target: Path) -> dict[str, str]:
    """Run protoc into `target`; return file name -> text of each stub."""
    include = resources.files("grpc_tools") / "_proto"
    status = protoc.main(
        [
            "protoc",
            f"-Iluna/proto={ROOT / 'proto'}",
            f"-I{include}",
            f"--python_out={target}",
            f"--pyi_out={target}",
            f"--grpc_python_out={target}",
            *(f"luna/proto/{name}" for name in SOURCES),
        ]
    )
    if status != 0:
        raise SystemExit(f"protoc failed with status {status}")
    return {path.name: path.read_text() for path in sorted((target / "luna" / "proto").iterdir())}


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        stubs = generate(Path(folder))
    if "--check" in arguments:
        stale = [
            name
            for name, text in stubs.items()
            if not (ROOT / "proto" / name).exists() or (ROOT / "proto" / name).read_text() != text
        ]
        if stale:
            print(f"stale stubs: {', '.join(stale)}; run python tools/generate_stubs.py", file=sys.stderr)
            return 1
        return 0
    for name, text in stubs.items():
        (ROOT / "proto" / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

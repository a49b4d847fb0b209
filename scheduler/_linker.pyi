"""Types of the native linker; the words are in `_linker.pyx`."""

from collections.abc import Sequence
from typing import final

def native_functions() -> dict[tuple[str, str], tuple[int, bool]]: ...

@final
class Linker:
    def __init__(self, engine: int, rows: Sequence[tuple[str, str, str, str, int, bool, str]]) -> None: ...
    def instance_pre(self, module: int) -> int: ...

"""Types of the native linker; the words are in `_linker.pyx`."""

from collections.abc import Iterable, Sequence
from typing import Final, final

def native_functions() -> dict[tuple[str, str], tuple[int, bool]]: ...

@final
class HostTable:
    count: Final[int]
    def __init__(
        self, rows: Sequence[tuple[str, str, str, str, str, bool, str, str]], traces_calls: bool = False
    ) -> None: ...
    def row_set(self, rows: Iterable[int]) -> bytes: ...

@final
class Linker:
    def __init__(self, engine: int, table: HostTable, rows: Iterable[int], refused: bytes) -> None: ...
    def instance_pre(self, module: int) -> int: ...

"""Guests for tests: writes WebAssembly text from the few lines that matter.

`guest(body)` gives the bytes of a module made of `body`, which is WAT with these shorthands:

    5:i32  -1:i64            constants
    @"text\00"               pointer and length of a data segment with these bytes
    (message.send X)         a host call; its import is added from the host-call table
    (message.send@0.6 X)     the same of an earlier interface
    (is32 GOT WANT)          a check (is64 as well); a wrong value exits with its line number
    (report X)               tells the test an i64, see `Lab.reports`
    (gate)                   waits until the test opens `Lab.gate`
    (call $helper ...)       the functions of HELPERS below are added when they are used

Memory is one page unless the body has its own. Addresses below 1024 are free for the body,
data segments lie at 4096 and up. Owns text only: nothing is compiled here.
"""

from __future__ import annotations

import re
from typing import Final

from luna.scheduler import hostcalls

MAX_EXIT_CODE: Final = 125
"""the largest exit code that wasmtime lets a WASI program have"""
DATA_AT: Final = 4096

_NAMESPACES: Final = {
    row.namespace.removeprefix("luna::").removeprefix("lunatic::"): row.namespace
    for row in hostcalls.ALL_CALLS
    if row.namespace not in ("luna::message", "luna::distributed")
} | {
    "luna_message": "luna::message",
    "luna_distributed": "luna::distributed",
}
_STRING = re.compile(r'@"((?:[^"\\]|\\.)*)"')
_PLAIN_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_CONSTANT = re.compile(r"(?<![\w$.:-])(-?(?:0x[0-9a-fA-F]+|\d+)):(i32|i64)\b")
_CALL = re.compile(rf"\(({'|'.join(_NAMESPACES)})\.(\w+(?:@[\d.]+)?)")
_CHECK = re.compile(r"\((is32|is64)(?=[\s(])")
_USED = re.compile(r"\$(\w+)\.(\w+(?:@[\d.]+)?)")
_ESCAPE = re.compile(r"\\([0-9a-fA-F]{2}|[nrt\"'\\])")

HELPERS: Final[dict[str, str]] = {
    "is32": """(func $is32 (param $line i32) (param $got i32) (param $want i32)
        (if (i32.ne (local.get $got) (local.get $want))
            (then (call $wasi.proc_exit (local.get $line)))))""",
    "is64": """(func $is64 (param $line i32) (param $got i64) (param $want i64)
        (if (i64.ne (local.get $got) (local.get $want))
            (then (call $wasi.proc_exit (local.get $line)))))""",
    "report": """(func $report (param $value i64)
        (i64.store (i32.const 2000) (local.get $value))
        (drop (call $distributed.get_nodes (i32.const 2000) (i32.const 1))))""",
    "gate": "(func $gate (drop (call $distributed.nodes_count)))",
    # Spawns an exported function of this module, without and with a link.
    "spawn": """(func $spawn (param $name i32) (param $size i32) (result i64)
        (call $spawn_link (i64.const 0) (local.get $name) (local.get $size)))""",
    "spawn_link": """(func $spawn_link (param $tag i64) (param $name i32) (param $size i32) (result i64)
        (if (call $process.spawn (local.get $tag) (i64.const -1) (i64.const -1)
                (local.get $name) (local.get $size) (i32.const 0) (i32.const 0) (i32.const 2000))
            (then (unreachable)))
        (i64.load (i32.const 2000)))""",
    "spawn_with": """(func $spawn_with (param $config i64) (param $name i32) (param $size i32) (result i64)
        (if (call $process.spawn (i64.const 0) (local.get $config) (i64.const -1)
                (local.get $name) (local.get $size) (i32.const 0) (i32.const 0) (i32.const 2000))
            (then (unreachable)))
        (i64.load (i32.const 2000)))""",
    # Sends a message of 8 bytes.
    "send": """(func $send (param $to i64) (param $tag i64) (param $value i64)
        (call $write (local.get $tag) (local.get $value))
        (drop (call $message.send (local.get $to))))""",
    "write": """(func $write (param $tag i64) (param $value i64)
        (call $message.create_data (local.get $tag) (i64.const 8))
        (i64.store (i32.const 2000) (local.get $value))
        (drop (call $message.write_data (i32.const 2000) (i32.const 8))))""",
    # Waits for any data message and gives its 8 bytes; traps when something else comes.
    "receive": """(func $receive (result i64)
        (if (call $receive_any (i64.const -1)) (then (unreachable)))
        (call $read))""",
    "receive_any": """(func $receive_any (param $timeout i64) (result i32)
        (call $message.receive (i32.const 0) (i32.const 0) (local.get $timeout)))""",
    "receive_tag": """(func $receive_tag (param $tag i64) (param $timeout i64) (result i32)
        (i64.store (i32.const 2000) (local.get $tag))
        (call $message.receive (i32.const 2000) (i32.const 1) (local.get $timeout)))""",
    "read": """(func $read (result i64)
        (i64.store (i32.const 2000) (i64.const 0))
        (drop (call $message.read_data (i32.const 2000) (i32.const 8)))
        (i64.load (i32.const 2000)))""",
    # The same for guests of early Lunatic, which know processes by handles.
    "early_spawn": """(func $early_spawn (param $tag i64) (param $name i32) (param $size i32) (result i64)
        (if (call $process.inherit_spawn@0.6 (local.get $tag)
                (local.get $name) (local.get $size) (i32.const 0) (i32.const 0) (i32.const 2000))
            (then (unreachable)))
        (i64.load (i32.const 2000)))""",
    "early_spawn_in": """(func $early_spawn_in (param $module i64) (param $name i32) (param $size i32)
            (result i64)
        (if (call $process.spawn@0.6 (i64.const 0) (local.get $module)
                (local.get $name) (local.get $size) (i32.const 0) (i32.const 0) (i32.const 2000))
            (then (unreachable)))
        (i64.load (i32.const 2000)))""",
    "early_send": """(func $early_send (param $to i64) (param $tag i64) (param $value i64)
        (call $write (local.get $tag) (local.get $value))
        (call $message.send@0.6 (local.get $to)))""",
    "early_receive": """(func $early_receive (result i64)
        (if (call $message.receive@0.6 (i64.const 0) (i32.const 0)) (then (unreachable)))
        (call $read))""",
    "early_await_end": """(func $early_await_end (param $process i64)
        (call $process.id@0.6 (local.get $process) (i32.const 2016))
        (loop $again
            (call $process.sleep_ms (i64.const 1))
            (br_if $again (call $process.exists (i64.load (i32.const 2016))))))""",
    # An environment with one more namespace, and the module in it.
    "early_module": """(func $early_module (param $prefix i32) (param $size i32) (result i64)
        (local $config i64)
        (local.set $config (call $process.create_config@0.6 (i64.const 10000000) (i64.const 0)))
        (call $process.allow_namespace@0.6 (local.get $config) (local.get $prefix) (local.get $size))
        (if (call $process.create_environment@0.6 (local.get $config) (i32.const 2000)) (then (unreachable)))
        (if (call $process.add_this_module@0.6 (i64.load (i32.const 2000)) (i32.const 2008))
            (then (unreachable)))
        (i64.load (i32.const 2008)))""",
    # Waits for ever, taking every message.
    "park": """(func $park (loop $again
        (drop (call $receive_any (i64.const -1))) (br $again)))""",
    "spin": "(func $spin (loop $again (br $again)))",
}


def guest(body: str) -> bytes:
    """The text of a whole module, as bytes that `load_module` takes."""
    data = bytearray()
    kept: list[str] = []

    def place(match: re.Match[str]) -> str:
        content = _unescape(match[1])
        address = DATA_AT + len(data)
        data.extend(content)
        return f"(i32.const {address}) (i32.const {len(content)})"

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f'"{len(kept) - 1}"'

    text = _STRING.sub(place, body)
    text = _PLAIN_STRING.sub(keep, text)
    text = _CONSTANT.sub(r"(\2.const \1)", text)
    text = _CALL.sub(r"(call $\1.\2", text)
    text = re.sub(r"\((report|gate)(?=[\s()])", r"(call $\1", text)
    text = _CHECK.sub(lambda match: f"(call ${match[1]} (i32.const {_line(text, match.start())})", text)
    text = re.sub(r'"(\d+)"', lambda match: kept[int(match[1])], text)
    helpers = _helpers(text)
    memory = "" if re.search(r"\(memory[\s(]", text) else '(memory (export "memory") 1)\n'
    segment = f'(data (i32.const {DATA_AT}) "{_escape(data)}")\n' if data else ""
    return f"(module\n{_imports(text + helpers)}{memory}{segment}{helpers}{text})".encode()


def _line(text: str, position: int) -> int:
    return min(text.count("\n", 0, position) + 1, MAX_EXIT_CODE)


def _helpers(text: str) -> str:
    """The helpers that `text` and they themselves call, each once."""
    found: dict[str, str] = {}
    pending = [text]
    while pending:
        for name in re.findall(r"\(call \$(\w+)(?![\w.])", pending.pop()):
            if name in HELPERS and name not in found and f"(func ${name} " not in text:
                found[name] = HELPERS[name]
                pending.append(HELPERS[name])
    return "".join(f"{source}\n" for source in found.values())


def _imports(text: str) -> str:
    lines = []
    for namespace, key in dict.fromkeys(_USED.findall(text)):
        places = (_NAMESPACES[namespace], hostcalls.WASI_NAMESPACE if namespace == "wasi" else "")
        found = [row for row in hostcalls.ALL_CALLS if row.namespace in places and row.key == key]
        if not found:
            raise ValueError(f"there is no host call {namespace}.{key}")
        row = found[0]
        params = "".join(f" (param {parameter.kind.wasm})" for parameter in row.parameters)
        result = "" if row.returns is None else f" (result {row.returns.wasm})"
        lines.append(f'(import "{row.namespace}" "{row.name}" (func ${namespace}.{key}{params}{result}))\n')
    return "".join(lines)


def _unescape(text: str) -> bytes:
    plain = {"n": b"\n", "r": b"\r", "t": b"\t", '"': b'"', "'": b"'", "\\": b"\\"}
    out = bytearray()
    position = 0
    for match in _ESCAPE.finditer(text):
        out += text[position : match.start()].encode()
        out += plain.get(match[1]) or bytes.fromhex(match[1])
        position = match.end()
    return bytes(out + text[position:].encode())


def _escape(data: bytes | bytearray) -> str:
    return "".join(f"\\{byte:02x}" for byte in data)


def param(kind: int, value: int, bits: int = 128) -> str:
    """A 17-byte parameter record of `process.spawn`, as escapes for a data segment."""
    return _escape(bytes([kind]) + (value & (1 << bits) - 1).to_bytes(16, "little"))

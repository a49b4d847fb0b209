"""The directories a process may use: opened when it first asks for them, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from luna.scheduler import ExitKind, ProcessConfig

from .lab import Lab, open_files, wait_for

START = '(func (export "_start")'
# Opens `name` in the first directory for reading and reports its first byte.
READ = """
    (func $read_first (param $name i32) (param $size i32)
      (is32 (wasi.path_open 3:i32 0:i32 (local.get $name) (local.get $size)
        0:i32 2:i64 0:i64 0:i32 40:i32) 0:i32)
      (i32.store 0:i32 100:i32) (i32.store 4:i32 1:i32)
      (is32 (wasi.fd_read (i32.load 40:i32) 0:i32 1:i32 44:i32) 0:i32)
      (is32 (i32.load 44:i32) 1:i32)
      (is32 (wasi.fd_close (i32.load 40:i32)) 0:i32)
      (report (i64.load8_u 100:i32)))"""


@pytest.fixture
def folder(tmp_path: Path) -> ProcessConfig:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "file").write_text("A")
    return ProcessConfig.program(preopens=[("home", str(tmp_path / "inside"))])


async def test_processes_that_touch_no_file_hold_no_descriptor(lab: Lab, folder: ProcessConfig) -> None:
    module = await lab.load(f"{START} (drop (wasi.sched_yield)) (gate))")
    before = open_files()
    for _ in range(50):
        await lab.spawn(module, config=folder)
    await wait_for(lambda: lab.at_gate == 50)
    assert open_files() - before < 10  # some are the runtime's
    lab.gate.set()


async def test_the_first_question_opens_them(lab: Lab, folder: ProcessConfig) -> None:
    await lab.passes(
        f"""{START}
        (is32 (wasi.fd_prestat_get 3:i32 0:i32) 0:i32)
        (is32 (i32.load 0:i32) 0:i32) (is32 (i32.load 4:i32) 4:i32)
        (is32 (wasi.fd_prestat_dir_name 3:i32 8:i32 4:i32) 0:i32)
        (is32 (i32.load 8:i32) 0x656d6f68:i32)
        (is32 (wasi.fd_prestat_get 4:i32 0:i32) 8:i32))""",
        config=folder,
    )


async def test_a_file_can_be_opened_without_asking_first(lab: Lab, folder: ProcessConfig) -> None:
    await lab.passes(f'{READ} {START} (call $read_first @"file") (call $read_first @"file"))', config=folder)
    assert lab.reports == [ord("A")] * 2


async def test_children_have_them_too(lab: Lab, folder: ProcessConfig) -> None:
    await lab.passes(
        f"""{READ}
        (func (export "child") (call $read_first @"file"))
        {START}
          (call $read_first @"file")
          (process.monitor (call $spawn @"child"))
          (is32 (call $receive_any -1:i64) 2:i32))""",
        config=folder,
    )
    assert lab.reports == [ord("A")] * 2


async def test_with_a_compute_limit(lab: Lab, folder: ProcessConfig) -> None:
    config = ProcessConfig.program(preopens=folder.preopens, max_fuel=10)
    await lab.passes(f'{READ} {START} (call $read_first @"file"))', config=config)
    assert lab.reports == [ord("A")]


async def test_within_a_caught_trap(lab: Lab, folder: ProcessConfig) -> None:
    await lab.passes(
        f"""{READ}
        (func (export "_lunatic_catch_trap") (param i32 i32) (result i32)
          (call $read_first @"file") (unreachable))
        {START} (is32 (trap.catch 0:i32 0:i32) 0:i32) (call $read_first @"file"))""",
        config=folder,
    )
    assert lab.reports == [ord("A")] * 2


async def test_the_monotonic_clock_goes_on_when_they_are_opened(lab: Lab, folder: ProcessConfig) -> None:
    await lab.passes(
        f"""{START}
        (process.sleep_ms 5:i64)
        (is32 (wasi.clock_time_get 1:i32 0:i64 0:i32) 0:i32)
        (is32 (wasi.fd_prestat_get 3:i32 40:i32) 0:i32)
        (is32 (wasi.clock_time_get 1:i32 0:i64 8:i32) 0:i32)
        (is32 (i64.lt_u (i64.load 0:i32) (i64.load 8:i32)) 1:i32))""",
        config=folder,
    )


async def test_output_is_the_same_after_they_are_opened(lab: Lab, folder: ProcessConfig) -> None:
    write = """(i32.store 0:i32 100:i32) (i32.store 4:i32 2:i32) (i32.store16 100:i32 0x0a78:i32)
        (is32 (wasi.fd_write 1:i32 0:i32 1:i32 8:i32) 0:i32)"""
    pid = await lab.spawn(
        f"{START} {write} (drop (wasi.fd_prestat_get 3:i32 40:i32)) {write})", config=folder
    )
    assert await lab.output(pid) == b"x\nx\n"


async def test_without_directories_there_is_no_descriptor(lab: Lab) -> None:
    await lab.passes(
        f"""{START}
        (is32 (wasi.fd_prestat_get 3:i32 0:i32) 8:i32)
        (is32 (wasi.path_open 3:i32 0:i32 @"file" 0:i32 2:i64 0:i64 0:i32 40:i32) 8:i32)
        (is32 (wasi.path_symlink @"a" 3:i32 @"b") 8:i32)
        (is32 (wasi.fd_filestat_get 1:i32 0:i32) 0:i32))"""
    )


async def test_a_directory_that_is_not_there_is_told_at_spawn(lab: Lab, tmp_path: Path) -> None:
    config = ProcessConfig.program(preopens=[(".", str(tmp_path / "missing"))])
    module = await lab.load(f"{START} (drop (wasi.sched_yield)))")
    with pytest.raises(Exception, match="missing cannot be opened on this node"):
        await lab.spawn(module, config=config)


async def test_a_directory_that_goes_meanwhile_traps_who_asks_for_it(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "short").mkdir()
    config = ProcessConfig.program(preopens=[(".", str(tmp_path / "short"))])
    pid = await lab.spawn(f"{START} (gate) (drop (wasi.fd_prestat_get 3:i32 0:i32)))", config=config)
    await wait_for(lambda: lab.at_gate == 1)
    (tmp_path / "short").rmdir()
    lab.gate.set()
    status = await lab.wait_exit(pid)
    assert status.kind is ExitKind.FAILURE
    assert "short cannot be opened on this node" in status.reason


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "link", "deep/../../outside"])
async def test_no_way_leads_out_of_them(lab: Lab, folder: ProcessConfig, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_text("secret")
    (tmp_path / "inside" / "deep").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
    status = await lab.run(
        f"""{START}
        (if (i32.eqz (wasi.path_open 3:i32 1:i32 @"{name}" 0:i32 2:i64 0:i64 0:i32 40:i32))
          (then unreachable)))""",
        config=folder,
    )
    assert status.kind is ExitKind.NORMAL, status


async def test_a_guest_without_a_memory_traps(lab: Lab, folder: ProcessConfig) -> None:
    reason = await lab.traps(f"{START} (drop (wasi.fd_close 3:i32))) (memory $hidden 1)", config=folder)
    assert "outside the guest's memory, or it exports none" in reason


# -- handing them on --------------------------------------------------------------------------

HAND_ON = """
    (func (export "child")
      (if (wasi.path_open 3:i32 1:i32 @"file" 0:i32 2:i64 0:i64 0:i32 40:i32)
        (then (report -1:i64) (return)))
      (i32.store 0:i32 100:i32) (i32.store 4:i32 1:i32)
      (is32 (wasi.fd_read (i32.load 40:i32) 0:i32 1:i32 44:i32) 0:i32)
      (report (i64.load8_u 100:i32)))
    (func (export "_start")
      (drop (process.create_config))
      (wasi.config_preopen_dir 0:i64 @"WANTED")
      (process.monitor (call $spawn_with 0:i64 @"child"))
      (is32 (call $receive_any -1:i64) 2:i32))"""


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """a/file A, a/b/file B, a/b/c/file C, outside/file O."""
    for path, text in (("a", "A"), ("a/b", "B"), ("a/b/c", "C"), ("outside", "O")):
        (tmp_path / path).mkdir()
        (tmp_path / path / "file").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("home", "A"),
        ("./home/", "A"),
        ("home/b", "B"),
        ("./home/./b//", "B"),
        ("home/b/c", "C"),
        ("home/b/../b/c", "C"),
        ("home/x/../b", "B"),
    ],
)
async def test_a_directory_within_one_can_be_handed_on(
    lab: Lab, nested: Path, wanted: str, found: str
) -> None:
    config = ProcessConfig.program(preopens=[("home", str(nested / "a"))])
    await lab.passes(HAND_ON.replace("WANTED", wanted), config=config)
    assert lab.reports == [ord(found)]


async def test_the_current_directory_goes_by_its_absolute_path_too(
    lab: Lab, nested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(nested / "a")
    config = ProcessConfig.program(preopens=[(".", ".")])
    await lab.passes(HAND_ON.replace("WANTED", str(nested / "a" / "b")), config=config)
    await lab.passes(HAND_ON.replace("WANTED", "b"), config=config)
    assert lab.reports == [ord("B")] * 2


@pytest.mark.parametrize("wanted", ["home/..", "home/../outside", "hom", "homes", "/", "..", "/home"])
async def test_what_lies_in_none_cannot_be_handed_on(lab: Lab, nested: Path, wanted: str) -> None:
    config = ProcessConfig.program(preopens=[("home", str(nested / "a"))])
    assert "does not have that directory itself" in await lab.traps(
        HAND_ON.replace("WANTED", wanted), config=config
    )


async def test_the_closest_directory_counts(lab: Lab, nested: Path) -> None:
    config = ProcessConfig.program(
        preopens=[("home", str(nested / "a")), ("home/b", str(nested / "outside"))]
    )
    await lab.passes(HAND_ON.replace("WANTED", "home/b"), config=config)
    assert lab.reports == [ord("O")]


async def test_a_link_on_the_way_does_not_lead_out(lab: Lab, nested: Path) -> None:
    (nested / "a" / "out").symlink_to(nested / "outside")
    (nested / "a" / "in").symlink_to("b")
    config = ProcessConfig.program(preopens=[("home", str(nested / "a"))])
    await lab.passes(HAND_ON.replace("WANTED", "home/in"), config=config)
    await lab.passes(HAND_ON.replace("WANTED", "home/out"), config=config)
    assert lab.reports == [ord("B")]  # the other trapped: its directory cannot be opened


async def test_a_directory_that_is_swapped_for_a_link_does_not_lead_out(lab: Lab, nested: Path) -> None:
    config = ProcessConfig.program(preopens=[("home", str(nested / "a"))])
    source = HAND_ON.replace("WANTED", "home/b").replace(
        '(func (export "child")', '(func (export "child") (gate)'
    )
    pid = await lab.spawn(source, config=config)
    await wait_for(lambda: lab.at_gate == 1)
    (nested / "a" / "b").rename(nested / "a" / "old")
    (nested / "a" / "b").symlink_to(nested / "outside")
    lab.gate.set()
    assert (await lab.wait_exit(pid)).kind is ExitKind.NORMAL
    assert lab.reports == []


async def test_who_was_given_a_directory_within_cannot_hand_on_what_is_beside_it(
    lab: Lab, nested: Path
) -> None:
    (nested / "a" / "b" / "up").symlink_to("..")
    config = ProcessConfig.program(preopens=[("home", f"{nested / 'a'}/./b")])
    for wanted in ("home", "home/c", "home/up"):
        await lab.passes(HAND_ON.replace("WANTED", wanted), config=config)
    assert lab.reports == [ord("B"), ord("C")]

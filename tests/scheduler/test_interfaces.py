"""Which rows a module means by its imports: by their types, and equal types by the others."""

from __future__ import annotations

import pytest

from luna.scheduler.hostcalls import ALL_CALLS, EARLIER_CALLS, HOST_CALLS, HostCall, Where
from luna.scheduler.interfaces import Import, meaning_of

TODAY = {(row.namespace, row.name): row for row in HOST_CALLS}


def row_of(label: str) -> HostCall:
    namespace, _, key = label.rpartition("::")
    return next(row for row in ALL_CALLS if row.namespace == namespace and row.key == key)


def imports(*labels: str) -> list[Import]:
    rows = map(row_of, labels)
    return [Import(row.namespace, row.name, row.params, row.result, row.type) for row in rows]


@pytest.mark.parametrize("row", ALL_CALLS, ids=lambda row: f"{row.namespace}::{row.key}")
def test_every_row_is_found_by_its_type_with_a_marker_of_its_interface(row: HostCall) -> None:
    twins = [other for other in ALL_CALLS if (other.full_name, other.type) == (row.full_name, row.type)]
    markers = {"0.6": "lunatic::process::this@0.6", "0.11": "lunatic::distributed::send@0.11"}
    marker = imports(markers[row.interface]) if len(twins) > 1 and row.interface in markers else []
    meaning = meaning_of([*marker, Import(row.namespace, row.name, row.params, row.result, row.type)])
    assert meaning.problems == ()
    assert row.index in meaning.rows


def test_send_without_a_result_is_to_a_handle_but_for_programs_that_send_to_nodes() -> None:
    send = imports("lunatic::message::send@0.6")
    assert meaning_of(send).interface == "0.6"
    assert meaning_of([*send, *imports("lunatic::process::this@0.6")]).interface == "0.6"
    later = meaning_of([*send, *imports("lunatic::distributed::send@0.11")])
    assert (later.interface, row_of("lunatic::message::send@0.11").index in later.rows) == ("0.11", True)


@pytest.mark.parametrize(
    "other",
    [
        "lunatic::message::receive",
        "lunatic::process::spawn",
        "lunatic::process::process_id",
        "lunatic::registry::get",
    ],
)
def test_send_without_a_result_is_to_a_process_id_for_programs_of_later_releases(other: str) -> None:
    meaning = meaning_of(imports("lunatic::message::send@0.6", other))
    assert row_of("lunatic::message::send@0.11").index in meaning.rows


@pytest.mark.parametrize(
    "other",
    ["lunatic::message::create_data", "lunatic::error::drop", "lunatic::networking::tcp_accept",
     "wasi_snapshot_preview1::fd_write"],
)  # fmt: skip
def test_send_without_a_result_is_to_a_handle_beside_what_never_changed(other: str) -> None:
    meaning = meaning_of(imports("lunatic::message::send@0.6", other))
    assert row_of("lunatic::message::send@0.6").index in meaning.rows


def test_only_links_need_a_marker() -> None:
    shared = {row.full_name for row in EARLIER_CALLS} & {
        row.full_name for row in HOST_CALLS if any(row.type == other.type for other in _namesakes(row))
    }
    assert shared == {"lunatic::process::link", "lunatic::process::unlink"}


def _namesakes(row: HostCall) -> list[HostCall]:
    return [other for other in EARLIER_CALLS if other.full_name == row.full_name]


@pytest.mark.parametrize(
    ("others", "interface"),
    [
        ((), "0.13"),
        (("lunatic::message::receive", "lunatic::process::spawn"), "0.13"),
        (("lunatic::message::receive@0.6",), "0.6"),
        (("lunatic::process::inherit_spawn@0.6", "lunatic::message::receive@0.7"), "0.6"),
        (("lunatic::message::send_receive_skip_search@0.12",), "0.13"),
    ],
)
def test_a_link_means_what_the_other_imports_say(others: tuple[str, ...], interface: str) -> None:
    meaning = meaning_of(imports("lunatic::process::link", "lunatic::process::unlink", *others))
    wanted = "" if interface == "0.13" else f"@{interface}"
    assert row_of(f"lunatic::process::link{wanted}").index in meaning.rows
    assert row_of(f"lunatic::process::unlink{wanted}").index in meaning.rows


@pytest.mark.parametrize(
    ("labels", "interface", "names_program"),
    [
        (("lunatic::message::create_data", "lunatic::message::send"), "0.13", True),
        (("lunatic::message::create_data", "lunatic::message::send@0.6"), "0.6", False),
        (("lunatic::message::receive@0.7",), "0.7", False),
        (("lunatic::message::receive@0.7", "lunatic::process::this@0.6"), "0.6", False),
        (("lunatic::message::send_receive_skip_search@0.12",), "0.12", True),
        ((), "0.13", True),
    ],
)
def test_the_oldest_import_tells_the_interface(
    labels: tuple[str, ...], interface: str, names_program: bool
) -> None:
    meaning = meaning_of(imports(*labels))
    assert meaning.interface == interface
    assert meaning.names_program == names_program


def test_only_rows_with_a_namesake_of_today_stand_in_for_it() -> None:
    meaning = meaning_of(imports("lunatic::process::this@0.6", "lunatic::message::send@0.6"))
    assert meaning.earlier == {row_of("lunatic::message::send@0.6").index}


def test_both_generations_go_together_but_not_under_one_name() -> None:
    assert meaning_of(imports("lunatic::process::this@0.6", "lunatic::process::kill")).problems == ()
    both = meaning_of(imports("lunatic::message::send", "lunatic::message::send@0.6"))
    assert both.problems == ("lunatic::message::send is imported with two types",)


def test_a_type_of_no_interface_is_told_with_those_there_are() -> None:
    meaning = meaning_of([Import("lunatic::message", "receive", "i", "i", "i32 -> i32")])
    (problem,) = meaning.problems
    assert problem == (
        "lunatic::message::receive is imported as i32 -> i32, but it is i32 i32 i64 -> i32 (Lunatic 0.13)"
        " or i64 i32 -> i32 (Lunatic 0.6) or i32 i32 i32 -> i32 (Lunatic 0.7)"
    )


def test_what_early_lunatic_had_and_today_has_not() -> None:
    only = {row.name for row in EARLIER_CALLS if (row.namespace, row.name) not in TODAY}
    assert only == {
        "push_process", "take_process", "allow_namespace", "create_environment", "drop_environment",
        "add_plugin", "add_module", "add_this_module", "inherit_spawn", "drop_process", "clone_process",
        "this", "id", "this_env", "register", "unregister", "lookup", "add_function", "add_function_type",
        "add_function_export", "preopen_dir", "create_remote_environment", "local_addr",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "type_"),
    [
        ("lunatic::message::receive@0.6", "i64 i32 -> i32"),
        ("lunatic::message::receive@0.7", "i32 i32 i32 -> i32"),
        ("lunatic::message::send@0.6", "i64 ->"),
        ("lunatic::message::send_receive_skip_search@0.6", "i64 i32 -> i32"),
        ("lunatic::message::send_receive_skip_search@0.12", "i64 i64 -> i32"),
        ("lunatic::distributed::send_receive_skip_search@0.12", "i64 i64 i64 -> i32"),
        ("lunatic::distributed::spawn@0.12", "i64 i64 i64 i64 i32 i32 i32 i32 i32 -> i32"),
        ("lunatic::networking::resolve@0.6", "i32 i32 i32 i32 -> i32"),
        ("lunatic::networking::tcp_connect@0.6", "i32 i32 i32 i32 i32 i32 i32 -> i32"),
        ("lunatic::networking::tcp_read@0.6", "i64 i32 i32 i32 i32 -> i32"),
        ("lunatic::networking::tcp_write_vectored@0.6", "i64 i32 i32 i32 i32 -> i32"),
        ("lunatic::networking::local_addr@0.7", "i64 i32 -> i32"),
        ("lunatic::networking::set_peek_timeout@0.12", "i64 i64 -> i32"),
        ("lunatic::networking::get_read_timeout@0.12", "i64 -> i32"),
        ("lunatic::networking::get_peek_timeout@0.12", "i64 -> i32"),
        ("lunatic::process::create_config@0.6", "i64 i64 -> i64"),
        ("lunatic::process::allow_namespace@0.6", "i64 i32 i32 ->"),
        ("lunatic::process::add_plugin@0.6", "i64 i32 i32 i32 -> i32"),
        ("lunatic::process::create_environment@0.6", "i64 i32 -> i32"),
        ("lunatic::process::drop_environment@0.6", "i64 ->"),
        ("lunatic::process::add_module@0.6", "i64 i32 i32 i32 -> i32"),
        ("lunatic::process::add_this_module@0.6", "i64 i32 -> i32"),
        ("lunatic::process::spawn@0.6", "i64 i64 i32 i32 i32 i32 i32 -> i32"),
        ("lunatic::process::inherit_spawn@0.6", "i64 i32 i32 i32 i32 i32 -> i32"),
        ("lunatic::process::clone_process@0.6", "i64 -> i64"),
        ("lunatic::process::this@0.6", "-> i64"),
        ("lunatic::process::id@0.6", "i64 i32 ->"),
        ("lunatic::process::this_env@0.6", "-> i64"),
        ("lunatic::process::register@0.6", "i32 i32 i32 i32 i64 i64 -> i32"),
        ("lunatic::process::unregister@0.6", "i32 i32 i32 i32 i64 -> i32"),
        ("lunatic::process::lookup@0.6", "i32 i32 i32 i32 i32 -> i32"),
        ("lunatic::process::preopen_dir@0.7", "i64 i32 i32 i32 -> i32"),
        ("lunatic::process::create_remote_environment@0.7", "i64 i32 i32 i32 -> i32"),
        ("lunatic::plugin::add_function@0.6", "i32 i32 i32 i32 i32 i32 -> i32"),
        ("lunatic::plugin::add_function_type@0.6", "i32 i32 i32 i32 i32 -> i32"),
        ("lunatic::plugin::add_function_export@0.6", "i32 i32 i32 ->"),
    ],
)
def test_earlier_types(key: str, type_: str) -> None:
    assert row_of(key).type == type_


def test_requests_can_suspend() -> None:
    assert [row.key for row in EARLIER_CALLS if row.where is Where.REQUEST and not row.suspends] == []

"""What guests count, from real guests to Prometheus's text, as its own parser reads it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs
from tests.scheduler.lab import Lab

from luna.scheduler.services import metrics
from luna.scheduler.services.metric_families import GuestMetrics
from luna.scheduler.services.metrics import BUCKETS, MAX_NAME_BYTES, exposed_name

START = '(func (export "_start")'


def families(lab: Lab, labels: Mapping[str, str] = {}) -> dict[str, Metric]:
    """What a collector sees, by name; no name comes twice."""
    registry = CollectorRegistry()
    registry.register(GuestMetrics(lab.runtime.metrics, labels))
    found = list(text_string_to_metric_families(generate_latest(registry).decode()))
    by_name = {family.name: family for family in found}
    assert len(by_name) == len(found)
    return by_name


def values(lab: Lab) -> dict[str, float]:
    """Every sample without its labels but `le`."""
    return {
        sample.name + sample.labels.get("le", ""): sample.value
        for family in families(lab).values()
        for sample in family.samples
    }


async def test_a_counter_grows(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (metrics.increment_counter @"hits")
        (metrics.increment_counter @"hits")
        (metrics.counter @"set" 42:i64)
        (metrics.increment_counter @"set")
        (metrics.counter @"lower" 42:i64)
        (metrics.counter @"lower" 7:i64)
        (metrics.counter @"large" -1:i64)
        (metrics.counter @"wraps" -1:i64)
        (metrics.increment_counter @"wraps")
        (metrics.counter @"requests_total" 3:i64)
        (metrics.counter @"none" 0:i64))""")
    assert values(lab) == {
        "hits_total": 2,
        "set_total": 43,
        "lower_total": 42,
        "large_total": float(2**64 - 1),
        "wraps_total": 0,
        "requests_total": 3,
        "none_total": 0,
    }
    assert {family.type for family in families(lab).values()} == {"counter"}


async def test_a_gauge_is_set_and_moved(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (metrics.gauge @"level" (f64.const 1.5))
        (metrics.increment_gauge @"level" (f64.const 0.25))
        (metrics.decrement_gauge @"level" (f64.const 2))
        (metrics.increment_gauge @"up" (f64.const 2))
        (metrics.decrement_gauge @"down" (f64.const 3))
        (metrics.gauge @"endless" (f64.const inf))
        (metrics.gauge @"not" (f64.const nan)))""")
    found = values(lab)
    assert math.isnan(found.pop("not"))
    assert found == {"level": -0.25, "up": 2, "down": -3, "endless": math.inf}
    assert {family.type for family in families(lab).values()} == {"gauge"}


async def test_a_histogram_counts_values_in_buckets(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (metrics.histogram @"time" (f64.const 0.3))
        (metrics.histogram @"time" (f64.const 0.5))
        (metrics.histogram @"time" (f64.const -1))
        (metrics.histogram @"time" (f64.const 1e300))
        (metrics.histogram @"time" (f64.const nan)))""")
    found = values(lab)
    assert found["time_bucket0.25"] == 1
    assert found["time_bucket0.5"] == 3  # a bound belongs to its bucket
    assert found["time_bucket5e+06"] == 3
    assert found["time_bucket+Inf"] == found["time_count"] == 4
    assert found["time_sum"] == 1e300
    assert len(found) == len(BUCKETS) + 3
    assert families(lab)["time"].type == "histogram"


def test_buckets_rise() -> None:
    assert list(BUCKETS) == sorted(set(BUCKETS))
    assert BUCKETS[0] == 0.0001


@pytest.mark.parametrize(
    ("name", "exposed"),
    [
        ("lunatic::metrics_example::counter", "lunatic::metrics_example::counter"),
        ("http.requests-per second", "http_requests_per_second"),
        ("größe", "gr__e"),
        ("2nd", "_2nd"),
        ("", "_"),
        ("a\nb\\", "a_b_"),
    ],
)
async def test_names_are_made_prometheus_names_and_kept_in_the_help(
    lab: Lab, name: str, exposed: str
) -> None:
    assert exposed_name(name) == exposed
    escaped = "".join(f"\\{byte:02x}" for byte in name.encode())
    await lab.passes(f'{START} (metrics.gauge @"{escaped}" (f64.const 1)))')
    [family] = families(lab).values()
    assert (family.name, family.documentation) == (exposed, name)


async def test_names_that_look_alike_stay_two_metrics(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (metrics.gauge @"a_b" (f64.const 1))
        (metrics.gauge @"a.b" (f64.const 2))
        (metrics.gauge @"a-b" (f64.const 3))
        (metrics.counter @"c_total" 4:i64)
        (metrics.counter @"c" 5:i64)
        (metrics.histogram @"h" (f64.const 1))
        (metrics.gauge @"h_count" (f64.const 6))
        (metrics.gauge @"a.b" (f64.const 7)))""")
    found = {family.documentation: family for family in families(lab).values()}
    want = {"a_b": 1, "a.b": 7, "a-b": 3, "c_total": 4, "c": 5, "h_count": 6}
    assert {name: found[name].samples[0].value for name in want} == want
    assert found["a_b"].name == "a_b"
    assert found["a.b"].name.startswith("a_b_")
    samples = [sample.name for family in found.values() if family.name != "h" for sample in family.samples]
    assert len(samples) == len(set(samples))
    assert "h_count" not in samples


async def test_a_name_keeps_its_first_kind(lab: Lab) -> None:
    with capture_logs() as logs:
        await lab.passes(f"""{START}
            (metrics.counter @"thing" 1:i64)
            (metrics.gauge @"thing" (f64.const 5))
            (metrics.increment_gauge @"thing" (f64.const 5))
            (metrics.decrement_gauge @"thing" (f64.const 5))
            (metrics.histogram @"thing" (f64.const 5))
            (metrics.increment_counter @"thing")
            (metrics.gauge @"other" (f64.const 5))
            (metrics.counter @"other" 7:i64)
            (metrics.increment_counter @"other"))""")
    assert values(lab) == {"thing_total": 2, "other": 5}
    assert [(log["metric"], log["why"]) for log in logs] == [
        ("thing", "it is a counter already, and no gauge"),
        ("other", "it is a gauge already, and no counter"),
    ]


async def test_metrics_outlive_processes_and_are_shared_by_them(lab: Lab) -> None:
    for _ in range(3):
        await lab.passes(f'{START} (metrics.increment_counter @"starts"))')
    assert values(lab) == {"starts_total": 3}


async def test_the_number_of_metrics_is_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_METRICS", 2)
    with capture_logs() as logs:
        await lab.passes(f"""{START}
            (metrics.increment_counter @"a") (metrics.increment_counter @"b")
            (metrics.increment_counter @"c") (metrics.increment_counter @"c")
            (metrics.increment_counter @"a"))""")
    assert values(lab) == {"a_total": 2, "b_total": 1}
    assert [log["metric"] for log in logs] == ["c"]


async def test_what_is_told_is_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_METRICS", 0)
    monkeypatch.setattr(metrics, "MAX_TOLD", 2)
    with capture_logs() as logs:
        calls = [f'(metrics.increment_counter @"{name}")' for name in "abcd"]
        await lab.passes(f"{START} {' '.join(calls)})")
    assert [log["metric"] for log in logs] == ["a", "b"]


async def test_names_of_the_node_are_not_for_guests(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (metrics.gauge @"luna_node_processes" (f64.const 5))
        (metrics.gauge @"luna.node.x" (f64.const 5))
        (metrics.gauge @"luna_nodes" (f64.const 5)))""")
    assert values(lab) == {"luna_nodes": 5}


async def test_a_name_that_is_too_long_is_left_out(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (metrics.counter @"{"x" * MAX_NAME_BYTES}" 1:i64)
        (metrics.counter @"{"y" * (MAX_NAME_BYTES + 1)}" 1:i64)
        (metrics.gauge 0:i32 65536:i32 (f64.const 1)))""")
    assert list(values(lab)) == ["x" * MAX_NAME_BYTES + "_total"]


CALLS = ("counter", "increment_counter", "gauge", "increment_gauge", "decrement_gauge", "histogram")


def call(name: str, text: str) -> str:
    value = {"counter": "1:i64", "increment_counter": ""}.get(name, "(f64.const 1)")
    return f"{START} (metrics.{name} {text} {value}))"


@pytest.mark.parametrize("name", CALLS)
async def test_bad_memory_traps(lab: Lab, name: str) -> None:
    bad: Iterable[str] = ("65530:i32 7:i32", "-1:i32 2:i32", "0:i32 -1:i32", "0:i32 65537:i32")
    for text in bad:
        reason = await lab.traps(call(name, text))
        assert f"lunatic::metrics::{name}: a pointer or length lies outside" in reason
    assert "not UTF-8" in await lab.traps(call(name, '@"\\ff"'))
    assert values(lab) == {}


async def test_labels_are_on_every_sample(lab: Lab) -> None:
    await lab.passes(f"""{START}
        (metrics.increment_counter @"c") (metrics.gauge @"g" (f64.const 1))
        (metrics.histogram @"h" (f64.const 1)))""")
    for family in families(lab, {"node": 'a"b', "cluster": "luna"}).values():
        for sample in family.samples:
            assert (sample.labels["node"], sample.labels["cluster"]) == ('a"b', "luna")

"""Discovery by multicast DNS: between processes, against hostile announcements, and without a network."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs
from zeroconf import InterfaceChoice, IPVersion, ServiceInfo, ServiceStateChange
from zeroconf.asyncio import AsyncZeroconf

from luna.cluster import _zeroconf
from luna.cluster._zeroconf import SERVICE_TYPE, ZeroconfDiscovery
from luna.cluster.discovery import MAX_TXT_BYTES
from luna.cluster.members import NodeInfo
from luna.proto.errors import InvalidError

from .check_discovery import FOUND_WITHIN_S, running

LOOPBACK = "127.0.0.1"


@pytest.fixture
def cluster() -> str:
    """A name that nobody else on this machine uses."""
    return f"test-{secrets.token_hex(8)}"


def txt_of(cluster: str, node_id: int, name: str = "n") -> dict[str | bytes, str | bytes | None]:
    return {"cluster": cluster, "name": name, "id": str(node_id), "api": "1"}


# --- Between processes ---

FINDER = """
import asyncio, sys
from luna.cluster._zeroconf import ZeroconfDiscovery
from luna.cluster.members import NodeInfo

async def main():
    found = asyncio.Event()
    def on_found(address, node_id, name, cluster):
        print(address, node_id, name, flush=True)
        found.set()
    node_id, name, cluster, address, seconds = sys.argv[1:]
    discovery = ZeroconfDiscovery(NodeInfo(int(node_id), name, cluster, address))
    task = asyncio.create_task(discovery.run(on_found))
    async with asyncio.timeout(float(seconds)):
        await found.wait()
    await asyncio.to_thread(sys.stdin.readline)  # goes on announcing until told to stop
    task.cancel()
    await asyncio.wait([task])

asyncio.run(main())
"""


def test_nodes_in_two_processes_on_loopback_find_each_other(cluster: str) -> None:
    nodes = [(21, "alpha", "127.0.0.1:4021"), (22, "beta", "127.0.0.1:4022")]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FINDER, str(node_id), name, cluster, address, str(FOUND_WITHIN_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for node_id, name, address in nodes
    ]
    try:
        lines = []
        for process in processes:
            assert process.stdout is not None
            lines.append(process.stdout.readline().strip())
        assert lines == ["127.0.0.1:4022 22 beta", "127.0.0.1:4021 21 alpha"]
        assert [process.communicate("\n", timeout=FOUND_WITHIN_S)[0] for process in processes] == ["", ""]
        assert [process.returncode for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


# --- Hostile announcements ---


@contextlib.asynccontextmanager
async def announcing(*services: ServiceInfo) -> AsyncIterator[None]:
    """Announce whatever one likes on the loopback interface."""
    zeroconf = AsyncZeroconf(interfaces=[LOOPBACK])
    try:
        for service in services:
            await zeroconf.async_register_service(service, cooperating_responders=True, strict=False)
        yield
    finally:
        await zeroconf.async_close()


def service(
    instance: str,
    properties: dict[str | bytes, str | bytes | None] | bytes,
    *,
    port: int = 4000,
    addresses: tuple[str, ...] = (LOOPBACK,),
) -> ServiceInfo:
    return ServiceInfo(
        SERVICE_TYPE,
        f"{instance}.{SERVICE_TYPE}",
        port=port,
        parsed_addresses=list(addresses),
        properties=properties,
        server=f"{instance}.local.",
    )


def test_hostile_announcements_are_ignored_and_an_honest_one_is_still_found(cluster: str) -> None:
    own = NodeInfo(31, "own", cluster, "127.0.0.1:4031")
    honest = NodeInfo(32, "honest", cluster, "127.0.0.1:4032")
    unique = secrets.token_hex(4)
    padding: dict[str | bytes, str | bytes | None] = {
        f"k{i}": "x" * 200 for i in range(MAX_TXT_BYTES // 200 + 1)
    }
    hostile = [
        service(f"a{unique}", b""),
        service(f"b{unique}", b"\xff" * 300),  # lengths that point beyond the end
        service(f"c{unique}", b"\x00" * 500),
        service(f"d{unique}", {"id": b"\xff\xfe", "name": b"\xff", "cluster": cluster}),
        service(f"e{unique}", {**txt_of(cluster, 33), "id": "9" * 100}),
        service(f"f{unique}", {**txt_of(cluster, 33), "name": "../../etc"}),
        service(f"g{unique}", {**txt_of(cluster, 33), **padding}),
        service(f"h{unique}", txt_of(cluster, 33), port=0),
        service(f"i{unique}", txt_of(cluster, own.id)),  # our own id, from somewhere else
        service(f"j{unique}", txt_of(cluster, 33), addresses=("203.0.113.7",)),  # not on loopback
        service(f"k{unique} with spaces and ü", {**txt_of(cluster, 33), "cluster": None}),
    ]

    async def main() -> None:
        async with announcing(*hostile), running(ZeroconfDiscovery(own)) as finder:
            async with running(ZeroconfDiscovery(honest)):
                await finder.wait_found(honest)
            assert {found[1] for found in finder.found} == {honest.id}
            # The same announcer, well-formed, is found: it was the content that was refused.
            good = NodeInfo(34, "n", cluster, "127.0.0.1:4000")
            async with announcing(service(f"z{unique}", txt_of(cluster, 34))):
                await finder.wait_found(good)

    asyncio.run(main())


def test_what_is_remembered_is_bounded(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_zeroconf, "MAX_SERVICES", 3)
    own = NodeInfo(41, "own", cluster, "127.0.0.1:4041")
    nodes = [NodeInfo(50 + i, "n", cluster, f"127.0.0.1:{4100 + i}") for i in range(8)]
    services = [
        service(f"{cluster}-{node.id}", txt_of(cluster, node.id), port=4100 + i)
        for i, node in enumerate(nodes)
    ]

    async def main() -> None:
        discovery = ZeroconfDiscovery(own)
        async with running(discovery) as finder, announcing(*services):
            await finder.wait_found(*nodes)
            assert len(discovery._found) == 3

    asyncio.run(main())


def test_services_that_never_answer_do_not_pile_up(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_zeroconf, "MAX_PENDING", 4)
    discovery = ZeroconfDiscovery(NodeInfo(61, "own", cluster, "127.0.0.1:4061"))

    async def main() -> None:
        zeroconf = AsyncZeroconf(interfaces=[LOOPBACK])
        try:
            for i in range(20):
                discovery._on_change(
                    zeroconf.zeroconf,
                    SERVICE_TYPE,
                    f"silent-{cluster}-{i}.{SERVICE_TYPE}",
                    ServiceStateChange.Added,
                )
        finally:
            await zeroconf.async_close()

    with capture_logs() as logs:
        asyncio.run(main())
    assert discovery._pending.qsize() == 4
    assert [entry["log_level"] for entry in logs] == ["warning"], "told once"


# --- Where it announces ---


@pytest.mark.parametrize("address", ["0.0.0.0:4000", "[::]:4000"])
def test_a_wildcard_address_cannot_be_announced(address: str) -> None:
    with pytest.raises(InvalidError):
        ZeroconfDiscovery(NodeInfo(1, "own", "c", address))


@pytest.mark.parametrize(
    ("host", "interfaces", "expected"),
    [
        ("127.0.0.1", None, {"interfaces": ["127.0.0.1"]}),
        ("::1", None, {"interfaces": ["::1"]}),
        ("10.0.0.1", None, {"interfaces": InterfaceChoice.All, "ip_version": IPVersion.V4Only}),
        ("2001:db8::1", None, {"interfaces": InterfaceChoice.All, "ip_version": IPVersion.All}),
        ("10.0.0.1", ["10.0.0.1"], {"interfaces": ["10.0.0.1"]}),
    ],
)
def test_a_node_on_loopback_stays_on_the_loopback_interface(
    host: str, interfaces: list[str] | None, expected: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[dict[str, object]] = []

    def record(**options: object) -> None:
        opened.append(options)

    monkeypatch.setattr(_zeroconf, "AsyncZeroconf", record)
    ZeroconfDiscovery(NodeInfo(1, "own", "c", "127.0.0.1:4000"), interfaces)._open(host)
    assert opened == [expected]


def test_a_host_name_of_loopback_is_announced_as_its_address(cluster: str) -> None:
    named = NodeInfo(71, "named", cluster, "localhost:4071")
    other = NodeInfo(72, "other", cluster, "127.0.0.1:4072")

    async def main() -> None:
        async with running(ZeroconfDiscovery(named)), running(ZeroconfDiscovery(other)) as finder:
            await finder.wait_found(NodeInfo(71, "named", cluster, "127.0.0.1:4071"))

    asyncio.run(main())


# --- No multicast ---


@pytest.mark.parametrize("error", [OSError(19, "No such device"), RuntimeError("No interfaces to listen on")])
def test_without_multicast_there_is_one_warning_and_more_tries(
    error: Exception, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = asyncio.Event()
    count = 0

    def fail(**options: object) -> None:
        nonlocal count
        count += 1
        if count == 3:
            tries.set()
        raise error

    monkeypatch.setattr(_zeroconf, "RETRY_S", 0.0)

    async def main() -> None:
        discovery = ZeroconfDiscovery(NodeInfo(81, "own", cluster, "127.0.0.1:4081"))
        monkeypatch.setattr(_zeroconf, "AsyncZeroconf", fail)
        async with running(discovery) as finder:
            await asyncio.wait_for(tries.wait(), FOUND_WITHIN_S)
            assert finder.found == []

    with capture_logs() as logs:
        asyncio.run(main())
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert "--join" in logs[0]["event"]


def test_a_network_that_appears_later_is_used(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [OSError(101, "Network is unreachable")]

    def fail_once(interfaces: list[str]) -> AsyncZeroconf:
        if failures:
            raise failures.pop()
        return AsyncZeroconf(interfaces=interfaces)

    monkeypatch.setattr(_zeroconf, "RETRY_S", 0.0)
    monkeypatch.setattr(_zeroconf, "AsyncZeroconf", fail_once)
    alpha = NodeInfo(91, "alpha", cluster, "127.0.0.1:4091")
    beta = NodeInfo(92, "beta", cluster, "127.0.0.1:4092")

    async def main() -> None:
        async with running(ZeroconfDiscovery(alpha)) as by_alpha, running(ZeroconfDiscovery(beta)):
            await by_alpha.wait_found(beta)

    asyncio.run(main())
    assert failures == []

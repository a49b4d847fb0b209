"""Discovery over multicast DNS: the service type `_luna._tcp.local.` and its TXT record.

Owns the zeroconf objects and the bounds on what the network may make us remember or do. Runs in an
asyncio event loop, which is where zeroconf lives; never touches membership.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Sequence

import structlog
from zeroconf import Error as ZeroconfError
from zeroconf import InterfaceChoice, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from luna.cluster.discovery import (
    MAX_SERVICES,
    MAX_TXT_BYTES,
    FoundNode,
    OnFound,
    announcement,
    parse_announcement,
)
from luna.cluster.members import NodeInfo, split_address
from luna.proto.errors import InvalidError
from luna.proto.version import PROTOCOL_MAX

SERVICE_TYPE = "_luna._tcp.local."

RETRY_S = 30.0
"""seconds until multicast is tried again where it did not work: a laptop that finds its network."""

MAX_PENDING = 256
"""services waiting to be resolved because their announcement came in parts; further ones are dropped."""

RESOLVERS = 4
"""services resolved at the same time: each sends a few queries, and waits for one that never answers."""

RESOLVE_TIMEOUT_S = 3.0
"""seconds for one service to answer with its address and TXT; zeroconf's own default."""

MAX_INSTANCE_NAME_LENGTH = 55
"""characters of the node name in the instance name: with a dash and 7 digits a DNS label of 63."""

_log = structlog.get_logger(__name__)


class ZeroconfDiscovery:
    """`Discovery` for one node on the local network, or on one machine's loopback interface."""

    def __init__(self, own: NodeInfo, interfaces: Sequence[str] | None = None) -> None:
        """Announce `own` at its address, which peers must be able to dial (not 0.0.0.0).

        `interfaces` (IP addresses of this machine) restricts where; by default the loopback interface
        alone for a node that listens there, whatever it is called, and all interfaces for any other.
        Raises InvalidError if the address cannot be dialled.
        """
        host, self._port = split_address(own.address)
        if host in ("0.0.0.0", "::"):
            raise InvalidError(
                f"{own.address} cannot be announced",
                hint="announce an address of this machine, not a wildcard",
            )
        self._own = own
        self._host = host
        self._interfaces = list(interfaces) if interfaces else None
        self._found: OrderedDict[str, FoundNode] = OrderedDict()
        self._pending: asyncio.Queue[str] = asyncio.Queue(MAX_PENDING)
        self._dropped = False
        self._loopback = False
        self._on_found: OnFound | None = None

    async def run(self, on_found: OnFound) -> None:
        """See `Discovery.run`. Where multicast does not work: one warning, and a try from time to time."""
        self._on_found = on_found
        warned = False
        while True:
            try:
                address = await self._resolve_own_host()
                zeroconf = self._open(address)
            except (OSError, RuntimeError, ZeroconfError) as error:
                if not warned:
                    _log.warning(
                        "nodes are not discovered: multicast DNS does not work here; use --join",
                        error=str(error),
                        retry_s=RETRY_S,
                    )
                    warned = True
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await self._serve(zeroconf, address)
            except (OSError, ZeroconfError) as error:
                _log.warning("discovery stopped and starts again", error=str(error), retry_s=RETRY_S)
            finally:
                await zeroconf.async_close()  # says goodbye for the registered service
            await asyncio.sleep(RETRY_S)

    async def _resolve_own_host(self) -> str:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        return str(found[0][4][0])

    def _open(self, address: str) -> AsyncZeroconf:
        ip = ipaddress.ip_address(address)
        self._loopback = ip.is_loopback
        interfaces = self._interfaces or ([address] if ip.is_loopback else None)
        if interfaces is not None:
            return AsyncZeroconf(interfaces=interfaces)
        version = IPVersion.V4Only if ip.version == 4 else IPVersion.All
        return AsyncZeroconf(interfaces=InterfaceChoice.All, ip_version=version)

    async def _serve(self, zeroconf: AsyncZeroconf, address: str) -> None:
        await zeroconf.zeroconf.async_wait_for_start()
        instance = f"{self._own.name[:MAX_INSTANCE_NAME_LENGTH]}-{self._own.id}"
        info = AsyncServiceInfo(
            SERVICE_TYPE,
            f"{instance}.{SERVICE_TYPE}",
            port=self._port,
            parsed_addresses=[address],
            properties=announcement(self._own.id, self._own.name, self._own.cluster, PROTOCOL_MAX),
            server=f"luna-{self._own.id}.local.",  # nodes of one machine may differ in address
        )
        browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._on_change])
        try:
            # Probing for the uniqueness of the name would take 0.7 s; the node id in it does that.
            await (await zeroconf.async_register_service(info, cooperating_responders=True))
            async with asyncio.TaskGroup() as tasks:
                for number in range(RESOLVERS):
                    resolver = self._resolve_pending(zeroconf.zeroconf)
                    tasks.create_task(resolver, name=f"luna discovery resolver {number}")
        finally:
            await browser.async_cancel()

    def _on_change(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        """Called by the browser, in the event loop's thread."""
        if state_change is ServiceStateChange.Removed:
            self._found.pop(name, None)
            return
        try:
            info = AsyncServiceInfo(service_type, name)
        except ZeroconfError:
            return  # not a name of our type
        if info.load_from_cache(zeroconf):  # announcements carry everything in one packet, usually
            self._report(info)
            return
        try:
            self._pending.put_nowait(name)
        except asyncio.QueueFull:
            if not self._dropped:
                self._dropped = True
                _log.warning("too many services announced at once; some are not looked at", limit=MAX_PENDING)

    async def _resolve_pending(self, zeroconf: Zeroconf) -> None:
        while True:
            info = AsyncServiceInfo(SERVICE_TYPE, await self._pending.get())
            if await info.async_request(zeroconf, RESOLVE_TIMEOUT_S * 1000):
                self._report(info)

    def _report(self, info: AsyncServiceInfo) -> None:
        """Tell of the service `info` if it is a node of our cluster, new or with a new address."""
        found = self._read(info)
        if found is None or found.cluster != self._own.cluster or found.node_id == self._own.id:
            return
        known = self._found.get(info.name)
        self._found[info.name] = found
        self._found.move_to_end(info.name)
        if len(self._found) > MAX_SERVICES:
            self._found.popitem(last=False)
        if found != known:
            assert self._on_found is not None, "run sets it before the browser starts"
            self._on_found(found.address, found.node_id, found.name, found.cluster)

    def _read(self, info: AsyncServiceInfo) -> FoundNode | None:
        hosts = info.parsed_scoped_addresses()
        if self._loopback:
            # The socket hears other interfaces too: Linux delivers every multicast group that anyone on the
            # machine joined. A node on loopback cannot be reached from there, and should not dial there.
            hosts = [host for host in hosts if ipaddress.ip_address(host).is_loopback]
        if not hosts or len(info.text or b"") > MAX_TXT_BYTES:
            return None
        try:
            return parse_announcement(info.properties, hosts[0], info.port or 0)
        except InvalidError as error:
            _log.debug("a malformed announcement was ignored", service=info.name[:255], error=error.message)
            return None

"""Services whose libraries are loaded when a guest first uses them.

Some take longer to load than most programs run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Final, Protocol, final

import trio

from luna.scheduler.hostcalls import HOST_CALLS, HostCall
from luna.scheduler.requests import Answer, Handler, Request
from luna.scheduler.services.background import Background
from luna.scheduler.services.dns import Resolver

__all__ = ["LateService", "Service", "certificates", "databases", "tls"]


class Service(Protocol):
    """What answers some host calls."""

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve them."""


@final
class LateService:
    """Stands in for a service until it is used."""

    def __init__(self, load: Callable[[], Service], answers: Callable[[HostCall], bool]) -> None:
        """`load()` imports what makes the service and makes it, in a worker thread.

        It answers the host calls for which `answers` is true.
        """
        self._load: Final = load
        self._calls: Final = [(row.namespace, row.name) for row in HOST_CALLS if answers(row)]
        self._loading = trio.Lock()
        self._handlers: dict[tuple[str, str], Handler] = {}

    def install(self, set_handler: Callable[..., None]) -> None:
        """Serve these host calls, by loading what does."""

        def keep(namespace: str, name: str, handler: Handler) -> None:
            self._handlers[namespace, name] = handler
            set_handler(namespace, name, handler)

        async def first(request: Request) -> Answer:
            async with self._loading:
                if not self._handlers:
                    (await trio.to_thread.run_sync(self._load)).install(keep)
            answer = self._handlers[request.namespace, request.name](request)
            return await answer if inspect.isawaitable(answer) else answer

        for namespace, name in self._calls:
            set_handler(namespace, name, first)


def certificates() -> LateService:
    """`services.certificates`, which needs `cryptography`."""

    def load() -> Service:
        from luna.scheduler.services.certificates import CertificateHandlers

        return CertificateHandlers()

    names = ("test_root_cert", "default_server_certificates", "sign_node")
    return LateService(load, lambda row: row.namespace == "lunatic::distributed" and row.name in names)


def databases() -> LateService:
    """`services.sqlite`, which needs `apsw`."""

    def load() -> Service:
        from luna.scheduler.services.sqlite import SqliteHandlers

        return SqliteHandlers()

    return LateService(load, lambda row: row.namespace == "lunatic::sqlite")


def tls(resolver: Resolver, background: Background) -> LateService:
    """`services.tls`, which needs `cryptography`."""

    def load() -> Service:
        from luna.scheduler.services.tls import TlsHandlers

        return TlsHandlers(resolver, background)

    return LateService(load, lambda row: "tls" in row.name)

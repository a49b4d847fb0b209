"""Modules that came in messages from other nodes: they are fetched when a guest takes them.

Owns the part of `lunatic::message::take_module` that the core leaves to Python: modules that are not in
memory. Lives on trio. Fetching is the library's.
"""

from __future__ import annotations

from luna.cluster.membership import Membership
from luna.node.library import Library
from luna.proto.errors import LunaError
from luna.proto.ids import node_of
from luna.scheduler.requests import FoundModule, GuestTrap, Request
from luna.scheduler.runtime import Runtime


class MessageModules:
    """Modules in messages, for the guests of one node."""

    def __init__(self, runtime: Runtime, library: Library, membership: Membership) -> None:
        self._runtime = runtime
        self._library = library
        self._membership = membership

    def register(self) -> None:
        """Handle the guest's call from now on."""
        self._runtime.set_handler("lunatic::message", "take_module", self._on_take)

    async def _on_take(self, request: Request) -> FoundModule:
        """The guest waits; who sent the message is asked first. What cannot be had stays in the message."""
        found = request.native.message_module(int(request.args[0]))
        if found is None:
            raise GuestTrap(f"{request.full_name}: the message has no module at that index")
        sha256, sender = found
        member = self._membership.get(node_of(sender))
        try:
            return FoundModule(await self._library.obtain(sha256, member.node.address if member else None))
        except LunaError as error:
            raise GuestTrap(
                f"{request.full_name}: module {sha256.hex()[:12]} cannot be had: {error.message}"
            ) from None

"""Whether anybody listens at an address: a plain TCP connection, opened and closed.

Owns that one question. Lives in the asyncio thread; what the answer means for a peer is the business of
`keeping`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from luna.cluster.members import split_address

PROBE_TIMEOUT_S = 0.25
"""seconds for resolving an address and connecting to it. A refusal comes within a round trip, and one round
the world takes about this long; where nothing comes back, waiting longer proves nothing either."""


async def nobody_listens(address: str) -> bool:
    """Whether the operating system at `address` (HOST:PORT) refuses connections, on every address of HOST.

    That alone proves that the server is gone: the kernel refuses for a process that has ended, not for one
    that hangs. Whatever else happens (an answer, silence, no route, no such host) is False. Takes
    PROBE_TIMEOUT_S at most. Raises InvalidError for a malformed address.
    """
    host, port = split_address(address)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError, UnicodeError):  # TimeoutError is an OSError
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            for family, kind, protocol, _, where in found:
                with socket.socket(family, kind, protocol) as probe:
                    probe.setblocking(False)
                    try:
                        await loop.sock_connect(probe, where)
                    except ConnectionRefusedError:
                        continue
                    return False
            return bool(found)
    return False

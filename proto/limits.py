"""Every limit that more than one part of Luna knows, with its unit and its reason.

Limits of one module alone stand in that module; those of the native core in `scheduler/_limits.pxd`.
Numbers only: this module imports nothing and decides nothing.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

# --- Frames between nodes ---------------------------------------------------------------------

MAX_FRAME_BYTES = 64 * MIB
"""bytes; the gRPC receive limit of the peer stream, and so the bound of one message between processes of
two nodes. A frame is in memory two or three times while it is decoded: one peer costs at most ~200 MiB."""

TARGET_FRAME_BYTES = 256 * KIB
"""bytes; a sender closes a frame here. Thousands of small messages, so the cost per frame is spread
thin, yet a small signal behind a full frame waits about 2 ms at 1 Gbit/s."""

MAX_CONTROL_MESSAGE_BYTES = 4 * MIB
"""bytes; the receive limit of Meet and of the control service, gRPC's own default. Module bytes and
logs come in chunks; 4096 members with ordinary labels are about 1 MiB."""

# --- Modules ----------------------------------------------------------------------------------

MAX_MODULE_BYTES = 256 * MIB
"""bytes of wasm; the largest modules seen in practice are under 100 MiB, and a module is held whole
in memory while it is hashed and compiled."""

MODULE_CHUNK_BYTES = 256 * KIB
"""bytes; one ModuleChunk or upload message. Large enough for full throughput, far below gRPC's
4 MiB default, small enough that bulk delays nothing on the same connection."""

SHA256_BYTES = 32
"""bytes; the only accepted length of a module hash."""

# --- Output of guests -------------------------------------------------------------------------

LOG_BUFFER_BYTES = 256 * KIB
"""bytes per process, both streams together; when full the oldest output is dropped and counted.
Some thousand lines, which is what a person reads after a crash."""

DEAD_LOGS_KEPT = 256
"""processes; how many ended processes that wrote something stay readable, oldest forgotten first.
With full buffers 64 MiB."""

# --- What a node may be started with ----------------------------------------------------------

MAX_THREADS = 256
"""scheduler threads of one node: more cores than its shared locks were made for would only contend, and two
nodes on one machine are the better use of them."""

PROCESSES_CEILING = 4_000_000
"""processes that `--max-processes` can ask for, what the native core takes (PROCESSES_MAX): some 12 KiB each,
so 50 GB."""

# --- Spawn requests ---------------------------------------------------------------------------

MAX_ENTRY_BYTES = 4 * KIB
"""bytes of UTF-8; name of an entry function. Mangled Rust names stay far below."""

MAX_PARAMS = 128
"""parameters of an entry function: what the native core takes (ENTRY_PARAMS_MAX), so that nothing is sent
to a node that would refuse it; the engine itself takes up to 1000."""

MAX_NAMESPACES = 64
"""prefixes of host calls in one config; each is compared with the name of every host call."""
MAX_ARGUMENTS = 4096
"""program arguments and, separately, environment variables of a process."""

MAX_ARGUMENT_BYTES = 128 * KIB
"""bytes of one argument or environment variable: what Linux allows for one (MAX_ARG_STRLEN)."""

MAX_ARGUMENTS_BYTES = 2 * MIB
"""bytes of all arguments, or all environment variables, together: ARG_MAX of Linux."""

MAX_PREOPENS = 64
"""directories given to one process; each costs a file descriptor as long as it lives."""

# --- Membership -------------------------------------------------------------------------------

MAX_NAME_LENGTH = 63
"""characters of a node or cluster name: a DNS label."""

MAX_LABELS = 32
"""labels of one node."""

MAX_LABEL_KEY_LENGTH = 63
"""characters of a label's key, as of names."""

MAX_LABEL_VALUE_LENGTH = 255
"""characters of a label's value; with MAX_LABELS a member stays under ~40 KiB in the worst encoding."""

MAX_ADDRESS_LENGTH = 262
"""characters of `HOST:PORT`: a DNS name has at most 253, brackets of IPv6 2, colon and port 6,
rounded up by one."""

MAX_MEMBERS = 4096
"""live members in a table; later ones are refused. Every member knows every other, which larger
clusters would want otherwise; it bounds the memory a hostile peer can make us use."""

MAX_DEPARTED = 1024
"""dead and left members remembered, oldest forgotten first. They must outlive every rumour that the
node is alive, which spread for seconds, not for a thousand further deaths."""

MAX_GOSSIP_MEMBERS = 64
"""members in one Gossip envelope: a full one stays below a frame even with every label at its limit
(64 x ~40 KiB), and usually is some 10 KiB."""

MAX_DETAIL_LENGTH = 1024
"""characters of text for people from a peer (Hello.detail, Goodbye.reason) that are kept and shown."""

# --- Names of processes -----------------------------------------------------------------------

MAX_PROCESS_NAME_BYTES = 4096
"""bytes of one name, as UTF-8: what the native core takes (NAME_BYTES_MAX)."""

MAX_NODE_NAMES = 1_000_000
"""names that the processes of one node have in all environments together, once it has peers: some 500 bytes
each there, and as much on their homes. Without peers it is the limit of each environment (NAMES_MAX)."""

MAX_NODE_NAMES_BYTES = 128 * MIB
"""bytes of these names together (ALL_NAMES_BYTES_MAX for each environment without peers)."""

MAX_NAME_REQUESTS = 65_536
"""requests about names that one node has under way at others: one for each process that waits for an answer.
Beyond, the host call traps."""

MAX_NAME_SIGNALS = 1024
"""signals in one Names envelope: some 10 ms of work for the receiver, which does nothing else meanwhile."""

NAMES_ENVELOPE_BYTES = 256 * KIB
"""bytes of signals from which the next Names envelope begins: a frame's worth."""

# --- Time -------------------------------------------------------------------------------------

FROZEN_PEER_TIMEOUT_S = 5.0
"""seconds until a peer that answers nothing (frozen, unplugged) is declared dead, if `--node-timeout` says
nothing else. Erlang's default needs 45 to 75; below some seconds a loaded machine or a paused virtual one is
taken for dead. `luna.cluster.keeping.Timings` derives pings and patience from it."""

MIN_NODE_TIMEOUT_S = 1.0
"""seconds that `--node-timeout` may be set to at least: pings every 0.3 s, answers within 0.4 s."""

MAX_NODE_TIMEOUT_S = 3600.0
"""seconds that it may be set to at most; whoever wants to wait for longer wants no verdicts."""

CONNECT_TIMEOUT_S = 3.0
"""seconds for a first connection and the exchange of Hello with an address from outside."""

STOP_TIMEOUT_S = 5.0
"""seconds a node takes to stop at most: peers told, guests killed, servers closed."""

# --- Process groups ---------------------------------------------------------------------------

MAX_GROUP_NAME_BYTES = 255
"""bytes of UTF-8; every node keeps every name that has a member anywhere."""

MAX_GROUPS = 65_536
"""groups of one environment that have members on one node. Those who make one for each user, say, of a node
have fewer processes to put in them."""

MAX_GROUPS_OF_PROCESS = 1024
"""groups that one process is a member of; all are told of its death at once."""

MAX_MEMBERSHIPS = 250_000
"""memberships of all processes of one node. Every other node keeps them, at some 200 bytes each: 50 MB."""

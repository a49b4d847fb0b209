# Limits of the native core, each with its unit and its reason.

cdef enum:
    # bytes; what wasm may use of a fiber. The 512 KiB of wasmtime's default,
    # which programs written for Lunatic were run with.
    WASM_STACK_BYTES = 512 * 1024
    # bytes; one fiber. The rest above is room for host functions: a slab stack
    # has no guard page, and WASI calls and trap reports run on it. Virtual
    # memory only: a parked process has touched one or two pages of it.
    FIBER_STACK_BYTES = 768 * 1024
    # stacks in one mapping of the slab: 768 MiB of address space
    SLAB_STACKS = 1024
    # stacks kept with their pages after use; others give their pages back
    WARM_STACKS = 512

    # bytes of the smallest slot for a linear memory: one wasm page
    SLOT_MIN = 64 * 1024
    # sizes of slots, each twice the one before: up to 1 MiB
    SLOT_CLASSES = 5
    # bytes of one mapping that slots are cut from
    MEMORY_SLAB_BYTES = 1024 * 1024 * 1024
    # bytes up to which clearing a slot is cheaper than having the kernel do it
    CLEARED_SLOT_MAX = 128 * 1024
    # cleared slots kept of one size: at most 32 MiB of 64 KiB slots
    WARM_MEMORIES = 512

    # processes; more would need more memory mappings and ids than were measured
    PROCESSES_MAX = 4_000_000
    # bytes of messages waiting in one mailbox before its owner is killed: a
    # process that never receives must not take the node's memory with it
    MAILBOX_BYTES_MAX = 1024 * 1024 * 1024
    # messages in a mailbox from which on a sender gives up its time slice, so
    # that a flooded receiver on the same node gets to run
    MAILBOX_CROWDED = 8192
    # bytes of one message
    MESSAGE_BYTES_MAX = 256 * 1024 * 1024
    # bytes of one message to all members of a group, each of whom gets a copy
    BROADCAST_BYTES_MAX = 16 * 1024 * 1024
    # copies, and bytes in them, made in one turn of the process that broadcasts:
    # some hundred microseconds, after which others run
    BROADCAST_TURN = 1024
    BROADCAST_TURN_BYTES = 1024 * 1024
    # bytes reserved ahead on a guest's word alone (its capacity hint)
    CAPACITY_HINT_MAX = 64 * 1024
    # bytes stored inside a message without a second allocation
    MESSAGE_INLINE_BYTES = 64
    # resources in one message
    MESSAGE_RESOURCES_MAX = 4096
    # modules in one message to another node, each a hash of 32 bytes ahead of its
    # data; all of them are written on a thread's stack
    REMOTE_MODULES_MAX = 64
    # bytes of the words that a notice of a death has for why: their first line. A
    # server may lose a hundred thousand processes a second, and each tells all who
    # watch it
    EXIT_TEXT_BYTES = 256
    # tags one receive may wait for
    RECEIVE_TAGS_MAX = 65536
    # wasm parameters of an entry function
    ENTRY_PARAMS_MAX = 128
    # bytes of an entry function's name
    ENTRY_NAME_MAX = 4096
    # calls into the guest from its own host calls, one within the other: those of
    # lunatic::trap::catch and of lunatic_alloc; each holds a fiber of its own
    NESTED_CALLS_MAX = 64
    # names in one environment: a guest that registers without end must not take
    # the node's memory
    NAMES_MAX = 1_000_000
    # bytes of one name; guest libraries make them of type names. MAX_NAME_BYTES
    # of luna.scheduler.registry
    NAME_BYTES_MAX = 4096
    # bytes of all names in one environment together, for the same reason
    ALL_NAMES_BYTES_MAX = 128 * 1024 * 1024
    # entries of each resource table of a process: configs, modules, timers, errors
    RESOURCES_MAX = 1_000_000
    # ways one module is kept linked for, that is: sets of host calls its
    # processes may not make; more at a time cost linking again and again
    CODES_MAX = 64
    # prefixes of host calls in one config; MAX_NAMESPACES of luna.proto.limits
    NAMESPACES_MAX = 64
    # instances in one store: the guest and, once it uses files, what passes its
    # WASI calls on
    INSTANCES_MAX = 2
    # elements of a wasm table, as in Lunatic
    TABLE_ELEMENTS_MAX = 100_000
    # bytes the host keeps for one process in configs, errors and timers' messages
    HOST_BYTES_MAX = 256 * 1024 * 1024
    # entries of each list of a config, and bytes of its texts; each entry counts
    # CONFIG_ENTRY_BYTES more, for what keeping it costs
    CONFIG_ENTRIES_MAX = 4096
    CONFIG_BYTES_MAX = 2 * 1024 * 1024
    CONFIG_ENTRY_BYTES = 64
    # bytes of one text, and directories, in a config that a peer sends;
    # MAX_ARGUMENT_BYTES and MAX_PREOPENS of luna.proto.limits
    CONFIG_TEXT_MAX = 128 * 1024
    PREOPENS_MAX = 64
    # bytes kept of what one process wrote; LOG_BUFFER_BYTES of luna.proto.limits
    OUTPUT_BYTES_MAX = 256 * 1024
    # bytes taken of one write; the guest writes the rest again
    OUTPUT_RECORD_BYTES = 32 * 1024
    # bytes a follower may lag before writers wait, and at which they go on; with
    # one more record they fit the half of the log that is kept when it is full
    OUTPUT_CROWDED_BYTES = 64 * 1024
    OUTPUT_RELEASE_BYTES = 32 * 1024
    # bytes of an error or exit text
    TEXT_MAX = 4096
    # bytes of a wasm backtrace, besides: its 20 frames may have Rust names of some hundred bytes each
    BACKTRACE_BYTES_MAX = 8192
    # failed processes told in full in each FAILURES_NS, others are counted: enough
    # to see what goes wrong, and a log that grows by no more than 120 KiB a second
    FAILURES_LOGGED = 10
    # nanoseconds in which FAILURES_LOGGED failures are told in full
    FAILURES_NS = 1_000_000_000
    # bytes of what a line of the trace says: with its head, and twice as long as
    # JSON, it is less than the 4096 bytes that a pipe takes undivided
    TRACE_LINE_BYTES = 1536
    # bytes shown of one text that a guest passes
    TRACE_TEXT_BYTES = 96
    # milliseconds a line of the trace waits for a reader of stderr that lags
    TRACE_PATIENCE_MS = 1000

    # places of the table of peers, 8 KiB: a node remembers each that it ever had a session
    # with, also each start of it, and is to find one among ten thousand as soon as among ten
    PEER_PLACES = 1024
    # bytes queued for one peer in the lane of links, monitors, kills and questions,
    # some 20 000 of them: a process that sends more keeps it, and waits. Notices of
    # deaths always go: one of some 300 bytes at most for each link and monitor across
    PEER_CONTROL_BYTES = 1024 * 1024
    # the same of messages up to BULK_BYTES: what a link of 1 Gbit/s carries in 70 ms
    PEER_DATA_BYTES = 8 * 1024 * 1024
    # the same of larger ones; one that is larger than this is queued alone, so that
    # no more than PEER_DATA_BYTES, PEER_CONTROL_BYTES, and this or one message are
    # queued of what processes send
    PEER_BULK_BYTES = 8 * 1024 * 1024
    # processes go on when a lane is below its mark divided by this: waking them
    # costs more than the queue that is left takes to empty
    PEER_ROOM_SHARE = 4
    # bytes in a lane beyond its mark at which a peer is given up that goes on asking
    # and does not take the answers
    PEER_ANSWERS_BYTES = 64 * 1024 * 1024
    # bytes of a message above which it is bulk: it may be cut into pieces, and others overtake it
    BULK_BYTES = 32 * 1024
    # part of a frame, as a divisor, that bulk has when there is other traffic: it goes on, at a quarter
    BULK_SHARE = 4
    # bytes of messages that one process holds for peers without room before its next send
    # traps: it waits as soon as it calls or loops, so only code that does neither gets there
    HELD_BYTES_MAX = 256 * 1024 * 1024
    # places of the table in which a lane has where pairs of processes have their last
    # envelope, 32 KiB: pairs that share one wait for each other
    LANE_PLACES = 4096
    # bytes of an empty lane's buffer that are kept for what comes next
    LANE_KEPT_BYTES = 2 * 1024 * 1024
    # spawns of one peer in flight, each way; further ones are refused. Thirty
    # milliseconds' worth at full rate, and few enough that a peer that stops
    # answering holds little memory. MAX_PENDING_SPAWNS of luna.node.remote_spawn
    PENDING_SPAWNS_MAX = 1024
    # bytes of a spawn up to which it is sent whatever is queued for the peer;
    # larger ones, for their config, are refused while senders are suspended
    SPAWN_SMALL_BYTES = 16 * 1024
    # milliseconds for a spawn on another node, its module shipped and compiled;
    # a peer that is gone fails it much earlier. SPAWN_TIMEOUT_S there
    SPAWN_TIMEOUT_MS = 60_000
    # bytes of the text that says why a spawn for a peer failed
    SPAWN_ERROR_BYTES = 1024
    # milliseconds of a wait or a timer; longer ones count as that. It is 278
    # years: nanoseconds from now on are still an int64_t
    MILLISECONDS_MAX = 8_796_093_022_207
    # buffers of one write to a standard stream; the guest writes the rest again
    VECTORS_MAX = 1024
    # poll_oneoff subscriptions of one call
    POLL_SUBSCRIPTIONS_MAX = 1024

    # nanoseconds the end of a scheduler thread is waited for; one in a blocking
    # system call, as a guest that reads a named pipe, would be waited for without end
    STOP_PATIENCE_NS = 2_000_000_000
    # nanoseconds between epochs: the time slice of a process. Erlang's slices
    # are of this size; shorter ones cost yields, longer ones latency.
    EPOCH_NS = 1_000_000
    # epochs woken processes may keep preempted ones from running
    STARVATION_EPOCHS = 2
    # picks between two looks at the shared queue; it is looked at each epoch too
    INJECTOR_INTERVAL = 61
    # processes moved from the shared queue at once
    INJECTOR_BATCH = 64
    # woken processes from which on a sleeping thread is woken to share them
    WOKEN_WORTH_A_THREAD = 2
    # picks in a row of the process woken last before others woken get a turn
    NEXT_STREAK = 16
    # envelopes for Python in one frame: more than fit the 256 KiB at which a correct
    # node closes one; each becomes an object
    PYTHON_ENVELOPES_MAX = 131_072
    # bytes of a frame from another node up to which the thread that brings it runs
    # what it wakes: larger ones are traffic, which two threads share better
    BORROW_FRAME_BYTES = 4096
    # turns of processes that it runs then, each of a time slice at most: a question
    # and what it sets off, while other traffic waits
    BORROWED_TURNS = 8
    # bytes of memory of a process that it runs at most: giving back gigabytes takes
    # long, and so may one instruction on them
    BORROWED_MEMORY_BYTES = 16 * 1024 * 1024
    # nanoseconds from which on that was long, for a guest that answers, and how
    # many times as long the thread then leaves the work to others: with guests that
    # compute it spends a ninth of its time so
    BORROWED_LONG_NS = 100_000
    BORROW_REST = 8
    # timers fired before the clock's lock is let go
    TIMERS_AT_ONCE = 256
    # nanoseconds a thread without work looks for some before it sleeps: waking a
    # sleeping thread costs both sides more than this
    SPIN_NS = 20_000

"""Spawning on other nodes: a child is born there with its link and its monitor.

The parent's side asks and waits; the child's side makes the process. Before it
runs, the child knows its parent as one it is linked to or watched by, and
queues the answer; the parent knows the child from the answer on. Control
signals of a pair of nodes keep their order, so that no death overtakes it.

If the parent is dead when the answer comes, the child is told, and dies if it
is linked. If the parent has given up meanwhile, the child is killed. If the
pair's session ends in between, the parent gets an error, and the child, which
nobody knows, dies.
"""

from libc.stdio cimport snprintf
from libc.stdlib cimport calloc
from libc.string cimport memchr, memcmp, strlen

from luna.scheduler._code cimport find_module, module_id_of, release_module
from luna.scheduler._delivery cimport deliver
from luna.scheduler._guest cimport fail, fail_out_of_bounds, is_utf8, set_deadline, span
from luna.scheduler._host_process cimport Birth, bear, child_config, spawn_failed
from luna.scheduler._links cimport bind_to_node
from luna.scheduler._output cimport new_output
from luna.scheduler._peers cimport current_session, find_peer, is_crowded, queue_bytes
from luna.scheduler._platform cimport *
from luna.scheduler._process cimport end, free_process, launch, new_process
from luna.scheduler._signals cimport *
from luna.scheduler._spawn_wire cimport *
from luna.scheduler._types cimport *

cdef enum:
    RESULT_ERROR = 1           # of lunatic::distributed::spawn
    RESULT_MODULE_UNKNOWN = 2


# -- the parent's side -----------------------------------------------------------------------

cdef int read_far_birth(Process* process, const int64_t* args, Birth* birth) noexcept nogil:
    """Check arguments as of `spawn_far` that can be checked without the module; 0 when it fails for them."""
    birth.name_size = <uint32_t>args[4]
    birth.params_size = <uint32_t>args[6]
    birth.out = <uint32_t>args[7]
    birth.name = span(process, NULL, <uint32_t>args[3], birth.name_size)
    birth.params = span(process, NULL, <uint32_t>args[5], birth.params_size)
    birth.link_tag = process.spawn_link_tag
    birth.monitor = process.spawn_monitors
    birth.early = 0
    # The place of the result too: a bad pointer must not trap when the child already runs.
    if birth.name == NULL or birth.params == NULL or span(process, NULL, birth.out, 8) == NULL:
        fail_out_of_bounds(process, b"lunatic::distributed::spawn")
        return 0
    if birth.name_size > ENTRY_NAME_MAX or not is_utf8(birth.name, birth.name_size) or \
            memchr(birth.name, 0, birth.name_size) != NULL:
        fail(process, b"lunatic::distributed::spawn: the function name is not UTF-8 of at most 4096 bytes without a zero")
        return 0
    return 1


cdef void spawn_far(Process* process, const int64_t* args, Module* module) noexcept nogil:
    """Have a node, which may be this one, spawn a child; the process waits for the answer.

    `args` are those of `lunatic::distributed::spawn`: node, config, module, and
    addresses and lengths of entry and parameters, address of the result. What
    the child is to the parent is in `spawn_link_tag` and `spawn_monitors`.
    """
    cdef Birth birth
    cdef Config* config
    cdef char text[128]
    if not read_far_birth(process, args, &birth):
        return
    config = child_config(process, args[1])
    if config == NULL:
        snprintf(text, sizeof(text), b"lunatic::distributed::spawn: this process has no config of id %lld", <long long>args[1])
        fail(process, text)
        return
    if args[0] == process.runtime.node_id:
        birth.params_size -= birth.params_size % 17
        bear(process, module, config, NULL, &birth)
        return
    process.wait_writes = 1
    process.wait_out = birth.out
    order(process, args[0], module, config, &birth)
    release_config(process.runtime, config)


cdef void order(Process* process, int64_t node_id, Module* module, Config* config, Birth* birth) noexcept nogil:
    """Ask another node for a child."""
    cdef Order order
    cdef string params
    cdef string body
    cdef string envelope
    cdef const char* wrong
    cdef char text[160]
    order.reference = <uint64_t>process.wait_sequence
    order.parent = <uint64_t>process.pid
    order.environment = process.environment
    order.module = module.sha256
    order.entry = birth.name
    order.entry_size = birth.name_size
    order.link = birth.link_tag != 0
    order.link_tag = birth.link_tag
    order.monitor = birth.monitor
    wrong = put_guest_params(&params, birth.params, birth.params_size)
    if wrong != NULL:
        snprintf(text, sizeof(text), b"lunatic::distributed::spawn: %s", wrong)
        fail(process, text)
        return
    put_order(&body, &order, params, module.name, config)
    put_envelope(&envelope, FIELD_SPAWN, body)
    ask(process, node_id, envelope)


cdef void ask(Process* process, int64_t node_id, const string& envelope) noexcept nogil:
    """Send the order, or say why not."""
    cdef Runtime* runtime = process.runtime
    cdef Peer* peer = find_peer(runtime, <int>node_id) if 0 < node_id < 1 << 23 else NULL
    # Bound first: whatever becomes of the session from here on, the process is told.
    if peer == NULL or bind_to_node(process, node_id << NODE_SHIFT, CURRENT_SESSION) == NO_SESSION:
        refuse(process, b"node %lld is not connected", node_id)
    elif process.exit_kind >= 0:
        # What it was told of an earlier session ended it: wait for the thread to take it apart.
        process.wait = WAIT_SPAWN
    elif envelope.size() > SPAWN_SMALL_BYTES and is_crowded(runtime, peer.node_id, LANE_DATA):
        refuse(process, b"the queue to node %lld is full, and the config too large to go ahead of it", node_id)
    elif luna_add(&peer.spawns_asked, 1) > PENDING_SPAWNS_MAX:
        luna_add(&peer.spawns_asked, -1)
        refuse(process, b"1024 spawns on node %lld are under way already", node_id)
    elif not queue_bytes(peer, envelope.data(), envelope.size()):
        answered(&peer.spawns_asked)
        refuse(process, b"node %lld is not connected", node_id)
    else:
        process.wait = WAIT_SPAWN
        process.wait_node = peer.node_id
        set_deadline(process, SPAWN_TIMEOUT_MS)


cdef void refuse(Process* process, const char* words, int64_t node_id) noexcept nogil:
    cdef char text[128]
    snprintf(text, sizeof(text), words, <long long>node_id)
    spawn_failed(process, text)


cdef void answered(int* count) noexcept nogil:
    """One spawn less is under way; answers to those of an earlier session count no more."""
    cdef int now = luna_load(count)
    while now > 0 and not luna_cas(count, now, now - 1):
        now = luna_load(count)


cdef int deliver_answer(Runtime* runtime, Peer* peer, const uint8_t* body, size_t size, int* for_python) noexcept nogil:
    """Hand a SpawnReply of a peer to the parent; 0 when this peer may not send it.

    `for_python` is set when no process asked for that child.
    """
    cdef Answer answer
    cdef Signal* signal
    cdef int64_t sender = <int64_t>peer.node_id << NODE_SHIFT
    cdef char head[80]
    if not read_answer(body, size, &answer):
        return 0
    if answer.pid != 0 and answer.pid >> NODE_SHIFT != <uint64_t>peer.node_id:
        return 0
    for_python[0] = answer.to == 0
    if for_python[0]:
        return 1
    if answer.to >> NODE_SHIFT != <uint64_t>runtime.node_id:
        return 0
    answered(&peer.spawns_asked)
    signal = new_signal(runtime, SIGNAL_SPAWNED, sender)
    signal.value = <int64_t>answer.pid
    signal.tag = <int64_t>answer.reference
    signal.session = peer.session_count
    if answer.pid == 0:
        signal.exit = RESULT_MODULE_UNKNOWN if answer.failure == FAILURE_MODULE_UNKNOWN else RESULT_ERROR
        snprintf(head, sizeof(head), b"node %d did not spawn the process: ", peer.node_id)
        append(signal, head, strlen(head))
        if answer.error_size == 0 or not is_utf8(answer.error, answer.error_size):
            append(signal, b"no reason given", 15)
        else:
            append(signal, <const char*>answer.error, cut(answer.error, answer.error_size))
        append(signal, b"\0", 1)
    deliver(runtime, signal, <int64_t>answer.to, ANY_ENVIRONMENT, NULL)
    return 1


cdef void answer_late(Runtime* runtime, Signal* signal, int64_t parent) noexcept nogil:
    """Nobody takes the child of an answer: its parent is dead. It dies as well, if it is linked."""
    cdef Signal* death = new_signal(runtime, SIGNAL_LINK_DEATH, parent)
    death.exit = EXIT_NO_PROCESS
    death.session = signal.session
    deliver(runtime, death, signal.value, ANY_ENVIRONMENT, NULL)


# -- the child's side ------------------------------------------------------------------------

cdef int serve_order(Runtime* runtime, Peer* peer, const uint8_t* body, size_t size) noexcept nogil:
    """Start a child for a process of a peer, or refuse it; the caller holds the peer's inbound_lock.

    0 when it is left to Python: its module is not here, no process asked for
    it, or there is something wrong with it.
    """
    cdef Order order
    cdef Module* module
    cdef Config* config
    cdef Process* child
    if luna_load(&runtime.stopping):
        return 1  # its threads are ending: nobody would run it
    if not read_order(body, size, &order) or order.parent >> NODE_SHIFT != <uint64_t>peer.node_id:
        return 0
    if luna_load(&peer.spawns_served) >= PENDING_SPAWNS_MAX:
        luna_add64(&peer.spawns_refused, 1)
        refuse_order(peer, &order, b"1024 spawns of its node are under way here already")
        return 1
    module = find_module(runtime, module_id_of(order.module), order.module)
    if module == NULL:
        return 0
    config = config_of(runtime, peer, &order)
    if config == NULL:
        release_module(module)
        return 0
    if luna_load(&runtime.pressure):
        refuse_order(peer, &order, b"the node is short of memory and takes no new processes now")
    else:
        child = new_process(
            runtime, module, config, order.environment, new_output(runtime, 0, OUTPUT_BUFFER, NULL),
            <const char*>order.entry, order.entry_size,
        )
        if child == NULL:
            refuse_order(peer, &order, b"the node holds as many processes as it may: see --max-processes")
        else:
            start(peer, child, &order)
    release_config(runtime, config)
    release_module(module)
    return 1


cdef void start(Peer* peer, Process* child, Order* order) noexcept nogil:
    child.output.pid = child.pid
    child.parent = <int64_t>order.parent
    child.parent_wait = <int64_t>order.reference
    child.parent_session = peer.session_count
    child.link_parent = order.link
    child.link_tag = order.link_tag
    child.monitor_parent = order.monitor
    child.param_count = order.param_count
    child.params = <wasmtime_val_t*>calloc(order.param_count + 1, sizeof(wasmtime_val_t))
    read_order_params(order, child.params)
    luna_add(&peer.spawns_served, 1)
    if not launch(child):
        free_process(child)
        answered(&peer.spawns_served)
        refuse_order(peer, order, b"no memory for another process")


cdef Config* config_of(Runtime* runtime, Peer* peer, Order* order) noexcept nogil:
    """A new reference to the config asked for; NULL if it is not valid.

    Children of one program are many and have few configs: one that equals the
    peer's last is the same. Not with directories, which are looked for once for
    each config: they may be gone.
    """
    cdef Config* config
    if peer.config != NULL and peer.config_text.size() == order.config_size and \
            memcmp(peer.config_text.data(), order.config, order.config_size) == 0:
        retain_config(peer.config)
        return peer.config
    config = read_config(runtime, order.config, order.config_size)
    if config == NULL:
        return NULL
    if order.config_size > SPAWN_SMALL_BYTES or config.preopens.size() > 0:
        return config
    forget_peer_config(peer)
    peer.config_text = new string()
    peer.config_text.assign(<const char*>order.config, order.config_size)
    peer.config = config
    retain_config(config)
    return config


cdef void forget_peer_config(Peer* peer) noexcept nogil:
    """The caller holds the peer's inbound_lock."""
    if peer.config != NULL:
        release_config(peer.runtime, peer.config)
        del peer.config_text
    peer.config = NULL
    peer.config_text = NULL


cdef size_t cut(const uint8_t* text, size_t size) noexcept nogil:
    """Bytes of a text that travel: all, or as many whole characters as fit."""
    if size > SPAWN_ERROR_BYTES:
        size = SPAWN_ERROR_BYTES
        while size > 0 and text[size] & 0xC0 == 0x80:
            size -= 1
    return size


cdef void refuse_order(Peer* peer, Order* order, const char* reason) noexcept nogil:
    send_answer(peer, <int64_t>order.reference, <int64_t>order.parent, 0, FAILURE_LIMIT, reason)


cdef int send_answer(Peer* peer, int64_t reference, int64_t parent, int64_t pid, int failure, const char* error) noexcept nogil:
    """0 when the peer is down."""
    cdef Answer answer
    cdef string body
    cdef string envelope
    answer.reference = <uint64_t>reference
    answer.pid = <uint64_t>pid
    answer.to = <uint64_t>parent
    answer.failure = failure
    answer.error = <const uint8_t*>error
    answer.error_size = cut(answer.error, strlen(error))
    put_answer(&body, &answer)
    put_envelope(&envelope, FIELD_SPAWN_REPLY, body)
    return queue_bytes(peer, envelope.data(), envelope.size())


cdef void report_to_peer(Process* process, const char* error) noexcept nogil:
    """Answer the node that asked for this process: it lives, or why it does not."""
    cdef Peer* peer = find_peer(process.runtime, <int>(process.parent >> NODE_SHIFT))
    answered(&peer.spawns_served)
    if error != NULL:
        send_answer(peer, process.parent_wait, process.parent, 0, FAILURE_INSTANTIATION, error)
    elif current_session(process.runtime, peer.node_id) != process.parent_session or \
            not send_answer(peer, process.parent_wait, process.parent, process.pid, 0, b""):
        if not process.link_parent:  # else it dies of its link
            end(process, EXIT_KILLED, 1, b"the node that asked for it went down before its birth")

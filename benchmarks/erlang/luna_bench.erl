%% The benchmarks in Erlang, under the names that the guests in integration/guests use.
%%
%% Reads one request per line on standard input (`NAME NUMBER...`) and answers each with one line of JSON.
%% Each request runs in a process of its own whose message queue is off its heap: with the default, a parent
%% that awaits many children collects garbage over and over, and spawning seems several times slower.
%% Remote requests use the node whose name follows `-peer` on the command line.
-module(luna_bench).
-export([main/0, peer/0, report/1, echo/0, sink/0, park/0, busy/0, spawner/2]).

main() ->
    ok = io:setopts(standard_io, [binary]),
    io:format("ready~n"),
    serve().

%% What the other node runs: it says that it is up, and ends with its input.
peer() ->
    io:format("ready ~s~n", [os:getpid()]),
    io:get_line(""),
    halt().

serve() ->
    case io:get_line("") of
        eof ->
            halt();
        Line ->
            [Name | Numbers] = string:lexemes(string:trim(Line), " "),
            Arguments = [binary_to_integer(Number) || Number <- Numbers],
            {Pid, Reference} = spawn_opt(
                fun() -> exit({answer, measure(binary_to_atom(Name), Arguments)}) end,
                [monitor, {message_queue_data, off_heap}]
            ),
            receive
                {'DOWN', Reference, process, Pid, {answer, Answer}} -> io:format("~s~n", [json(Answer)]);
                {'DOWN', Reference, process, Pid, Reason} -> fail(Reason)
            end,
            serve()
    end.

fail(Reason) ->
    io:format(standard_error, "~p~n", [Reason]),
    halt(1).

json(Answer) ->
    ["{", lists:join(", ", [io_lib:format("\"~s\": ~w", [Key, Value]) || {Key, Value} <- Answer]), "}"].

now_ns() -> erlang:monotonic_time(nanosecond).

elapsed(Work) ->
    Began = now_ns(),
    Work(),
    [{elapsed_ns, now_ns() - Began}].

%% ---- what is measured ----

measure(spawn_loop, [Count, Window]) ->
    elapsed(fun() -> spawn_loop(Count, Window, 0) end);
measure(parked, [Count]) ->
    Before = resident_kib(),
    Began = now_ns(),
    Pids = [spawn(?MODULE, park, []) || _ <- lists:seq(1, Count)],
    Elapsed = now_ns() - Began,
    After = resident_kib(),
    [exit(Pid, kill) || Pid <- Pids],
    [{count, Count}, {elapsed_ns, Elapsed}, {before_kib, Before}, {after_kib, After}];
measure(pingpong, [Rounds]) ->
    Echo = spawn(?MODULE, echo, []),
    Answer = elapsed(fun() -> ping(Echo, <<0:64>>, Rounds) end),
    exit(Echo, kill),
    Answer;
measure(oneway, [Count, Size]) ->
    Sink = spawn_opt(?MODULE, sink, [], [{message_queue_data, off_heap}]),
    Answer = elapsed(fun() -> flood(Sink, Count, Size) end),
    exit(Sink, kill),
    Answer;
measure(ring, [Processes, Rounds]) ->
    elapsed(fun() -> ring(Processes, Rounds) end);
measure(under_load, [Busy, Rounds, PauseMs]) ->
    Loops = [spawn(?MODULE, busy, []) || _ <- lists:seq(1, Busy)],
    Echo = spawn(?MODULE, echo, []),
    Answer = summary([sample_ping(Echo, <<0:512>>, PauseMs) || _ <- lists:seq(1, Rounds)]),
    [exit(Pid, kill) || Pid <- [Echo | Loops]],
    Answer;
measure(remote_pingpong, [Rounds, Size]) ->
    Echo = spawn(peer_name(), ?MODULE, echo, []),
    Message = <<0:(Size * 8)>>,
    Answer = summary([sample_ping(Echo, Message, 0) || _ <- lists:seq(1, Rounds)]),
    exit(Echo, kill),
    Answer;
measure(remote_oneway, [Count, Size]) ->
    Sink = spawn(peer_name(), ?MODULE, sink, []),
    Answer = elapsed(fun() -> flood(Sink, Count, Size) end),
    exit(Sink, kill),
    Answer;
measure(remote_spawn, [Count, Spawners]) ->
    Each = Count div Spawners,
    elapsed(fun() ->
        [spawn(?MODULE, spawner, [self(), Each]) || _ <- lists:seq(1, Spawners)],
        [receive {spawned, _} -> ok end || _ <- lists:seq(1, Spawners)]
    end);
measure(remote_death, [Rounds]) ->
    summary([sample_death() || _ <- lists:seq(1, Rounds)]);
%% Answers with the wall clock's time when the death of a process of the other node is known.
measure(remote_watch, [_]) ->
    Pid = spawn(peer_name(), ?MODULE, park, []),
    Reference = monitor(process, Pid),
    net_kernel:monitor_nodes(true),
    io:format("{\"watching\": 1}~n"),
    receive {'DOWN', Reference, process, Pid, noconnection} -> ok end,
    [{noticed_ns, os:system_time(nanosecond)}].

spawn_loop(Count, Window, Running) when Count > 0, Running < Window ->
    spawn(?MODULE, report, [self()]),
    spawn_loop(Count - 1, Window, Running + 1);
spawn_loop(_, _, 0) ->
    ok;
spawn_loop(Count, Window, Running) ->
    receive reported -> ok end,
    spawn_loop(Count, Window, Running - 1).

ping(_, _, 0) ->
    ok;
ping(Echo, Message, Rounds) ->
    Echo ! {self(), Message},
    receive {Echo, _} -> ok end,
    ping(Echo, Message, Rounds - 1).

sample_ping(Echo, Message, PauseMs) ->
    Began = now_ns(),
    Echo ! {self(), Message},
    receive {Echo, _} -> ok end,
    Elapsed = now_ns() - Began,
    PauseMs > 0 andalso timer:sleep(PauseMs),
    Elapsed.

sample_death() ->
    Pid = spawn(peer_name(), ?MODULE, park, []),
    Reference = monitor(process, Pid),
    Began = now_ns(),
    exit(Pid, kill),
    receive {'DOWN', Reference, process, Pid, killed} -> now_ns() - Began end.

flood(Sink, Count, Size) ->
    flood_on(Sink, <<0:(Size * 8)>>, Count),
    Sink ! {answer, self()},
    receive taken -> ok end.

flood_on(_, _, 0) ->
    ok;
flood_on(Sink, Message, Count) ->
    Sink ! Message,
    flood_on(Sink, Message, Count - 1).

ring(Processes, Rounds) ->
    First = lists:foldl(
        fun(_, Next) -> spawn(fun() -> member(Next) end) end, self(), lists:seq(2, Processes)
    ),
    [begin First ! token, receive token -> ok end end || _ <- lists:seq(1, Rounds)],
    First ! stop,
    receive stop -> ok end.

member(Next) ->
    receive
        token -> Next ! token, member(Next);
        stop -> Next ! stop
    end.

%% ---- processes ----

report(Parent) -> Parent ! reported.

echo() ->
    receive {From, Message} -> From ! {self(), Message} end,
    echo().

sink() ->
    receive
        {answer, From} -> From ! taken;
        _ -> ok
    end,
    sink().

park() -> receive never -> ok end.

busy() -> busy().

spawner(Parent, 0) ->
    Parent ! {spawned, self()};
spawner(Parent, Count) ->
    spawn(peer_name(), ?MODULE, report, [self()]),
    receive reported -> ok end,
    spawner(Parent, Count - 1).

%% ---- the machine ----

peer_name() ->
    {ok, [[Name]]} = init:get_argument(peer),
    list_to_atom(Name).

resident_kib() ->
    {ok, File} = file:open("/proc/self/status", [read, raw, binary]),
    {ok, Status} = file:read(File, 65536),
    ok = file:close(File),
    {match, [Kib]} = re:run(Status, "VmRSS:\\s+([0-9]+)", [{capture, all_but_first, binary}]),
    binary_to_integer(Kib).

summary(Samples) ->
    Sorted = lists:sort(Samples),
    Count = length(Sorted),
    At = fun(Percent) -> lists:nth((Count * Percent + 99) div 100, Sorted) end,
    [{rounds, Count}, {p50_ns, At(50)}, {p99_ns, At(99)}, {max_ns, lists:last(Sorted)}].

//! One keeper on each node, and its door, which listens and hands each connection to a session of its own.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use lunatic::ap::handlers::Message;
use lunatic::ap::{AbstractProcess, Config, MessageHandler, ProcessRef, StartupError, State};
use lunatic::net::TcpListener;
use lunatic::panic::catch_panic;
use lunatic::serializer::Bincode;
use lunatic::{distributed, sleep, Mailbox, Process, Tag};
use serde::{Deserialize, Serialize};

use crate::messages::*;
use crate::room::{Describe, Room};
use crate::session::session;

/// Where to listen; the port is the first one that is tried.
pub type Address = (Ipv4Addr, u16);

pub struct Keeper {
    this: ProcessRef<Keeper>,
    address: Address,
    bound: Option<u16>,
    askers: Vec<Process<u16>>,
    known: HashSet<u64>,
    rooms: Vec<ProcessRef<Room>>,
}

#[derive(Serialize, Deserialize)]
pub struct Bound(u16);

/// Who wants to know the port.
#[derive(Serialize, Deserialize)]
pub struct Ask(Process<u16>);

#[derive(Serialize, Deserialize)]
pub struct RoomOpened(pub ProcessRef<Room>);

/// Have each room of this node describe itself to a user.
#[derive(Serialize, Deserialize)]
pub struct DescribeRooms(pub User);

#[derive(Serialize, Deserialize)]
pub struct OpenDoor;

#[derive(Serialize, Deserialize)]
pub struct LookForNodes;

impl AbstractProcess for Keeper {
    type Arg = Address;
    type State = Self;
    type Serializer = Bincode;
    type Handlers = (
        Message<Bound>,
        Message<Ask>,
        Message<RoomOpened>,
        Message<DescribeRooms>,
        Message<OpenDoor>,
        Message<LookForNodes>,
    );
    type StartupError = ();

    fn init(config: Config<Self>, address: Address) -> Result<Self, ()> {
        config.die_if_link_dies(false); // a door that fails is opened again
        let this = config.self_ref();
        this.register(&ready(&Self::name_on(distributed::node_id())));
        this.send(OpenDoor);
        this.with_delay(NEW_NODES).send(LookForNodes);
        let known = HashSet::from([distributed::node_id()]);
        Ok(Keeper { this, address, bound: None, askers: Vec::new(), known, rooms: Vec::new() })
    }

    fn handle_link_death(mut state: State<Self>, _: Tag) {
        state.bound = None;
        state.this.with_delay(RESTART).send(OpenDoor);
    }
}

impl Keeper {
    /// What the keeper of a node is registered as.
    pub fn name_on(node: u64) -> String {
        node.to_string()
    }
}

impl MessageHandler<OpenDoor> for Keeper {
    fn handle(state: State<Self>, _: OpenDoor) {
        Process::spawn_link_tag((state.this, state.address), tag(DOOR), door);
    }
}

impl MessageHandler<Bound> for Keeper {
    fn handle(mut state: State<Self>, Bound(port): Bound) {
        state.bound = Some(port);
        state.askers.drain(..).for_each(|asker| asker.send(port));
    }
}

impl MessageHandler<Ask> for Keeper {
    fn handle(mut state: State<Self>, Ask(asker): Ask) {
        match state.bound {
            Some(port) => asker.send(port),
            None => state.askers.push(asker),
        }
    }
}

impl MessageHandler<RoomOpened> for Keeper {
    fn handle(mut state: State<Self>, RoomOpened(room): RoomOpened) {
        state.rooms.retain(|room| room.is_alive());
        state.rooms.push(room);
    }
}

impl MessageHandler<DescribeRooms> for Keeper {
    fn handle(state: State<Self>, DescribeRooms(asker): DescribeRooms) {
        state.rooms.iter().for_each(|room| room.send(Describe(asker)));
    }
}

impl MessageHandler<LookForNodes> for Keeper {
    fn handle(mut state: State<Self>, _: LookForNodes) {
        let nodes: HashSet<u64> = distributed::nodes().into_iter().collect();
        for &node in nodes.difference(&state.known) {
            // All keepers do that, and the first one succeeds.
            let _ = start_on(node, None, state.address);
        }
        state.known = nodes;
        state.this.with_delay(NEW_NODES).send(LookForNodes);
    }
}

/// Starts a process on a node that makes the keeper there, if there is none yet, and has it tell `asker` its
/// port. None: the node is gone.
pub fn start_on(node: u64, asker: Option<Process<u16>>, address: Address) -> Option<Process<()>> {
    fn start((asker, address): (Option<Process<u16>>, Address), _: Mailbox<()>) {
        let keeper = match Keeper::start_as(&Keeper::name_on(distributed::node_id()), address) {
            Ok(keeper) | Err(StartupError::NameAlreadyRegistered(keeper)) => keeper,
            Err(error) => panic!("the keeper cannot be made: {error:?}"),
        };
        if let Some(asker) = asker {
            keeper.send(Ask(asker));
        }
    }
    catch_panic(|| Process::spawn_node(node, (asker, address), start)).ok() // it panics where the node is gone
}

fn door((keeper, (ip, port)): (ProcessRef<Keeper>, Address), _: Mailbox<()>) {
    let last = if port == 0 { 0 } else { port + PORTS - 1 };
    let listener = (port..=last)
        .find_map(|port| TcpListener::bind((ip, port)).ok())
        .unwrap_or_else(|| panic!("the ports {port} to {last} are in use"));
    keeper.send(Bound(listener.local_addr().unwrap().port()));
    loop {
        match listener.accept() {
            Ok((stream, _)) => Process::spawn((), session).send(ToSession::Socket(stream)),
            Err(_) => sleep(ENTER_PAUSE), // the node may have no descriptors left: wait for one
        }
    }
}

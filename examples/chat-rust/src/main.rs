//! A chat over the whole cluster.
//!
//!     luna spawn --follow chat.wasm 4000                  connections from this machine only
//!     luna spawn --follow chat.wasm 0.0.0.0:4000          from everywhere
//!
//! Started once, on any node, it opens a door on every node, and on those that come up later: people connect to
//! whichever they like (`nc 127.0.0.1 4000`) and are in the same chat. Where a port is in use, because the node
//! beside has it, the next one is tried.

mod door;
mod messages;
mod reader;
mod room;
mod session;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::exit;

use lunatic::{distributed, Mailbox};

use crate::door::{start_on, Address};
use crate::messages::*;

fn parse(text: &str) -> Option<Address> {
    let (ip, port) = match text.parse::<SocketAddrV4>() {
        Ok(address) => (*address.ip(), address.port()),
        Err(_) => (Ipv4Addr::LOCALHOST, text.parse().ok()?),
    };
    (port <= u16::MAX - PORTS).then_some((ip, port))
}

#[lunatic::main]
fn main(mailbox: Mailbox<u16>) {
    let argument = std::env::args().nth(1).unwrap_or("4000".to_string());
    let Some(address) = parse(&argument) else {
        println!("give it a port, or an IPv4 address and a port: chat.wasm 4000, chat.wasm 0.0.0.0:4000");
        exit(2);
    };
    let mut nodes = distributed::nodes();
    if nodes.is_empty() {
        println!("the chat lives on a cluster: start a node, and then it, with `luna spawn`");
        exit(1);
    }
    nodes.sort_by_key(|&node| node_name(node));
    let mut closed = 0;
    for node in nodes {
        let started = start_on(node, Some(mailbox.this()), address);
        match started.and_then(|_| mailbox.receive_timeout(START).ok()) {
            Some(port) => println!("{}: nc {} {port}", node_name(node), address.0),
            None => {
                println!("{}: no door could be opened", node_name(node));
                closed += 1;
            }
        }
    }
    exit(closed);
}

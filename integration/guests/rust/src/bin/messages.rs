//! What can be in a message: three serializers, big ones, functions, processes, modules; and what cannot be read.

use std::collections::BTreeMap;

use luna_rust_guests::PATIENCE;
use lunatic::function::FuncRef;
use lunatic::serializer::{Bincode, CanSerialize, Json, MessagePack};
use lunatic::{Mailbox, Param, Process, WasmModule};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Circle { radius: f64, at: (i64, i64) },
    Group(BTreeMap<String, Vec<Option<Shape>>>),
}

fn shapes() -> Vec<Shape> {
    let circle = Shape::Circle { radius: 1.5, at: (i64::MIN, i64::MAX) };
    let group = BTreeMap::from([("äöü".to_string(), vec![Some(circle.clone()), None]), (String::new(), vec![])]);
    vec![Shape::Nothing, circle, Shape::Group(group)]
}

/// Every shape goes to a child and comes back; so does the text of a message of 4 MB.
fn there_and_back<S>()
where
    S: CanSerialize<(Process<Shape, S>, Vec<Shape>)> + CanSerialize<Shape> + CanSerialize<String>,
    S: CanSerialize<Process<Shape, S>> + CanSerialize<Process<String, S>> + 'static,
    S: CanSerialize<lunatic::protocol::ProtocolCapture<Process<Shape, S>>>,
    S: CanSerialize<lunatic::protocol::ProtocolCapture<Process<String, S>>>,
{
    let mailbox: Mailbox<Shape, S> = unsafe { Mailbox::new() };
    let child = Process::<Shape, S>::spawn_link(mailbox.this(), |parent: Process<Shape, S>, own: Mailbox<Shape, S>| {
        for _ in 0..3 {
            parent.send(own.receive());
        }
    });
    for shape in shapes() {
        child.send(shape.clone());
        assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap(), shape);
    }
    let mailbox: Mailbox<String, S> = unsafe { Mailbox::new() };
    let child = Process::<String, S>::spawn_link(mailbox.this(), |parent: Process<String, S>, own: Mailbox<String, S>| {
        parent.send(own.receive().chars().rev().collect());
    });
    let text: String = (0..4_000_000).map(|number| char::from(b'a' + (number % 26) as u8)).collect();
    child.send(text.clone());
    let back = mailbox.receive_timeout(PATIENCE).unwrap();
    assert!(back.chars().rev().eq(text.chars()), "4 MB came back otherwise");
}

/// A message of another type is an error to who asks for one, and the next message is not touched by it.
fn unreadable() {
    let strings: Mailbox<String> = unsafe { Mailbox::new() };
    let this: Process<u8> = unsafe { Process::this() };
    this.send(1);
    strings.this().send("readable".to_string());
    assert!(strings.try_receive().unwrap_err().is_deserialization_failed());
    assert_eq!(strings.receive(), "readable");
    let json: Mailbox<u8, Json> = unsafe { Mailbox::new() };
    unsafe { Process::<String, MessagePack>::this() }.send("no JSON".to_string());
    assert!(json.try_receive().unwrap_err().is_deserialization_failed());
}

/// A module is compiled, sent to a child, and spawned there with parameters.
fn modules() {
    let code = br#"
        (module
          (import "lunatic::message" "create_data" (func $create_data (param i64 i64)))
          (import "lunatic::message" "write_data" (func $write_data (param i32 i32) (result i32)))
          (import "lunatic::message" "send" (func $send (param i64) (result i32)))
          (memory (export "memory") 1)
          (func (export "add") (param $target i64) (param $a i32) (param $b i32)
            (i32.store (i32.const 0) (i32.add (local.get $a) (local.get $b)))
            (call $create_data (i64.const 0) (i64.const 4))
            (drop (call $write_data (i32.const 0) (i32.const 4)))
            (drop (call $send (local.get $target)))))"#;
    let mailbox: Mailbox<u32> = unsafe { Mailbox::new() };
    let child = Process::spawn_link(mailbox.this(), |parent: Process<u32>, own: Mailbox<WasmModule>| {
        let params = [Param::I64(parent.id() as i64), Param::I32(-2), Param::I32(44)];
        own.receive().spawn::<(), Bincode>("add", &params).unwrap();
    });
    child.send(WasmModule::new(code).unwrap());
    assert_eq!(mailbox.receive_timeout(PATIENCE).unwrap(), 42);
    let refused = WasmModule::new(b"(module (import \"lunatic::process\" \"no_such\" (func)))");
    assert!(format!("{:?}", refused.err().unwrap()).contains("no_such"));
    let Err(garbage) = WasmModule::new(b"\0asm but nothing that follows") else { panic!("garbage was compiled") };
    assert!(!garbage.to_string().is_empty());
}

#[lunatic::main]
fn main(mailbox: Mailbox<(u64, FuncRef<fn(u64) -> u64>)>) {
    there_and_back::<Bincode>();
    there_and_back::<MessagePack>();
    there_and_back::<Json>();
    unreadable();
    modules();

    fn triple(number: u64) -> u64 {
        number * 3
    }
    mailbox.this().send((14, FuncRef::new(triple)));
    let (number, function) = mailbox.receive();
    assert_eq!(function(number), 42);
}

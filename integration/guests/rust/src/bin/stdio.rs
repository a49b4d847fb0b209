//! Standard input, arguments and environment: of the program, and of children with a config of their own.
//!
//! Prints what it reads in capitals; "child" as the first argument leaves the reading to a child process.

use std::io::{BufRead, Read, Write};

use lunatic::{spawn_link, Mailbox, ProcessConfig};

fn shout() -> u32 {
    let mut lines = 0;
    for line in std::io::stdin().lock().lines() {
        println!("{}", line.unwrap().to_uppercase());
        lines += 1;
    }
    let mut rest = String::new();
    assert_eq!(std::io::stdin().read_to_string(&mut rest).unwrap(), 0, "the end stays the end");
    lines
}

#[lunatic::main]
fn main(_: Mailbox<()>) {
    let arguments: Vec<String> = std::env::args().collect();
    assert!(arguments[0].ends_with("stdio.wasm"), "{arguments:?}");
    let lines = match arguments.get(1).map(String::as_str) {
        Some("child") => spawn_link!(@task || shout()).result(),
        _ => shout(),
    };
    eprintln!("{lines} lines");
    println!("{:?}", &arguments[1..]);
    println!("{}", std::env::var("LUNA_GREETING").unwrap_or_default());

    // A child inherits all of it, or has just what its config says.
    let heir = spawn_link!(@task || (std::env::args().collect(), std::env::var("LUNA_GREETING").ok()));
    let (inherited, greeting): (Vec<String>, Option<String>) = heir.result();
    assert_eq!((inherited, greeting), (arguments, std::env::var("LUNA_GREETING").ok()));
    let mut config = ProcessConfig::new().unwrap();
    config.add_command_line_argument("päckchen");
    config.add_command_line_argument("");
    config.add_environment_variable("ONLY", "this = one");
    let child = spawn_link!(@task &config, || (std::env::args().collect(), std::env::vars().collect()));
    let (own, variables): (Vec<String>, Vec<(String, String)>) = child.result();
    assert_eq!(own, ["päckchen", ""]);
    assert_eq!(variables, [("ONLY".to_string(), "this = one".to_string())]);
    // What is printed without a line's end is there as well.
    print!("the end");
    std::io::stdout().flush().unwrap();
}

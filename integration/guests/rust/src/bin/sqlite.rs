//! SQLite: a database file shared by processes, all kinds of values, errors; the argument names the file.

use luna_rust_guests::wait_until;
use lunatic::sqlite::{Query, SqliteClient, Value};
use lunatic::{spawn_link, Mailbox, Process};

fn values() {
    let client = SqliteClient::connect(":memory:").unwrap();
    client.execute("create table t (id integer primary key, value)").unwrap();
    let values = [
        Value::Null,
        Value::Text("päckchen".to_string()),
        Value::Text(String::new()),
        Value::Blob((0..=255).collect()),
        Value::Double(-0.5),
        Value::Int(-7),
        Value::Int64(i64::MIN),
    ];
    for value in &values {
        assert!(client.prepare_query("insert into t (value) values (?)").bind(value.clone()).execute().is_empty());
    }
    let rows = client.query("select value from t order by id");
    assert_eq!(rows.len(), values.len());
    for (row, value) in rows.iter().zip(&values) {
        match value {
            Value::Int(_) | Value::Int64(_) => assert_eq!(row[0].as_int_any(), value.as_int_any()),
            other => assert_eq!(row[0], *other),
        }
    }
    let found = client
        .prepare_query("select id, value from t where id > ? and id < ? order by id desc")
        .bind(1)
        .bind(4)
        .execute();
    assert_eq!(found.iter().map(|row| row[0].as_int_any().unwrap()).collect::<Vec<_>>(), [3, 2]);
    // Rows are made one by one: of the million of this query only ten.
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000) select i from n";
    let first = client.prepare_query(endless).execute_iter().take(10);
    assert_eq!(first.map(|row| row[0].as_int_any().unwrap()).sum::<i64>(), 55);
}

fn errors() {
    let client = SqliteClient::connect(":memory:").unwrap();
    assert!(client.execute("no sql at all").is_err());
    assert!(client.execute("select * from nowhere").is_err());
    client.execute("create table once (id integer primary key)").unwrap();
    client.execute("insert into once values (1)").unwrap();
    assert!(client.execute("insert into once values (1)").is_err());
    client.execute("insert into once values (2)").unwrap();
    assert_eq!(client.query("select count(*) from once")[0][0].as_int_any(), Some(2));
    // A query that cannot be prepared ends its process.
    let doomed = Process::spawn((), |_, _: Mailbox<()>| {
        SqliteClient::connect(":memory:").unwrap().prepare_query("selct 1");
        lunatic::sleep(luna_rust_guests::PATIENCE);
    });
    wait_until("who prepares nonsense is gone", || !doomed.is_alive());
    assert!(SqliteClient::connect("/etc/luna-must-not-write-here.db").is_err(), "no directory was given for it");
}

#[lunatic::main]
fn main(_: Mailbox<()>) {
    // The crate knows one connection for each process: its first.
    let _ = spawn_link!(@task || values()).result();
    let _ = spawn_link!(@task || errors()).result();

    let path = std::env::args().nth(1).expect("the file of the database");
    let client = SqliteClient::connect(&path).unwrap();
    client.execute("create table numbers (number integer)").unwrap();
    for chunk in 0..4 {
        let task = spawn_link!(@task |path = {path.clone()}, chunk| {
            let own = SqliteClient::connect(&path).unwrap();
            own.execute("begin").unwrap();
            for number in 0..100 {
                own.prepare_query("insert into numbers values (?)").bind(chunk * 100 + number).execute();
            }
            own.execute("commit").unwrap();
        });
        let _ = task.result();
    }
    let row = &client.query("select count(*), sum(number) from numbers")[0];
    assert_eq!([row[0].as_int_any(), row[1].as_int_any()], [Some(400), Some(79_800)]);
    client.execute("begin").unwrap();
    client.execute("delete from numbers").unwrap();
    client.execute("rollback").unwrap();
    assert_eq!(client.query("select count(*) from numbers")[0][0].as_int_any(), Some(400));
}

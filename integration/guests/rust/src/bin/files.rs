//! Files: everything inside of the directory it was given, nothing outside. The argument names the directory.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lunatic::{spawn_link, Mailbox, ProcessConfig};

fn inside(root: &Path) {
    let folder = root.join("a/b");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("päckchen.bin");
    let data: Vec<u8> = (0..3_000_000).map(|at| (at % 251) as u8).collect();
    fs::write(&path, &data).unwrap();
    assert_eq!(fs::read(&path).unwrap(), data);
    assert_eq!(fs::metadata(&path).unwrap().len(), 3_000_000);
    assert!(fs::metadata(&path).unwrap().modified().unwrap() <= SystemTime::now());

    let mut file = fs::OpenOptions::new().read(true).write(true).append(false).open(&path).unwrap();
    file.seek(SeekFrom::End(-2)).unwrap();
    file.write_all(b"end").unwrap();
    file.seek(SeekFrom::Current(-3)).unwrap();
    let mut end = String::new();
    file.read_to_string(&mut end).unwrap();
    assert_eq!(end, "end");
    file.set_len(10).unwrap();
    file.sync_all().unwrap();
    let mut appended = fs::OpenOptions::new().append(true).open(&path).unwrap();
    appended.write_all(b"more").unwrap();
    assert_eq!(fs::read(&path).unwrap()[10..], *b"more");

    let moved = root.join("moved.bin");
    fs::rename(&path, &moved).unwrap();
    assert!(!path.exists());
    assert_eq!(fs::copy(&moved, &path).unwrap(), 14);
    assert!(fs::remove_dir(&folder).is_err(), "it is not empty");
    for number in 0..300 {
        fs::write(folder.join(format!("{number}")), number.to_string()).unwrap();
    }
    let listed: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(listed.len(), 301);
    for path in listed {
        fs::remove_file(path).unwrap(); // what is removed while it is listed would hide others from the list
    }
    fs::remove_dir_all(root.join("a")).unwrap();
    let left: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [moved.clone()]);
    fs::remove_file(&moved).unwrap();
    assert!(fs::File::open(&moved).is_err());
}

fn outside(root: &Path) {
    for path in ["/etc/passwd", "/etc/luna-must-not-write-here"] {
        assert!(fs::metadata(path).is_err(), "{path} can be seen");
        assert!(fs::write(path, "x").is_err(), "{path} can be written");
    }
    assert!(fs::read_dir(root.join("../..")).is_err(), "the way up is open");
    assert!(fs::write(root.join("../escaped"), "x").is_err());
    let way_out = root.join("way-out");
    // A link to a place outside may be refused, or lead nowhere.
    #[allow(deprecated)]
    if fs::soft_link("/etc/passwd", &way_out).is_ok() {
        assert!(fs::read(&way_out).is_err());
        fs::remove_file(&way_out).unwrap();
    }
}

#[lunatic::main]
fn main(_: Mailbox<()>) {
    let root = std::env::args().nth(1).expect("a directory");
    inside(Path::new(&root));
    outside(Path::new(&root));

    // A child has the directories of its parent, those its config names, or none.
    fs::write(Path::new(&root).join("shared"), "for children").unwrap();
    let read = |root: String| fs::read_to_string(Path::new(&root).join("shared")).ok();
    let inherited = spawn_link!(@task |root = {root.clone()}| {
        fs::read_to_string(Path::new(&root).join("shared")).ok()
    });
    assert_eq!(inherited.result(), read(root.clone()));
    let mut config = ProcessConfig::new().unwrap();
    let none = spawn_link!(@task &config, |root = {root.clone()}| {
        fs::read_to_string(Path::new(&root).join("shared")).ok()
    });
    assert_eq!(none.result(), None);
    preopen(&mut config, &root);
    let given = spawn_link!(@task &config, |root = {root.clone()}| {
        fs::read_to_string(Path::new(&root).join("shared")).ok()
    });
    assert_eq!(given.result().as_deref(), Some("for children"));
}

/// The crate hides its own `preopen_dir` from today's compilers.
fn preopen(config: &mut ProcessConfig, directory: &str) {
    let id = config.id() as u64;
    unsafe { lunatic::host::api::wasi::config_preopen_dir(id, directory.as_ptr(), directory.len()) }
}

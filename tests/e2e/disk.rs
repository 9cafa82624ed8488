//! A disk that fails: the torrent waits, others go on, and it goes on by itself.

use super::process::{PIECE, fetches};
use super::{address, complete, seed, session, session_with};
use crate::support::binary::{Running, run};
use crate::support::{Tree, within};
use futures::StreamExt as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use swarm_core::AddTorrent;
use swarm_core::session::{Event, TorrentEvent};
use tempfile::tempdir;

/// A mount namespace of our own, with a small disk in memory at one folder.
struct SmallDisk {
    holder: Child,
    folder: PathBuf,
}

impl SmallDisk {
    /// With these options of its mount; `None` where the system does not let us make one.
    fn new(folder: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let script = "mount -t tmpfs -o $1 none \"$2\" && echo ready && exec cat";
        let mut holder = Command::new("unshare")
            .args(["-m", "sh", "-c", script, "sh", options])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut said = [0; 6];
        let out = holder.stdout.as_mut().expect("piped");
        let ready = std::io::Read::read_exact(out, &mut said);
        let disk = Self { holder, folder: folder.to_owned() };
        if ready.is_err() {
            eprintln!("NOT RUN: no mount namespace");
            return None;
        }
        Some(disk)
    }

    /// The same command, in the namespace.
    fn within(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()));
        // Entered by path from inside: else it would be the folder under the disk.
        inside.args(["sh", "-c", "cd \"$1\" && shift && exec \"$@\"", "sh"]);
        inside.arg(command.get_current_dir().expect("every command has its folder"));
        inside.arg(command.get_program()).args(command.get_args());
        inside.env_clear().stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                inside.env(name, value);
            }
        }
        inside
    }

    fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{options}")]).arg(&self.folder);
        mount.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
        assert!(run(&mut self.within(&mount)).status.success());
    }

    /// How the folder is seen from outside.
    fn seen(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.folder.strip_prefix("/").expect("absolute"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_waited_for_and_then_it_goes_on_by_itself() {
    let (there, home) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::file("large", 6_000_000);
    let giver = session().await;
    let given = seed(&giver, &tree.metainfo(PIECE), &tree.write(there.path())).await;
    let fetch = fetches(home.path(), &tree, address(&giver));
    tokio::task::spawn_blocking(move || {
        let Some(disk) = SmallDisk::new(&home.path().join("out"), "size=3m") else { return };
        let mut running = Running::start(&mut disk.within(&fetch()));
        let told = running.event("suspended");
        assert_eq!(told["code"], 5, "{told}");
        assert!(told["message"].as_str().is_some_and(|text| text.contains("No space left")));
        disk.remount("size=20m");
        running.event("recovered");
        running.event("done");
        assert_eq!(running.wait(), Some(0));
        tree.assert_lies_in(&disk.seen());
    })
    .await
    .unwrap();
    let twice = given.stats().uploaded.saturating_sub(6_000_000);
    assert!(twice < 6_000_000, "{twice} bytes were sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_that_stays_full_ends_a_fetch_with_its_code_and_the_same_line_goes_on() {
    let (there, home) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::file("large", 6_000_000);
    let giver = session().await;
    seed(&giver, &tree.metainfo(PIECE), &tree.write(there.path())).await;
    let fetch = fetches(home.path(), &tree, address(&giver));
    tokio::task::spawn_blocking(move || {
        let Some(disk) = SmallDisk::new(&home.path().join("out"), "size=3m") else { return };
        let mut first = fetch();
        first.args(["--stall-timeout", "1s"]);
        let ended = run(&mut disk.within(&first));
        assert_eq!(ended.status.code(), Some(5), "{}", String::from_utf8_lossy(&ended.stderr));
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(said.contains("hint: free some space"), "{said}");
        disk.remount("size=20m");
        assert!(run(&mut disk.within(&fetch())).status.success());
        tree.assert_lies_in(&disk.seen());
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_out_of_inodes_is_waited_for_as_a_full_one_is() {
    let (there, home) = (tempdir().unwrap(), tempdir().unwrap());
    let names: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let files: Vec<(&str, usize)> = names.iter().map(|name| (&**name, 20_000)).collect();
    let tree = Tree::folder("numerous", &files);
    let giver = session().await;
    seed(&giver, &tree.metainfo(PIECE), &tree.write(there.path())).await;
    let fetch = fetches(home.path(), &tree, address(&giver));
    tokio::task::spawn_blocking(move || {
        let Some(disk) = SmallDisk::new(&home.path().join("out"), "nr_inodes=12") else { return };
        let mut running = Running::start(&mut disk.within(&fetch()));
        assert_eq!(running.event("suspended")["code"], 5);
        disk.remount("nr_inodes=1000");
        running.event("recovered");
        assert_eq!(running.wait(), Some(0));
        tree.assert_lies_in(&disk.seen());
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_written_at_all_is_told_of_at_once_and_the_same_line_goes_on() {
    let (there, home) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::file("refused", 300_000);
    let giver = session().await;
    seed(&giver, &tree.metainfo(PIECE), &tree.write(there.path())).await;
    let fetch = fetches(home.path(), &tree, address(&giver));
    tokio::task::spawn_blocking(move || {
        let Some(disk) = SmallDisk::new(&home.path().join("out"), "ro") else { return };
        let ended = run(&mut disk.within(&fetch()));
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(6), "{said}");
        assert!(said.contains("Read-only file system"), "{said}");
        disk.remount("rw");
        assert!(run(&mut disk.within(&fetch())).status.success());
        tree.assert_lies_in(&disk.seen());
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_room_for_what_is_remembered_ends_no_fetch_and_leaves_no_half_record() {
    let (there, home) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::file("forgotten", 300_000);
    let giver = session().await;
    seed(&giver, &tree.metainfo(PIECE), &tree.write(there.path())).await;
    let fetch = fetches(home.path(), &tree, address(&giver));
    tokio::task::spawn_blocking(move || {
        let Some(disk) = SmallDisk::new(&home.path().join(".xdg"), "size=4k") else { return };
        fs::write(disk.seen().join("filler"), [0; 4096]).unwrap();
        let done = run(&mut disk.within(&fetch()));
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        tree.assert_lies_in(&home.path().join("out"));
        let kept = fs::read_dir(disk.seen().join("swarm/verified")).map(Iterator::count);
        assert!(matches!(kept, Ok(0) | Err(_)), "{kept:?}");
    })
    .await
    .unwrap();
}

/// The command with system calls that fail: this binary makes its own, past the C library.
fn failing(command: &Command, rules: &[&str]) -> Option<Command> {
    let mut traced = Command::new("strace");
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    if !works.is_ok_and(|done| done.status.success()) {
        eprintln!("NOT RUN: no strace");
        return None;
    }
    traced.args(["-f", "--seccomp-bpf", "-o", "/dev/null"]);
    let calls: Vec<&str> = rules.iter().filter_map(|rule| rule.split(':').next()).collect();
    traced.arg(format!("--trace={}", calls.join(",")));
    traced.args(rules.iter().map(|rule| format!("--inject={rule}")));
    traced.arg(command.get_program()).args(command.get_args());
    traced.env_clear().stdin(Stdio::null());
    traced.current_dir(command.get_current_dir().expect("every command has its folder"));
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            traced.env(name, value);
        }
    }
    Some(traced)
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_fail_now_and_then_cost_time_and_no_byte() {
    let (there, home) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::folder("flaky", &[("a", 900_000), ("b/c", 700_001)]);
    let giver = session_with("127.0.0.1:0", |config| config.up_limit = Some(2_000_000)).await;
    seed(&giver, &tree.metainfo(PIECE), &tree.write(there.path())).await;
    let fetch = fetches(home.path(), &tree, address(&giver));
    tokio::task::spawn_blocking(move || {
        for rule in ["pwritev:error=EIO:when=3", "pwritev:error=EROFS:when=2..3"] {
            let Some(mut flaky) = failing(&fetch(), &[rule]) else { return };
            let mut running = Running::start(&mut flaky);
            assert_eq!(running.event("suspended")["code"], 6, "{rule}");
            running.event("recovered");
            assert_eq!(running.wait(), Some(0), "{rule}");
            tree.assert_lies_in(&home.path().join("out"));
            fs::remove_dir_all(home.path().join("out")).unwrap();
        }
    })
    .await
    .unwrap();
}

/// Makes `fdatasync` fail until a file is there.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (access(getenv("DISK_IS_WELL"), F_OK) != 0) { errno = EIO; return -1; }
    return real(fd);
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_to_sync_is_not_believed_and_tried_again() {
    let (there, home) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::folder("synced", &[("a", 500_000), ("b", 300_000)]);
    let giver = session().await;
    seed(&giver, &tree.metainfo(PIECE), &tree.write(there.path())).await;
    let fetch = fetches(home.path(), &tree, address(&giver));
    tokio::task::spawn_blocking(move || {
        let [code, shim, well] = ["shim.c", "shim.so", "well"].map(|name| home.path().join(name));
        fs::write(&code, SHIM).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&code).arg("-ldl");
        if !cc.status().is_ok_and(|status| status.success()) {
            eprintln!("NOT RUN: no C compiler");
            return;
        }
        let mut fetch = fetch();
        fetch.env("LD_PRELOAD", &shim).env("DISK_IS_WELL", &well);
        let mut running = Running::start(&mut fetch);
        let told = running.event("suspended");
        assert_eq!(told["code"], 6, "{told}");
        let out = home.path().join("out");
        assert!(!out.join("synced").exists(), "nothing has its final name");
        fs::write(&well, "").unwrap();
        running.event("done");
        assert_eq!(running.wait(), Some(0));
        tree.assert_lies_in(&out);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_goes_while_it_is_served_is_served_again_when_it_is_back() {
    type Damage = dyn Fn(&Path) + Send + Sync;
    let damages: [&Damage; 4] = [
        &|path| fs::remove_file(path).unwrap(),
        &|path| drop(fs::File::create(path).unwrap()),
        &|path| {
            fs::rename(path, path.with_extension("away")).unwrap();
            symlink(path.with_extension("away"), path).unwrap();
        },
        &|path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
    ];
    for (number, damage) in damages.iter().enumerate() {
        let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
        let tree = Tree::folder("served", &[("a", 131_072), ("b", 131_072), ("c", 131_072)]);
        let metainfo = tree.metainfo(PIECE);
        let (giver, taker) = (session().await, session().await);
        let content = tree.write(there.path());
        let given = seed(&giver, &metainfo, &content).await;
        let mut told = given.events();
        damage(&content.join("b"));
        let handle = taker.add(AddTorrent::fetch(metainfo, here.path())).await.unwrap();
        let done = |event: &Event| matches!(event, Event::Torrent(TorrentEvent::PieceDone { .. }));
        let pieces = handle.events().filter(|event| std::future::ready(done(event))).take(8);
        handle.add_peers(vec![address(&giver)]);
        assert_eq!(within("the other files", pieces.count()).await, 8, "number {number}");
        within("a word", async {
            while !matches!(told.next().await, Some(Event::Unreadable(_)) | None) {}
        })
        .await;
        let _ = fs::remove_dir(content.join("b"));
        let _ = fs::remove_file(content.join("b"));
        tree.write(there.path());
        complete(&handle).await;
        assert!((0..3).all(|file| tree.has(here.path(), file)), "number {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_torrent_waits_for_its_disk_and_another_is_not_held_up() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let (giver, taker) = (session().await, session_with("127.0.0.1:0", |_| {}).await);
    let [bad, good] = ["bad", "good"].map(|name| Tree::file(name, 400_000));
    for tree in [&bad, &good] {
        seed(&giver, &tree.metainfo(PIECE), &tree.write(there.path())).await;
    }
    let fetch = |tree: &Tree, folder: &str| {
        AddTorrent::fetch(tree.metainfo(PIECE), here.path().join(folder))
    };
    let waits = taker.add(fetch(&bad, "one")).await.unwrap();
    let mut told = waits.events();
    // Where its content goes there is something else all of a sudden.
    fs::create_dir(here.path().join("one/bad.part")).unwrap();
    waits.add_peers(vec![address(&giver)]);
    within("trouble", async {
        while !matches!(told.next().await, Some(Event::Suspended { .. }) | None) {}
    })
    .await;
    assert!(waits.stats().trouble.is_some());
    complete(&taker.add(fetch(&good, "two").peers([address(&giver)])).await.unwrap()).await;
    assert!(good.has(&here.path().join("two"), 0));
    fs::remove_dir(here.path().join("one/bad.part")).unwrap();
    complete(&waits).await;
    assert!(bad.has(&here.path().join("one"), 0) && waits.stats().trouble.is_none());
}

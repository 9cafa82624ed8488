//! The `swarm` binary under test: built once, run with nothing of the user's environment.

use super::PATIENCE;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Where the binary is: `SWARM_BIN`, or what cargo says it has just built. (Cargo tells only
/// the tests of a binary's own crate where it lies.)
pub(crate) fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match env::var_os("SWARM_BIN") {
        Some(given) => given.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let done = Command::new(env!("CARGO"))
        .args(["build", "-p", "swarm-cli", "--bin", "swarm", "--message-format=json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts");
    assert!(done.status.success(), "the binary does not build");
    String::from_utf8_lossy(&done.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| {
            let named = message["target"]["name"] == "swarm";
            message["executable"].as_str().filter(|_| named).map(PathBuf::from)
        })
        .expect("cargo names the binary")
}

/// A command that sees neither the user's settings nor a terminal, in the folder `home`.
pub(crate) fn command(home: &Path) -> Command {
    clean(path(), home)
}

/// What a user's shell makes of a line typed into it in the folder `home`.
pub(crate) fn shell(line: &str, home: &Path) -> Command {
    let mut command = clean(Path::new("/bin/sh"), home);
    command.args(["-c", line]);
    command
}

fn clean(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).current_dir(home);
    for variable in ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"] {
        command.env(variable, home.join(".xdg"));
    }
    command.stdin(Stdio::null());
    command
}

/// Runs to the end; kills and fails the test when that takes too long.
pub(crate) fn run(command: &mut Command) -> Output {
    run_into(Stdio::piped(), command)
}

/// The same, its standard output going where the caller says.
pub(crate) fn run_into(stdout: Stdio, command: &mut Command) -> Output {
    let child = command.stdout(stdout).stderr(Stdio::piped()).spawn().expect("starts");
    // The command keeps a copy of what it was given, which would hold a pipe open.
    command.stdout(Stdio::null());
    let (tell, told) = sync_channel(1);
    let id = child.id();
    thread::spawn(move || tell.send(child.wait_with_output()));
    match told.recv_timeout(PATIENCE) {
        Ok(output) => output.expect("output is readable"),
        Err(_) => {
            signal(id, "KILL");
            panic!("{command:?} did not end in {PATIENCE:?}");
        }
    }
}

/// A process that goes on until it is stopped, its standard output line by line.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    log: Receiver<String>,
}

/// Lines of output that may wait to be looked at.
const LINES_MAX: usize = 10_000;

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let (tell, lines) = sync_channel(LINES_MAX);
        let out: ChildStdout = child.stdout.take().expect("piped");
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        // Its log is read too, or the pipe would fill and it would stop.
        let mut stderr = child.stderr.take().expect("piped");
        let (tell_log, log) = sync_channel(1);
        thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            // Captured by the test harness, shown when the test fails.
            eprintln!("{text}");
            let _ = tell_log.send(text);
        });
        Self { child, lines, log }
    }

    /// The first line from now on that `wanted` takes.
    pub(crate) fn line<T>(&mut self, wanted: impl Fn(&str) -> Option<T>) -> T {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    if let Some(found) = wanted(&line) {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no such line in {PATIENCE:?}"),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("no such line, and it ended: {:?}", self.child.wait())
                }
            }
        }
    }

    /// The first JSON event of this name from now on.
    pub(crate) fn event(&mut self, name: &str) -> serde_json::Value {
        self.line(|line| {
            let event: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
            (event["event"] == name).then_some(event)
        })
    }

    /// Lets it go on for this long; false when it ended before.
    #[expect(clippy::disallowed_methods, reason = "a process runs in real time")]
    pub(crate) fn runs_for(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end; the exit code, if it was not killed.
    pub(crate) fn wait(self) -> Option<i32> {
        self.end().0
    }

    /// The same, with all it wrote to standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        // The output ends when the process does; what it still says is let go.
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        let log = self.log.recv_timeout(PATIENCE).expect("its log ends with it");
        (self.child.wait().expect("it is ours").code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(id: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &id.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "signal {name}");
}

//! Our binary as a child process: its output by line, its end, and a directory for its files.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take on a busy machine before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn gripfast() -> Command {
    Command::new(env!("CARGO_BIN_EXE_gripfast"))
}

/// What a command said, and how it ended.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command that ends by itself.
pub(crate) fn ran(command: &mut Command) -> Done {
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    Done {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// A command that goes on until it is told to end; it is killed with the test.
pub(crate) struct Process {
    child: Child,
    output: Receiver<String>,
    seen: Vec<String>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (lines, output) = channel();
        forward(child.stdout.take().expect("piped"), lines.clone());
        forward(child.stderr.take().expect("piped"), lines);
        Self {
            child,
            output,
            seen: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next line, of either stream, that contains `text`.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        loop {
            let Ok(line) = self.output.recv_timeout(PATIENCE) else {
                panic!("no line with {text:?} after:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// All lines so far.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        self.seen.extend(self.output.try_iter());
        self.seen.clone()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the process is there");
    }

    /// Waits for the end; `None` when a signal ended it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let mut status = None;
        until("the process has ended", || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        // The streams end with the process, and so does the iteration.
        self.seen.extend(self.output.iter());
        status.and_then(|status| status.code())
    }
}

impl Drop for Process {
    #[expect(
        clippy::print_stderr,
        reason = "a test that fails shows what the process said"
    )]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", self.lines().join("\n"));
        }
    }
}

fn forward(stream: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
}

/// Waits for something that nobody tells us of.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes give no event to wait for"
)]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let pause = Duration::from_millis(10);
    for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
        if condition() {
            return;
        }
        thread::sleep(pause);
    }
    panic!("still not so: {what}");
}

/// A directory that is gone with the test; its path is short enough for Unix sockets.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gripfast-cli-{}-{name}", std::process::id()));
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn file(&self, name: &str, text: impl AsRef<str>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text.as_ref()).expect("a test file");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(&self.0));
    }
}

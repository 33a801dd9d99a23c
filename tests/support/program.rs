//! Runs the program under test in a process group of its own, with limits, and looks at its tree.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{pause, within};

/// A run that takes longer has failed.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// The program: the one just built, or `PGCOPYDB_BIN`.
fn program() -> PathBuf {
    std::env::var_os("PGCOPYDB_BIN").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_pgcopydb")),
        PathBuf::from,
    )
}

/// A temporary folder; what is in it goes at the end of the test.
pub struct WorkDir(tempfile::TempDir);

impl WorkDir {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// The work directory for `--dir`, not made yet.
    pub fn path(&self) -> PathBuf {
        self.0.path().join("run")
    }

    /// The same as an argument.
    pub fn dir(&self) -> String {
        self.path()
            .to_str()
            .expect("temporary folders are UTF-8")
            .to_owned()
    }

    /// A file beside it, with that content.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("room for it");
        path.to_str()
            .expect("temporary folders are UTF-8")
            .to_owned()
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Output {
    /// Its exit status; 128+n where signal n ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Output {
    /// Asserts the exit status; shows what was printed where it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n{}{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that all of it was printed, on either stream.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            let there = self.stdout.contains(word) || self.stderr.contains(word);
            assert!(
                there,
                "nothing about {word:?} in\n{}{}",
                self.stdout, self.stderr
            );
        }
        self
    }
}

/// A run in the background.
pub struct Running {
    child: Child,
    files: tempfile::TempDir,
    begun: Instant,
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    start(arguments).wait()
}

/// Starts the program.
pub fn start(arguments: &[&str]) -> Running {
    start_with(arguments, &[])
}

/// Where a program of the package is.
pub fn path_of(name: &str) -> PathBuf {
    program().with_file_name(name)
}

/// Starts another program of the package, such as `pgcopy`.
pub fn start_program(name: &str, arguments: &[&str]) -> Running {
    start_program_with(name, arguments, &[])
}

/// The same with more in its environment.
pub fn start_program_with(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
    let mut command = Command::new(path_of(name));
    command.args(arguments).envs(environment.iter().copied());
    spawn(command)
}

/// Starts the program with more in its environment.
pub fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Running {
    let mut command = Command::new(program());
    command.args(arguments).envs(environment.iter().copied());
    spawn(command)
}

/// Runs the program in a file system of its own, which the shell commands `before` have prepared:
/// mounts in there are seen by this run alone. None, and a line about it, where that is not allowed.
pub fn run_among_mounts(before: &str, arguments: &[&str]) -> Option<Output> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "sh", "-ec"]);
        command
    };
    let allowed = unshare().arg("mount -t tmpfs none /mnt").output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        println!("skipped: mounts are not allowed here");
        return None;
    }
    let mut command = unshare();
    command
        .arg(format!("{before}\nexec \"$0\" \"$@\""))
        .arg(program())
        .args(arguments);
    Some(spawn(command).wait())
}

fn spawn(mut command: Command) -> Running {
    let files = tempfile::tempdir().expect("a temporary folder");
    let file = |name| File::create(files.path().join(name)).expect("room for it");
    let child = command
        .env("XDG_DATA_HOME", files.path())
        .stdin(Stdio::null())
        .stdout(file("stdout"))
        .stderr(file("stderr"))
        .process_group(0)
        .spawn()
        .expect("the program under test");
    Running {
        child,
        files,
        begun: Instant::now(),
    }
}

impl Running {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// Sends a signal to the top process alone.
    pub fn kill(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Every living process of the run but the top one.
    pub fn children(&self) -> Vec<i32> {
        let top = self.pid();
        let mut all = descendants(top);
        all.extend(
            processes()
                .into_iter()
                .filter(|p| p.group == top)
                .map(|p| p.pid),
        );
        all.remove(&top);
        all.into_iter().collect()
    }

    /// The children whose title holds that text.
    pub fn children_named(&self, text: &str) -> Vec<i32> {
        self.children()
            .into_iter()
            .filter(|pid| title(*pid).contains(text))
            .collect()
    }

    /// What it has said on stderr so far.
    pub fn said(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.files.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for the end; kills the whole tree and fails after the limit.
    pub fn wait(mut self) -> Output {
        self.wait_within(RUN_LIMIT)
    }

    /// The same with another limit; the run can still be asked for its children.
    pub fn wait_within(&mut self, limit: Duration) -> Output {
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                break status;
            }
            if Instant::now() > end {
                let doing = self.doing();
                self.kill_tree();
                let said = self.said();
                panic!("still running after {limit:?}:\n{said}\n{doing}");
            }
            pause();
        };
        Output {
            code: status
                .code()
                .or(status.signal().map(|n| 128 + n))
                .unwrap_or(-1),
            stdout: self.read("stdout"),
            stderr: self.said(),
            took: self.begun.elapsed(),
        }
    }

    /// What each of its processes is at, for the message of a run that does not end.
    fn doing(&self) -> String {
        let at = |pid: i32| {
            let of = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
            let (wait, call) = (of("wchan"), of("syscall"));
            format!(
                "{pid} {} in {} {}",
                title(pid),
                wait.unwrap_or_default(),
                call.unwrap_or_default()
            )
        };
        self.children().into_iter().map(at).collect()
    }

    /// Every process of the run is gone within the limit.
    pub fn is_gone_within(&self, limit: Duration) -> bool {
        let known = self.children();
        within(limit, || {
            self.children().is_empty() && !known.iter().any(|pid| lives(*pid))
        })
    }

    fn kill_tree(&mut self) {
        for pid in self.children() {
            signal(pid, Signal::SIGKILL);
        }
        let _ = self.child.kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // a failed test leaves nothing behind, orphans of a dead supervisor included
        self.kill_tree();
        let _ = self.child.wait();
    }
}

/// One line of the process table.
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
}

/// Living processes; zombies are not.
fn processes() -> Vec<Process> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        if let Some((parent, group)) = stat(pid) {
            found.push(Process { pid, parent, group });
        }
    }
    found
}

fn stat(pid: i32) -> Option<(i32, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some((parent, group))
}

/// The living descendants of a process.
pub fn descendants(top: i32) -> BTreeSet<i32> {
    let all = processes();
    let mut found = BTreeSet::new();
    let mut todo = vec![top];
    while let Some(parent) = todo.pop() {
        for child in all.iter().filter(|p| p.parent == parent) {
            if found.insert(child.pid) {
                todo.push(child.pid);
            }
        }
    }
    found
}

/// Is it there, and no zombie?
pub fn lives(pid: i32) -> bool {
    stat(pid).is_some()
}

/// The title of a process as `ps` shows it.
pub fn title(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Does the environment that a process shows hold that text? A tool's may, it is told passwords so.
pub fn environment_shows(pid: i32, text: &str) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    !matches!(name.trim_end(), "pg_dump" | "pg_restore" | "pg_dumpall")
        && String::from_utf8_lossy(&bytes).contains(text)
}

/// Sends a signal; that the process is gone already is no matter.
pub fn signal(pid: i32, which: Signal) {
    let _ = nix::sys::signal::kill(Pid::from_raw(pid), which);
}

/// The System V queues and semaphore sets there are, as lines of /proc/sysvipc.
pub fn sysv_objects() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for kind in ["msg", "sem"] {
        let text = fs::read_to_string(Path::new("/proc/sysvipc").join(kind)).unwrap_or_default();
        for line in text.lines().skip(1) {
            let mut fields = line.split_whitespace();
            let (key, id) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
            found.insert(format!("{kind} {key} {id}"));
        }
    }
    found
}

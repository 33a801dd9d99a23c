//! A throw-away PostgreSQL server: made from a template, stopped and removed at the end.
//!
//! Beside each server stands a keeper, a shell that reads from a pipe this process
//! holds: when the pipe closes (`Drop`, or the death of the test program however it
//! came), the keeper stops the server by pid and removes its folder.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::within;

/// A server that takes longer to start or stop has failed.
const SERVER_LIMIT: Duration = Duration::from_secs(60);
/// Ports are taken from here on, all below the ephemeral range.
const FIRST_PORT: u32 = 21_000;
const PORTS: u32 = 10_000;

/// One server of our own.
pub struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    port: u16,
    keeper: Child,
}

/// What the configuration of a server ends with.
fn settings(folder: &Path, port: u16, bin: &Path) -> String {
    let mut text = format!(
        "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\n",
        folder.display()
    );
    text.push_str(
        "wal_level = logical\nmax_wal_senders = 20\nmax_replication_slots = 20\n\
         max_connections = 200\nmax_prepared_transactions = 10\nshared_buffers = 64MB\nfsync = off\nfull_page_writes = off\n\
         timezone = 'UTC'\nlog_timezone = 'UTC'\nlc_messages = 'C'\nlogging_collector = off\n\
         log_line_prefix = '%m [%p] %q%u@%d %a '\n",
    );
    if knows_output_plugin_libraries(bin) {
        text.push_str("output_plugin_libraries = 'pgoutput, test_decoding, wal2json'\n");
    }
    text
}

fn knows_output_plugin_libraries(bin: &Path) -> bool {
    let known = Command::new(bin.join("postgres"))
        .arg("--describe-config")
        .output();
    known.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("output_plugin_libraries"))
}

/// The folder of the server programs: `PG_BIN`, else the distribution's newest.
fn default_bin() -> PathBuf {
    if let Some(bin) = std::env::var_os("PG_BIN") {
        return PathBuf::from(bin);
    }
    let newest = installed().into_iter().next_back();
    newest
        .map(|(_, bin)| bin)
        .expect("no PostgreSQL server: apt-get install postgresql")
}

/// Majors of the distribution that are installed, oldest first.
fn installed() -> Vec<(u32, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
    {
        let bin = entry.path().join("bin");
        let major = entry.file_name().to_string_lossy().parse();
        if let (Ok(major), true) = (major, bin.join("initdb").exists()) {
            found.push((major, bin));
        }
    }
    found.sort();
    found
}

/// The server programs of one major, also where `ci/lib/pgversions.sh` puts them.
fn bin_of(major: &str) -> Option<PathBuf> {
    let home = std::env::var_os("PGC_HOME").map_or_else(default_home, PathBuf::from);
    let places = [
        PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")),
        home.join(format!("deb{major}/usr/lib/postgresql/{major}/bin")),
        home.join(format!("npm{major}/native/bin")),
    ];
    places.into_iter().find(|bin| bin.join("initdb").exists())
}

fn default_home() -> PathBuf {
    if nix::unistd::Uid::effective().is_root() {
        return PathBuf::from("/opt/pgcluster");
    }
    PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/pgcluster")
}

/// A client program: the distribution's newest, else the one in the path.
pub fn client(name: &str) -> PathBuf {
    let newest = installed()
        .into_iter()
        .next_back()
        .map(|(_, bin)| bin.join(name));
    newest
        .filter(|p| p.exists())
        .unwrap_or_else(|| PathBuf::from(name))
}

/// A command that runs as the servers' owner: ourselves, or postgres for root.
fn as_owner(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir("/")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    if nix::unistd::Uid::effective().is_root() {
        let user = nix::unistd::User::from_name("postgres").ok().flatten();
        let user = user.expect("root needs a user postgres to run servers as");
        command
            .uid(user.uid.as_raw())
            .gid(user.gid.as_raw())
            .env("HOME", "/");
    }
    command
}

fn must(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}{errors}",
        output.status
    );
    text
}

/// A private folder that belongs to the servers' owner, and the keeper that removes it.
fn kept_folder() -> (PathBuf, Child) {
    let made = must(as_owner("mktemp").args(["-d", "/tmp/pgtest.XXXXXX"]));
    let folder = PathBuf::from(made.trim_end());
    let script = "trap '' INT TERM HUP QUIT; cat >/dev/null
        if pid=$(head -n 1 data/postmaster.pid 2>/dev/null); then
            kill -QUIT $pid; n=0
            while kill -0 $pid 2>/dev/null && [ $n -lt 100 ]; do sleep 0.05; n=$((n + 1)); done
            kill -0 $pid 2>/dev/null && kill -9 $pid
        fi 2>/dev/null
        cd / && rm -rf \"$0\"";
    let keeper = as_owner("sh")
        .args(["-c", script])
        .arg(&folder)
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh");
    (folder, keeper)
}

/// The data directory that others are copied from, one per set of server programs.
fn template(bin: &Path) -> PathBuf {
    static MADE: OnceLock<Mutex<HashMap<PathBuf, (PathBuf, Child)>>> = OnceLock::new();
    let mut made = MADE
        .get_or_init(Mutex::default)
        .lock()
        .expect("no test panics in here");
    let (folder, _keeper) = made.entry(bin.to_path_buf()).or_insert_with(|| {
        let (folder, keeper) = kept_folder();
        let arguments = "-U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync";
        must(
            as_owner(bin.join("initdb"))
                .arg("-D")
                .arg(folder.join("template"))
                .args(arguments.split(' ')),
        );
        (folder, keeper)
    });
    folder.join("template")
}

/// A port nobody listens on; tests of one program never get the same.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT + (std::process::id().wrapping_mul(37) + step) % PORTS;
        let port = u16::try_from(port).expect("ports of that range fit");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

impl Cluster {
    /// A running server of the default version.
    pub fn start() -> Self {
        Self::from_bin(default_bin())
    }

    /// A running server of that major; none, and a line about it, where it is not here.
    pub fn with_version(major: &str) -> Option<Self> {
        let bin = bin_of(major);
        if bin.is_none() {
            println!("skipped: there is no PostgreSQL {major} here");
        }
        bin.map(Self::from_bin)
    }

    fn from_bin(bin: PathBuf) -> Self {
        let template = template(&bin);
        let cluster = Self::copy_of(bin, &template);
        cluster.start_again();
        cluster
    }

    /// A server with a copy of that data directory, not started yet.
    fn copy_of(bin: PathBuf, data: &Path) -> Self {
        let (folder, keeper) = kept_folder();
        must(as_owner("cp").arg("-a").arg(data).arg(folder.join("data")));
        let port = free_port();
        let cluster = Self {
            folder,
            bin,
            port,
            keeper,
        };
        cluster.append(
            "postgresql.conf",
            &settings(&cluster.folder, port, &cluster.bin),
        );
        cluster
    }

    /// A standby of this server, which stops for a moment to be copied. What stands in the way of its
    /// logical slots is not removed here, as a slot of its own tells what it needs.
    pub fn standby(&self) -> Self {
        self.stop_fast();
        let standby = Self::copy_of(self.bin.clone(), &self.folder.join("data"));
        self.start_again();
        self.sql(
            "postgres",
            "select pg_create_physical_replication_slot('standby', true)",
        );
        standby.append(
            "postgresql.conf",
            &format!(
                "primary_conninfo = 'host=127.0.0.1 port={} user=postgres'\nprimary_slot_name = 'standby'\n\
                 hot_standby_feedback = on\nwal_receiver_status_interval = 1s\n",
                self.port
            ),
        );
        standby.append("standby.signal", "");
        standby.start_again();
        standby
    }

    /// Makes a primary of a standby.
    pub fn promote(&self) {
        self.pg_ctl(&["promote"]);
    }

    fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    fn pg_ctl(&self, arguments: &[&str]) {
        let mut command = as_owner(self.bin.join("pg_ctl"));
        command
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-s", "-w", "-t", "60"]);
        let output = command.args(arguments).output().expect("pg_ctl");
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        assert!(output.status.success(), "pg_ctl {arguments:?}\n{log}");
    }

    fn append(&self, file: &str, text: &str) {
        let mut tee = as_owner("tee")
            .arg("-a")
            .arg(self.folder.join("data").join(file))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("tee");
        let mut input = tee.stdin.take().expect("piped");
        input.write_all(text.as_bytes()).expect("tee reads");
        drop(input);
        assert!(tee.wait().expect("tee").success());
    }

    /// Adds a line to `postgresql.conf` and reloads; some settings need `restart`.
    pub fn conf(&self, line: &str) {
        self.append("postgresql.conf", &format!("{line}\n"));
        self.pg_ctl(&["reload"]);
    }

    /// Puts a line first in `pg_hba.conf` and reloads.
    pub fn hba(&self, line: &str) {
        let file = self.folder.join("data/pg_hba.conf");
        let old = fs::read_to_string(&file).expect("pg_hba.conf");
        must(as_owner("truncate").args(["-s", "0"]).arg(&file));
        self.append("pg_hba.conf", &format!("{line}\n{old}"));
        self.pg_ctl(&["reload"]);
    }

    /// Stops in the ordinary way and starts again.
    pub fn restart(&self) {
        self.stop_fast();
        self.start_again();
    }

    /// Stops in the ordinary way: sessions are ended.
    pub fn stop_fast(&self) {
        self.stop("fast");
    }

    /// Starts a stopped or killed server.
    pub fn start_again(&self) {
        self.pg_ctl(&["-l", self.log().to_str().expect("ours is UTF-8"), "start"]);
    }

    /// Stops the way a crash would, without writing anything.
    pub fn stop_immediate(&self) {
        self.stop("immediate");
    }

    fn stop(&self, mode: &str) {
        self.pg_ctl(&["-m", mode, "stop"]);
    }

    /// kill -9 of the whole server; it is gone on return.
    pub fn kill9(&self) {
        let file = self.folder.join("data/postmaster.pid");
        let text = fs::read_to_string(file).expect("a running server");
        let pid = text
            .lines()
            .next()
            .and_then(|l| l.parse().ok())
            .expect("a pid");
        let group = super::program::descendants(pid);
        for pid in group.iter().copied().chain([pid]) {
            super::program::signal(pid, nix::sys::signal::Signal::SIGKILL);
        }
        assert!(
            within(SERVER_LIMIT, || !super::program::lives(pid)),
            "it outlives kill -9"
        );
    }

    /// The major version of this server.
    pub fn major(&self) -> u32 {
        let number: u32 = self
            .sql("postgres", "show server_version_num")
            .parse()
            .expect("a number");
        number / 10_000
    }

    /// The URI of a database for the superuser.
    pub fn uri(&self, database: &str) -> String {
        self.uri_as(database, "postgres", "")
    }

    /// The URI of a database for a role; no password where it is empty.
    pub fn uri_as(&self, database: &str, role: &str, password: &str) -> String {
        let colon = if password.is_empty() { "" } else { ":" };
        format!(
            "postgres://{role}{colon}{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    fn psql(&self, database: &str, input: &Path) -> Result<String, String> {
        let output = Command::new(client("psql"))
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"])
            .arg(&self.folder)
            .args(["-p", &self.port.to_string(), "-d", database, "-f"])
            .arg(input)
            .env_remove("PGOPTIONS")
            .output()
            .expect("psql");
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout)
                .trim_end()
                .to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs SQL as superuser; what psql says without headings, or its complaint.
    pub fn try_sql(&self, database: &str, text: &str) -> Result<String, String> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("room for it");
        self.psql(database, file.path())
    }

    /// The same for SQL that cannot fail.
    pub fn sql(&self, database: &str, text: &str) -> String {
        self.try_sql(database, text)
            .unwrap_or_else(|e| panic!("{database}: {text}\n{e}"))
    }

    /// Runs a file of SQL as superuser.
    pub fn psql_file(&self, database: &str, file: &Path) -> String {
        self.psql(database, file)
            .unwrap_or_else(|e| panic!("{}: {e}", file.display()))
    }

    /// The schema of a database as `pg_dump` prints it, without lines that differ each time.
    pub fn dump_schema(&self, database: &str) -> String {
        let output = Command::new(client("pg_dump"))
            .args(["-s", "-d", &self.uri(database)])
            .output()
            .expect("pg_dump");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let lines = text.lines().filter(|line| !line.contains("restrict "));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Makes a database; `options` as in `create database`.
    pub fn create_database(&self, name: &str, options: &str) {
        self.sql("postgres", &format!("create database \"{name}\" {options}"));
    }

    /// Waits until the query says `t`; false after the limit.
    pub fn wait_until(&self, database: &str, query: &str, limit: Duration) -> bool {
        within(limit, || {
            self.try_sql(database, query)
                .is_ok_and(|answer| answer == "t")
        })
    }

    /// No session of ours is left in that database.
    pub fn is_quiet(&self, database: &str) -> bool {
        let query = format!(
            "select count(*) = 0 from pg_stat_activity
              where datname = '{database}' and backend_type = 'client backend'"
        );
        self.wait_until("postgres", &query, super::PATIENCE)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

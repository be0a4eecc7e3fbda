//! A database server of a test's own: on loopback, in a folder of its own, gone with the test.
//!
//! Each test (a thread, with cargo test and with nextest) has at most one PostgreSQL and one MariaDB, started when it is
//! first wanted; its servers share it with a database each. Nothing is synced: what a test kills is a process, never the
//! machine. When the test's thread ends, however it does, the kernel kills what is left.

use crate::place::{free_port, kill_all, new_folder, remove};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a server may take to answer.
const START: Duration = Duration::from_secs(30);
/// How many ports are tried: another test may take one that was just free.
const ATTEMPTS: u32 = 5;
/// The user who owns everything; there is no password.
const USER: &str = "kamailio";

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    MariaDb,
}

/// A running server.
#[derive(Debug)]
pub struct Engine {
    /// Which.
    pub kind: Kind,
    /// Its TCP port on 127.0.0.1.
    pub port: u16,
    folder: PathBuf,
    server: Mutex<Option<Child>>,
    databases: AtomicU32,
}

thread_local! {
    static OF_THIS_TEST: RefCell<Vec<Arc<Engine>>> = const { RefCell::new(Vec::new()) };
}

/// A program as the user whom the server runs as, killed when the test's thread ends. Both servers refuse to be root.
fn as_its_user(program: &Path, user: &str) -> Command {
    let mut command = Command::new("setpriv");
    if let Some((uid, gid)) = user_instead_of_root(user) {
        command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdin(Stdio::null());
    command
}

/// Numbers of the user to be, if this is root: the packages make one for their server.
fn user_instead_of_root(user: &str) -> Option<(String, String)> {
    let own = std::fs::metadata("/proc/self").ok()?;
    if std::os::unix::fs::MetadataExt::uid(&own) != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let fields: Vec<&str> = users.lines().map(|l| l.split(':').collect()).find(|f: &Vec<&str>| f[0] == name)?;
        Some((fields.get(2)?.to_string(), fields.get(3)?.to_string()))
    };
    find(user).or_else(|| find("nobody")).or_else(|| Some(("65534".into(), "65534".into())))
}

/// A program of PostgreSQL: Debian keeps the server's out of the path.
fn postgres_program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs = versions.map(|v| v.path().join("bin").join(name)).filter(|p| p.exists());
    programs.max().unwrap_or_else(|| name.into())
}

fn run(mut command: Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?} cannot be run: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

impl Engine {
    /// The test's own.
    pub fn of_this_test(kind: Kind) -> Result<Arc<Self>, String> {
        OF_THIS_TEST.with_borrow_mut(|engines| {
            if let Some(engine) = engines.iter().find(|e| e.kind == kind) {
                return Ok(Arc::clone(engine));
            }
            let engine = Arc::new(Self::start(kind)?);
            engines.push(Arc::clone(&engine));
            Ok(engine)
        })
    }

    fn start(kind: Kind) -> Result<Self, String> {
        let folder = new_folder()?;
        if let Some((uid, gid)) = user_instead_of_root(kind.user()) {
            let ids = (uid.parse().ok(), gid.parse().ok());
            std::os::unix::fs::chown(&folder, ids.0, ids.1).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        let mut engine = Self { kind, port: 0, folder, server: Mutex::new(None), databases: AtomicU32::new(0) };
        if kind == Kind::Postgres {
            let mut initdb = as_its_user(&postgres_program("initdb"), kind.user());
            initdb.args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username", USER]);
            initdb.arg("-D").arg(engine.folder.join("data"));
            run(initdb)?;
        } else {
            let data = engine.folder.join("data");
            let mut mkdir = as_its_user(Path::new("mkdir"), kind.user());
            mkdir.arg(&data);
            run(mkdir)?;
        }
        let mut outcome = Ok(());
        for _ in 0..ATTEMPTS {
            engine.port = free_port();
            outcome = engine.start_again();
            if outcome.is_ok() {
                break;
            }
        }
        if kind == Kind::MariaDb && outcome.is_ok() {
            // It writes its first pages late, and does not start on what a kill leaves of them.
            engine.end("TERM");
            outcome = engine.start_again();
        }
        outcome.map(|()| engine)
    }

    fn server(&self) -> Command {
        let (data, user) = (self.folder.join("data"), self.kind.user());
        match self.kind {
            Kind::Postgres => {
                let mut server = as_its_user(&postgres_program("postgres"), user);
                server.arg("-D").arg(data).args(["-p", &self.port.to_string(), "-k"]).arg(&self.folder);
                for setting in [
                    "listen_addresses=127.0.0.1",
                    "fsync=off",
                    "full_page_writes=off",
                    "max_connections=300",
                    "shared_buffers=16MB",
                    "deadlock_timeout=100ms",
                    "dynamic_shared_memory_type=mmap",
                    "lc_messages=C",
                ] {
                    server.args(["-c", setting]);
                }
                server
            }
            Kind::MariaDb => {
                let mut server = as_its_user(Path::new("mariadbd"), user);
                // Without tables of privileges there is nothing to be made before the first start.
                server.args(["--no-defaults", "--skip-grant-tables", "--bind-address=127.0.0.1"]);
                server.arg(format!("--datadir={}", data.display())).arg(format!("--port={}", self.port));
                // A server that starts takes away what others have in a folder that they share.
                server.arg(format!("--tmpdir={}", self.folder.display()));
                for (option, file) in [("socket", "sock"), ("pid-file", "pid")] {
                    server.arg(format!("--{option}={}", self.folder.join(file).display()));
                }
                server.args(["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--max-connections=300"]);
                server.args(["--innodb-flush-log-at-trx-commit=1", "--innodb-use-native-aio=0", "--skip-log-bin"]);
                // As Debian's configuration has it.
                server.args(["--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci"]);
                server
            }
        }
    }

    /// Starts it again after [`Self::kill`], with the same data.
    pub fn start_again(&self) -> Result<(), String> {
        let path = self.folder.join("log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        let log = log.and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = log.map_err(|e| format!("{}: {e}", path.display()))?;
        let mut server = self.server();
        let child = server.stdout(out).stderr(err).spawn().map_err(|e| format!("{server:?} cannot be run: {e}"))?;
        *self.server.lock().expect("nobody panics with it") = Some(child);
        let end = Instant::now() + START;
        loop {
            if self.answers() {
                return Ok(());
            }
            let gone = |child: &mut Option<Child>| child.as_mut().is_none_or(|c| !matches!(c.try_wait(), Ok(None)));
            if gone(&mut self.server.lock().expect("nobody panics with it")) || Instant::now() > end {
                let log = std::fs::read_to_string(&path).unwrap_or_default();
                return Err(format!("{:?} does not answer within {START:?}:\n{log}", self.kind));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it answers: it, and not another test's that was faster to take the port.
    fn answers(&self) -> bool {
        let statement = if self.kind == Kind::Postgres { "SHOW data_directory" } else { "SELECT @@datadir" };
        let mut ask = self.client(self.kind.first_database());
        let Ok(answer) = ask.args(self.kind.statement(statement)).output() else { return false };
        let folder = String::from_utf8_lossy(&answer.stdout).trim().trim_end_matches('/').to_owned();
        Path::new(&folder) == self.folder.join("data")
    }

    /// Kills it, with all connections.
    pub fn kill(&self) {
        self.end("KILL");
        // PostgreSQL's other processes notice by themselves; until then they hold the port and the data.
        if self.kind == Kind::Postgres {
            crate::wait_for("the processes of PostgreSQL end", 20.0, || self.others().is_empty().then_some(()));
            let _ = std::fs::remove_file(self.folder.join("data/postmaster.pid"));
        }
    }

    fn end(&self, signal: &str) {
        let Some(mut child) = self.server.lock().expect("nobody panics with it").take() else { return };
        kill_all(signal, &[child.id().to_string()]);
        let _ = child.wait();
    }

    /// Stops all its processes where they are: it takes connections, and never answers.
    pub fn freeze(&self) {
        self.signal_all("STOP");
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, signal: &str) {
        let pid = |path: PathBuf| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let pids: Vec<String> = self.others().into_iter().filter_map(pid).collect();
        assert!(!pids.is_empty(), "{:?} does not run", self.kind);
        kill_all(signal, &pids);
    }

    /// Processes that have this folder as their own.
    fn others(&self) -> Vec<PathBuf> {
        let data = self.folder.join("data");
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|p| p.path());
        processes.filter(|p| std::fs::read_link(p.join("cwd")).is_ok_and(|cwd| cwd == data)).collect()
    }

    /// A new database with Kamailio's own schema; its name.
    pub fn create_database(&self) -> Result<String, String> {
        let name = format!("kamailio{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut create = self.client(self.kind.first_database());
        // kamdbctl makes it like this.
        let options = if self.kind == Kind::MariaDb { " CHARACTER SET latin1" } else { "" };
        create.args(self.kind.statement(&format!("CREATE DATABASE {name}{options}")));
        run(create)?;
        let mut script = String::new();
        for part in ["standard", "presence", "rls"] {
            let path = crate::kamailio::schemas().join(self.kind.schema()).join(format!("{part}-create.sql"));
            let text = std::fs::read_to_string(&path);
            script += &text.map_err(|e| format!("Kamailio's schema {} cannot be read: {e}", path.display()))?;
        }
        let path = self.folder.join(format!("{name}.sql"));
        std::fs::write(&path, script).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut tables = self.client(&name);
        tables.stdin(std::fs::File::open(&path).map_err(|e| format!("{}: {e}", path.display()))?);
        run(tables)?;
        Ok(name)
    }

    /// The command line client: rows as lines, nothing else; ends with an error at the first failure.
    #[must_use]
    pub fn client(&self, database: &str) -> Command {
        let port = self.port.to_string();
        match self.kind {
            Kind::Postgres => {
                let mut client = Command::new("psql");
                client.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
                client.args(["-h", "127.0.0.1", "-p", &port, "-U", USER, "-d", database]);
                client
            }
            Kind::MariaDb => {
                let mut client = Command::new("mariadb");
                client.args(["--no-defaults", "--batch", "--skip-column-names", "--unbuffered"]);
                client.args(["--default-character-set=utf8mb4", "--init-command=SET sql_mode='PIPES_AS_CONCAT'"]);
                client.args(["-h", "127.0.0.1", "-P", &port, "-u", USER, database]);
                client
            }
        }
    }

    /// The database as Kamailio's modules name it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let scheme = if self.kind == Kind::Postgres { "postgres" } else { "mysql" };
        format!("{scheme}://{USER}:none@127.0.0.1:{}/{database}", self.port)
    }
}

impl Kind {
    fn user(self) -> &'static str {
        if self == Self::Postgres { "postgres" } else { "mysql" }
    }

    fn schema(self) -> &'static str {
        if self == Self::Postgres { "postgres" } else { "mysql" }
    }

    /// One that is always there.
    fn first_database(self) -> &'static str {
        if self == Self::Postgres { "postgres" } else { "information_schema" }
    }

    /// A statement as arguments of the client.
    pub(crate) fn statement(self, text: &str) -> [String; 2] {
        [if self == Self::Postgres { "-c" } else { "-e" }.into(), text.into()]
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.server.get_mut().is_ok_and(|server| server.is_some()) && !self.others().is_empty() {
            self.thaw();
        }
        let Ok(server) = self.server.get_mut() else { return };
        if let (Some(child), Kind::Postgres) = (server.as_ref(), self.kind) {
            // At once, but with its shared memory given back.
            kill_all("QUIT", &[child.id().to_string()]);
            let end = Instant::now() + Duration::from_secs(5);
            while Instant::now() < end && server.as_mut().is_some_and(|c| matches!(c.try_wait(), Ok(None))) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        if let Some(mut child) = server.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() || std::env::var_os("KEEP").is_some() {
            eprintln!("the log of {:?} is {}", self.kind, self.folder.join("log").display());
        } else {
            remove(&self.folder);
        }
    }
}

//! A real Kamailio, on its own port and in its own folder, killed when dropped.

pub use crate::database::Database;
pub use crate::place::{free_port, kill_all};
use crate::place::{make_folder, new_folder, remove};
use crate::tables::Tables;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const STOCK_SHARE: &str = "/usr/share/kamailio";
const STOCK_MODULES: &str = "/usr/lib/x86_64-linux-gnu/kamailio/modules";

/// Which presence.so is loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Module {
    /// This project's.
    Ours(PathBuf),
    /// Kamailio's own.
    Stock,
}

impl Module {
    /// What `PRESENCE_SO` says; this project's release build without it.
    #[must_use]
    pub fn from_env() -> Self {
        match std::env::var("PRESENCE_SO") {
            Ok(so) if so == "stock" => Self::Stock,
            Ok(so) if !so.is_empty() => Self::Ours(so.into()),
            _ => Self::Ours(crate::root().join("target/release/presence.so")),
        }
    }

    /// Whether it is Kamailio's own.
    #[must_use]
    pub fn is_stock(&self) -> bool {
        *self == Self::Stock
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Ours(path) => path.clone(),
            Self::Stock => stock(),
        }
    }
}

/// Kamailio's module folder.
#[must_use]
pub fn modules() -> PathBuf {
    std::env::var_os("KAMAILIO_MODULES").map_or_else(|| STOCK_MODULES.into(), PathBuf::from)
}

/// The folder of Kamailio's schemas, one folder within for each kind of database.
#[must_use]
pub fn schemas() -> PathBuf {
    std::env::var_os("KAMAILIO_SHARE").map_or_else(|| STOCK_SHARE.into(), PathBuf::from)
}

/// The source tree of the installed Kamailio.
#[must_use]
pub fn source() -> PathBuf {
    std::env::var_os("KAMAILIO_SRC").map_or_else(|| crate::root().join("target/kamailio-src"), PathBuf::from)
}

/// Kamailio's own presence.so: the one that is kept (`scripts/swap.sh`), where this project's is installed.
#[must_use]
pub fn stock() -> PathBuf {
    let kept = modules().join("presence.so.stock");
    if kept.exists() { kept } else { modules().join("presence.so") }
}

/// What is to be started.
#[derive(Clone, Debug)]
pub struct Builder {
    module: Module,
    database: Database,
    children: u32,
    shm_mb: u32,
    pkg_mb: u32,
    allocator: Option<&'static str>,
    debug: i32,
    packages: Vec<&'static str>,
    before: String,
    params: Vec<(String, String)>,
    extra: String,
    routes: Option<String>,
    file: Option<PathBuf>,
    defines: Vec<(String, String)>,
    arguments: Vec<String>,
    folder: Option<PathBuf>,
    modules: PathBuf,
    port: Option<u16>,
    listeners: Vec<String>,
    detached: bool,
    syslog: Option<PathBuf>,
    under: String,
    jsonrpc: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            module: Module::from_env(),
            database: Database::None,
            children: 2,
            shm_mb: 64,
            pkg_mb: 8,
            allocator: None,
            debug: 2,
            packages: vec!["presence_xml", "presence_mwi", "presence_dialoginfo"],
            before: String::new(),
            params: Vec::new(),
            extra: String::new(),
            routes: None,
            file: None,
            defines: Vec::new(),
            arguments: Vec::new(),
            folder: None,
            modules: modules(),
            port: None,
            listeners: Vec::new(),
            detached: false,
            syslog: None,
            under: String::new(),
            jsonrpc: false,
        }
    }
}

/// `request_route` of a presence server.
pub const ROUTES: &str = r#"
request_route {
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (!t_newtran()) { sl_reply_error(); exit; }
    if (is_method("PUBLISH")) {
        if ($hdr(Sender) != $null) handle_publish("$hdr(Sender)"); else handle_publish();
        t_release(); exit;
    }
    if (is_method("SUBSCRIBE")) { handle_subscribe(); t_release(); exit; }
    t_reply("405", "Method Not Allowed");
    exit;
}
"#;

impl Builder {
    /// Another module than `PRESENCE_SO` says.
    #[must_use]
    pub fn module(mut self, module: Module) -> Self {
        self.module = module;
        self
    }

    /// A database.
    #[must_use]
    pub fn database(mut self, database: Database) -> Self {
        self.database = database;
        self
    }

    /// UDP workers.
    #[must_use]
    pub fn children(mut self, children: u32) -> Self {
        self.children = children;
        self
    }

    /// Shared and private memory, in megabytes.
    #[must_use]
    pub fn memory(mut self, shm_mb: u32, pkg_mb: u32) -> Self {
        (self.shm_mb, self.pkg_mb) = (shm_mb, pkg_mb);
        self
    }

    /// The allocator of both (`qm`, `fm`, `tlsf`).
    #[must_use]
    pub fn allocator(mut self, name: &'static str) -> Self {
        self.allocator = Some(name);
        self
    }

    /// The log level (`debug`).
    #[must_use]
    pub fn debug(mut self, level: i32) -> Self {
        self.debug = level;
        self
    }

    /// The modules with event packages that are loaded.
    #[must_use]
    pub fn packages(mut self, names: &[&'static str]) -> Self {
        self.packages = names.to_vec();
        self
    }

    /// A parameter of presence: a number, or a text in quotes.
    #[must_use]
    pub fn param(mut self, name: &str, value: impl ToString) -> Self {
        self.params.retain(|(n, _)| n != name);
        self.params.push((name.into(), value.to_string()));
        self
    }

    /// Lines before presence is loaded.
    #[must_use]
    pub fn before(mut self, lines: &str) -> Self {
        let _ = writeln!(self.before, "{lines}");
        self
    }

    /// Lines after all modules are loaded.
    #[must_use]
    pub fn extra(mut self, lines: &str) -> Self {
        let _ = writeln!(self.extra, "{lines}");
        self
    }

    /// One more place to listen at, as the configuration names it; `LISTEN_TCP` is the server's port over TCP.
    #[must_use]
    pub fn listen(mut self, place: &str) -> Self {
        self.listeners.push(place.into());
        self
    }

    /// The routes, instead of [`ROUTES`].
    #[must_use]
    pub fn routes(mut self, routes: &str) -> Self {
        self.routes = Some(routes.into());
        self
    }

    /// A configuration file as it stands, instead of one that is made of the settings. Of these it gets the
    /// definitions, which the lines of `before`, `extra` and `routes` may use as well: `LISTEN`, `LISTEN_TCP`, `SERVER` (its
    /// URI in quotes), `PRESENCE`, `CTL` and, with a database, `DB_URL`.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// A further definition (`-A`).
    #[must_use]
    pub fn define(mut self, name: &str, value: &str) -> Self {
        self.defines.push((name.into(), value.into()));
        self
    }

    /// A further word of the command line.
    #[must_use]
    pub fn argument(mut self, word: &str) -> Self {
        self.arguments.push(word.into());
        self
    }

    /// A folder that stays when the server is dropped.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// The folder of modules (`mpath`), instead of Kamailio's.
    #[must_use]
    pub fn modules(mut self, folder: impl Into<PathBuf>) -> Self {
        self.modules = folder.into();
        self
    }

    /// The UDP port on 127.0.0.1, instead of any that is free.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// In a process group of its own: a Ctrl-C in the terminal reaches the caller only, who then stops the server.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// Logs with `syslog`, by a library that is loaded before the C library and writes into the file that `SYSLOG_FILE`
    /// names: the same file as otherwise.
    #[must_use]
    pub fn syslog(mut self, library: &Path) -> Self {
        self.syslog = Some(library.into());
        self
    }

    /// Run by another program: its name and arguments, separated by spaces.
    #[must_use]
    pub fn under(mut self, program: &str) -> Self {
        self.under = program.into();
        self
    }

    /// With Kamailio's JSON-RPC interface ([`crate::jsonrpc`]).
    #[must_use]
    pub fn jsonrpc(mut self) -> Self {
        self.jsonrpc = true;
        self
    }

    /// The presence.so that will be loaded.
    #[must_use]
    pub fn module_path(&self) -> PathBuf {
        self.module.path()
    }

    /// What a configuration file of its own is told.
    fn definitions(&self, port: u16, dir: &Path, tables: Option<&Tables>) -> Vec<String> {
        let own = [
            ("LISTEN", format!("udp:127.0.0.1:{port}")),
            ("LISTEN_TCP", format!("tcp:127.0.0.1:{port}")),
            ("SERVER", format!("\"sip:127.0.0.1:{port}\"")),
            ("PRESENCE", format!("\"{}\"", self.module.path().display())),
            ("CTL", format!("\"unix:{}\"", dir.join("ctl.sock").display())),
            ("DB_URL", tables.map(|t| format!("\"{}\"", t.url())).unwrap_or_default()),
        ];
        let given = self.defines.iter().map(|(name, value)| (name.as_str(), value.clone()));
        own.into_iter().chain(given).filter(|(_, v)| !v.is_empty()).map(|(name, v)| format!("{name}={v}")).collect()
    }

    fn config(&self, port: u16, dir: &Path, tables: Option<&Tables>) -> String {
        let db_module = tables.map(|t| format!("loadmodule \"{}.so\"", t.driver())).unwrap_or_default();
        let url = tables.map(|t| format!("\"{}\"", t.url())).unwrap_or_default();
        let mut text = format!(
            "#!KAMAILIO\ndebug={}\nlog_stderror={}\nfork=yes\nchildren={}\nlisten=udp:127.0.0.1:{port}\ndisable_tcp={}\n\
             auto_aliases=no\ndns=no\nrev_dns=no\ndisable_core_dump=yes\nserver_header=\"Server: k\"\n\
             mpath=\"{}/\"\n",
            self.debug,
            if self.syslog.is_none() { "yes" } else { "no" },
            self.children,
            if self.listeners.is_empty() { "yes" } else { "no" },
            self.modules.display()
        );
        // From 6.0 on the host drops what is larger than 32 KB, unless it is told; 5.6 takes all and knows no such word.
        text.push_str("#!ifndef KAMAILIO_5\nmsg_recv_max_size=65535\n#!endif\n");
        if self.listeners.iter().any(|place| place.starts_with("tls:")) {
            let _ = writeln!(text, "enable_tls=yes");
        }
        for place in &self.listeners {
            let _ = writeln!(text, "listen={place}");
        }
        for module in ["tm", "sl", "tmx", "rr", "pv", "textops", "ctl", "kex", "corex", "xlog"] {
            let _ = writeln!(text, "loadmodule \"{module}.so\"");
        }
        let _ = writeln!(text, "{}{db_module}\nloadmodule \"{}\"", self.before, self.module.path().display());
        for package in &self.packages {
            let _ = writeln!(text, "loadmodule \"{package}.so\"");
        }
        let _ = writeln!(text, "modparam(\"ctl\", \"binrpc\", \"unix:{}\")", dir.join("ctl.sock").display());
        if self.jsonrpc {
            text.push_str(&crate::jsonrpc::config(dir));
        }
        if !url.is_empty() {
            let _ = writeln!(text, "modparam(\"presence\", \"db_url\", {url})");
            if self.packages.contains(&"presence_xml") {
                let _ = writeln!(text, "modparam(\"presence_xml\", \"db_url\", {url})");
            }
        }
        if self.packages.contains(&"presence_xml") && !self.extra.contains("force_active") {
            let _ = writeln!(text, "modparam(\"presence_xml\", \"force_active\", 1)");
        }
        let defaults = [("publ_cache", "2"), ("subs_db_mode", "0")];
        for (name, value) in defaults {
            if tables.is_none() && !self.params.iter().any(|(n, _)| n == name) {
                let _ = writeln!(text, "modparam(\"presence\", \"{name}\", {value})");
            }
        }
        if !self.params.iter().any(|(n, _)| n == "server_address") {
            let _ = writeln!(text, "modparam(\"presence\", \"server_address\", \"sip:127.0.0.1:{port}\")");
        }
        // Any test can be run with another transport.
        let transport = std::env::var("NOTIFY_TRANSPORT").ok().filter(|_| !self.module.is_stock());
        if let Some(transport) = transport.filter(|_| !self.params.iter().any(|(n, _)| n == "notify_transport")) {
            let _ = writeln!(text, "modparam(\"presence\", \"notify_transport\", \"{transport}\")");
        }
        for (name, value) in &self.params {
            let _ = writeln!(text, "modparam(\"presence\", \"{name}\", {value})");
        }
        let _ = writeln!(text, "{}\n{}", self.extra, self.routes.as_deref().unwrap_or(ROUTES));
        text
    }

    /// Starts the server and waits until it answers; panics with its log if it does not start.
    #[must_use]
    pub fn start(self) -> Kamailio {
        match self.try_start() {
            Ok(server) => server,
            Err(log) => panic!("kamailio did not start:\n{log}"),
        }
    }

    /// Starts the server; a sentence, or its log and how it ended, if it does not start.
    pub fn try_start(self) -> Result<Kamailio, String> {
        let dir = match &self.folder {
            Some(folder) => make_folder(folder.clone())?,
            None => new_folder()?,
        };
        let port = self.port.unwrap_or_else(free_port);
        let tables = self.database.tables(&dir)?;
        let mut server = Kamailio { child: None, port, dir, tables, builder: self };
        server.write_config()?;
        server.launch()?;
        Ok(server)
    }
}

fn kill(signal: &str, pid: u32) {
    kill_all(signal, &[pid.to_string()]);
}

/// A running server.
#[derive(Debug)]
pub struct Kamailio {
    child: Option<Child>,
    /// Its UDP port on 127.0.0.1.
    pub port: u16,
    /// Its folder.
    pub dir: PathBuf,
    tables: Option<Tables>,
    builder: Builder,
}

impl Kamailio {
    /// The default: memory only, two workers, presence_xml, presence_mwi and presence_dialoginfo.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The configuration that is made of the settings; a file of its own stays where it is.
    fn write_config(&self) -> Result<(), String> {
        if self.builder.file.is_some() {
            return Ok(());
        }
        let path = self.config_path();
        fs::write(&path, self.builder.config(self.port, &self.dir, self.tables.as_ref()))
            .map_err(|e| format!("{} cannot be written: {e}", path.display()))
    }

    fn config_path(&self) -> PathBuf {
        self.builder.file.clone().unwrap_or_else(|| self.dir.join("kamailio.cfg"))
    }

    fn launch(&mut self) -> Result<(), String> {
        let binary = std::env::var("KAMAILIO_BIN").unwrap_or_else(|_| "kamailio".into());
        let path = self.log_path();
        let log = fs::OpenOptions::new().create(true).append(true).open(&path);
        let log = log.and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = log.map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
        let mut command = self.command(&format!("{} {binary}", self.builder.under));
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        self.child = Some(command.spawn().map_err(|e| format!("{binary} cannot be run: {e}"))?);
        self.wait_until_it_answers()
    }

    fn command(&self, binary: &str) -> Command {
        let builder = &self.builder;
        let mut words = binary.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or("kamailio"));
        command.args(words).arg("-DD");
        match &builder.syslog {
            None => command.arg("-E"),
            Some(library) => command.env("LD_PRELOAD", library).env("SYSLOG_FILE", self.log_path()),
        };
        command.arg("-f").arg(self.config_path());
        command.args(["-m", &builder.shm_mb.to_string(), "-M", &builder.pkg_mb.to_string()]);
        command.arg("-Y").arg(&self.dir).arg("-w").arg(&self.dir).args(["-b", "4194304"]);
        if let Some(allocator) = builder.allocator {
            command.args(["-x", allocator, "-X", allocator]);
        }
        if builder.file.is_some() {
            command.arg("-L").arg(&builder.modules);
        }
        for definition in builder.definitions(self.port, &self.dir, self.tables.as_ref()) {
            command.args(["-A", &definition]);
        }
        command.args(&builder.arguments);
        if builder.detached {
            command.process_group(0);
        }
        command
    }

    fn wait_until_it_answers(&mut self) -> Result<(), String> {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let own = socket.local_addr().expect("an address");
        let end = Instant::now() + Duration::from_secs(60);
        let mut n = 0;
        while Instant::now() < end {
            if let Ok(Some(status)) = self.child.as_mut().expect("launched").try_wait() {
                self.child = None;
                return Err(format!("{}\nended with {status}", self.log()));
            }
            n += 1;
            let ping = format!(
                "OPTIONS sip:127.0.0.1:{} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKping{n}\r\nFrom: <sip:a@b>;tag=1\r\n\
                 To: <sip:a@b>\r\nCall-ID: ping{n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
                self.port
            );
            let _ = socket.send_to(ping.as_bytes(), ("127.0.0.1", self.port));
            if socket.recv(&mut [0; 2048]).is_ok() {
                return Ok(());
            }
        }
        Err(format!("no answer within 60 s\n{}", self.log()))
    }

    /// The file that it logs into.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("kamailio.log")
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Lines of the log that contain a text.
    #[must_use]
    pub fn log_lines(&self, text: &str) -> Vec<String> {
        self.log().lines().filter(|l| l.contains(text)).map(str::to_owned).collect()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// The process id of its main process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// The SQLite file, if there is one.
    #[must_use]
    pub fn database_file(&self) -> PathBuf {
        match &self.tables {
            Some(Tables::Sqlite(file)) => file.clone(),
            _ => self.dir.join("db.sqlite"),
        }
    }

    /// Its tables; panics if it has none.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        self.tables.as_ref().expect("a server with a database")
    }

    /// Calls an RPC command; standard output and error of kamcmd.
    #[must_use]
    pub fn rpc(&self, arguments: &[&str]) -> String {
        let socket = format!("unix:{}", self.dir.join("ctl.sock").display());
        // kamcmd itself waits for ever.
        let mut command = Command::new("timeout");
        command.args(["60", "kamcmd", "-s", &socket]).args(arguments);
        let output = command.output().expect("runs kamcmd");
        assert!(output.status.code() != Some(124), "no answer to {arguments:?}");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// Shared memory in use, as the host counts it.
    #[must_use]
    pub fn shm_used(&self) -> i64 {
        self.shm("used: ")
    }

    /// The same with what the host's allocator takes for itself.
    #[must_use]
    pub fn shm_really_used(&self) -> i64 {
        self.shm("real_used: ")
    }

    fn shm(&self, name: &str) -> i64 {
        let answer = self.rpc(&["core.shmmem"]);
        let line = answer.lines().find_map(|l| l.trim().strip_prefix(name)).unwrap_or_default();
        line.trim().parse().unwrap_or_else(|_| panic!("no number in {answer}"))
    }

    /// A number of `presence.status`, which also looks through every list; only this project's module has it.
    #[must_use]
    pub fn status(&self, name: &str) -> i64 {
        let answer = self.rpc(&["presence.status", "check"]);
        let value = answer.lines().find_map(|l| l.trim().strip_prefix(name)?.strip_prefix(": "));
        value.and_then(|v| v.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {answer}"))
    }

    /// Its processes and what each of them is, in small letters (`core.psx`). It answers while it still makes them.
    #[must_use]
    pub fn processes(&self) -> Vec<(u32, String)> {
        let list = self.rpc(&["core.psx"]);
        let (mut found, mut pid) = (Vec::new(), 0);
        for (name, value) in list.lines().filter_map(|line| line.trim().split_once(": ")) {
            match name {
                "PID" => pid = value.trim().parse().expect("a number"),
                "DSC" => found.push((pid, value.to_ascii_lowercase())),
                _ => {}
            }
        }
        found
    }

    /// Private memory in use by each process, by its entry in `pkg.stats`: each counts when it next handles something.
    #[must_use]
    pub fn pkg_used_by_each(&self) -> BTreeMap<String, i64> {
        let answer = self.rpc(&["pkg.stats"]);
        let (mut used, mut entry) = (BTreeMap::new(), "");
        for (name, value) in answer.lines().filter_map(|line| line.trim().split_once(": ")) {
            match name {
                "entry" => entry = value.trim(),
                "used" => drop(used.insert(entry.to_owned(), value.trim().parse().expect("a number"))),
                _ => {}
            }
        }
        used
    }

    /// Private memory in use by the process that uses most.
    #[must_use]
    pub fn pkg_used(&self) -> i64 {
        self.pkg_used_by_each().into_values().max().unwrap_or(0)
    }

    /// Stops it as an operator would, and waits.
    pub fn stop(&mut self) -> ExitStatus {
        self.try_stop().unwrap_or_else(|sentence| panic!("{sentence}"))
    }

    /// As [`Self::stop`]; a sentence if it does not run, or not stop within 75 s. (Kamailio's tm now and then waits
    /// for a timer of a worker that is gone, also with its own modules only; after 60 s the server then aborts.)
    pub fn try_stop(&mut self) -> Result<ExitStatus, String> {
        self.signal("TERM");
        let end = Instant::now() + Duration::from_secs(75);
        let mut again = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            if Instant::now() > again {
                // A process that was just being forked loses its signal, and Kamailio's main one waits for it.
                self.pids().into_iter().for_each(|pid| kill("TERM", pid));
                again += Duration::from_secs(2);
            }
            let child = self.child.as_mut().ok_or("the server does not run")?;
            if let Some(status) = child.try_wait().map_err(|e| format!("the server cannot be waited for: {e}"))? {
                self.child = None;
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("the server does not stop within 75 s".into())
    }

    /// Starts it again after it was stopped, with the same folder, database and port; its log if it does not start.
    pub fn try_start_again(&mut self) -> Result<(), String> {
        self.launch()
    }

    /// Sends a signal to the main process.
    pub fn signal(&self, name: &str) {
        kill(name, self.pid());
    }

    /// Stops it (if it runs) and starts it again with the same folder, database and port.
    pub fn restart(&mut self) {
        if self.child.is_some() {
            self.stop();
        }
        self.try_start_again().unwrap_or_else(|log| panic!("kamailio did not start again:\n{log}"));
    }

    /// Starts it again with another module, on the same folder, database and port.
    pub fn restart_with(&mut self, module: Module) {
        if self.child.is_some() {
            self.stop();
        }
        self.builder.module = module;
        self.write_config()
            .and_then(|()| self.launch())
            .unwrap_or_else(|log| panic!("kamailio did not start again:\n{log}"));
    }

    /// Waits until it has made all its processes: it answers before that.
    pub fn is_complete(&self) {
        crate::wait_for("all processes", 10.0, || {
            let before = self.pids();
            std::thread::sleep(Duration::from_millis(300));
            (self.pids() == before).then_some(())
        });
    }

    /// Process ids of all its processes.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let main = self.pid();
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap_or_default();
        std::iter::once(main).chain(children.split_whitespace().filter_map(|p| p.parse().ok())).collect()
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        let pids = self.pids();
        if let Some(mut child) = self.child.take() {
            // All at once: a process that sees the others go fills the log. A group is found without its main process.
            let group = self.builder.detached.then(|| format!("-{}", child.id()));
            let pids: Vec<String> = pids.iter().map(u32::to_string).chain(group).collect();
            kill_all("KILL", &pids);
            let _ = child.wait();
        }
        let kept = self.builder.folder.is_some() || std::env::var_os("KEEP").is_some();
        if !kept && !std::thread::panicking() {
            remove(&self.dir);
        } else if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- end of the server's log ({})", self.log_path().display());
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}

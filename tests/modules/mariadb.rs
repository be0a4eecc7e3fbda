//! A MariaDB server of one test's own, with Kamailio's tables in the database `kamailio`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const SCHEMA: &str = "/usr/share/kamailio/mysql";

/// A running server, stopped when dropped.
pub struct MariaDb {
    child: Child,
    socket: PathBuf,
    port: u16,
}

impl MariaDb {
    /// Starts a server whose files are in this folder, which has to stay.
    pub fn start(folder: &Path) -> Self {
        let (data, socket) = (folder.join("mariadb"), folder.join("mariadb.sock"));
        let place = format!("--datadir={}", data.display());
        let user = format!("--user={}", text(Command::new("id").arg("-un")));
        text(
            Command::new("mariadb-install-db")
                .args(["--no-defaults", &place, &user])
                .args(["--auth-root-authentication-method=normal", "--skip-test-db"]),
        );
        let port = testkit::kamailio::free_port();
        let log = File::create(folder.join("mariadb.log")).expect("a log");
        let child = Command::new("mariadbd")
            .args(["--no-defaults", &place, &user, "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=16M"])
            .args([format!("--socket={}", socket.display()), format!("--port={port}")])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("runs mariadbd");
        let server = Self { child, socket, port };
        testkit::wait_for("MariaDB", 30.0, || {
            server.client("mysql").args(["-e", "SELECT 1"]).output().ok()?.status.success().then_some(())
        });
        let prepare = "CREATE DATABASE kamailio; CREATE USER k@'127.0.0.1' IDENTIFIED BY 'k'; \
                       GRANT ALL ON kamailio.* TO k@'127.0.0.1'";
        text(server.client("mysql").args(["-e", prepare]));
        for tables in ["standard", "presence"] {
            let script = File::open(format!("{SCHEMA}/{tables}-create.sql")).expect("Kamailio's schema");
            text(server.client("kamailio").stdin(script));
        }
        server
    }

    /// As Kamailio takes it, in quotes.
    pub fn url(&self) -> String {
        format!("\"mysql://k:k@127.0.0.1:{}/kamailio\"", self.port)
    }

    /// The one number that a statement gives.
    pub fn number(&self, statement: &str) -> i64 {
        text(self.client("kamailio").args(["-N", "-e", statement])).parse().expect("a number")
    }

    fn client(&self, database: &str) -> Command {
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "--user=root", "-S"]).arg(&self.socket).arg(database);
        command
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program prints; it has to succeed.
fn text(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).trim().to_owned()
}

//! What a module offers, as the running server sees it (`caller.exports`).

use crate::{ask, builder};
use testkit::Kamailio;

/// The lines of a kind, without its name.
fn of_kind(server: &Kamailio, module: &str, kind: &str) -> Vec<String> {
    let answer = ask(server, &["caller.exports", module]);
    let lines = answer.lines().filter_map(|line| line.trim().strip_prefix(kind)?.strip_prefix(' '));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_module_is_listed_as_the_server_sees_it() {
    let server = builder().start();
    let functions = of_kind(&server, "presence", "function");
    for function in
        ["handle_publish 0", "handle_publish 1", "handle_subscribe 1", "pres_auth_status 2", "bind_presence C"]
    {
        assert!(functions.iter().any(|f| f == function), "{function}: {functions:?}");
    }
    let params = of_kind(&server, "presence", "param");
    for param in ["db_url str", "max_expires int", "subs_db_mode int"] {
        assert!(params.iter().any(|p| p == param), "{param}: {params:?}");
    }
    let kemi = of_kind(&server, "presence", "kemi");
    for function in ["handle_publish -", "handle_subscribe_uri s", "pres_refresh_watchers ssi"] {
        assert!(kemi.iter().any(|k| k == function), "{function}: {kemi:?}");
    }
    assert!(of_kind(&server, "presence", "rpc").contains(&"presence.cleanup".into()));
    assert!(of_kind(&server, "presence", "pv").contains(&"subs".into()));
    assert!(of_kind(&server, "caller", "function").contains(&"caller_subscribe 2".into()));
    assert!(ask(&server, &["caller.exports", "nothing"]).contains("404"));
}

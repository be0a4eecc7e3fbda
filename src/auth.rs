//! Who may watch: the `watchers` table and the rules of the packages.

use crate::abi::packages::{self, Rules};
use crate::commands::with_server;
use crate::host::now;
use crate::params::settings;
use crate::store::schema as col;
use crate::store::{database, health};
use kamailio::db::{Assign, Condition, Op, Row, Value};
use kamailio::log;
use kamailio::str::show;
use presence_core::config::SubsMode;
use presence_core::host::{Authorisation, Decision, Request, Resource};
use presence_core::package::Package;
use presence_core::refusal::Fault;
use presence_core::status::{POLITE_BLOCK, Status};
use presence_core::subscription::{Field, Subscription, Texts};
use presence_core::time::{Seconds, Timestamp};
use presence_core::uri::sip_uri;
use presence_core::winfo::Watcher;

/// What [`status_of`] returns for an active watcher who gets no state.
const POLITELY_BLOCKED: i32 = 5;

/// The authorisation of a watcher: the stored one, or else what the rules say, which is then stored. Without a
/// database everybody may watch, as in the C module.
pub fn authorise(registry: &[Package], request: &Request<'_>) -> Result<Authorisation, Fault> {
    let package = request.resource.package.of(registry).ok_or(Fault::Package)?;
    if !package.needs_auth || !database::is_open() {
        return Ok(Authorisation::active());
    }
    let in_memory = settings().core.subs == SubsMode::WriteBack;
    let known = if in_memory && health::is_hanging() { Err(Fault::Storage) } else { stored(package, request) };
    match known {
        Ok(Some(stored)) => return Ok(stored),
        Ok(None) => {}
        // What is stored is what the rules said. Subscriptions in memory go on without the database.
        Err(_) if in_memory => {
            return decide(request, Status::Pending, b"", &Rules::of(request.resource)?);
        }
        Err(fault) => return Err(fault),
    }
    let decided = decide(request, Status::Pending, b"", &Rules::of(request.resource)?)?;
    store(package, request, &decided);
    Ok(decided)
}

fn identity<'a>(package: &'a Package, request: &Request<'a>) -> [Condition<'a>; 4] {
    [
        Condition(col::PRESENTITY_URI, Op::Eq, Value::Text(request.resource.uri)),
        Condition(col::WATCHER_USERNAME, Op::Eq, Value::Text(request.watcher_user)),
        Condition(col::WATCHER_DOMAIN, Op::Eq, Value::Text(request.watcher_domain)),
        Condition(col::EVENT, Op::Eq, Value::Text(&package.name)),
    ]
}

/// From the columns `status` and `reason`, the first of which is at this place.
fn authorisation(row: &Row<'_>, at: usize) -> Authorisation {
    Authorisation::of_row(row.int(at), row.text(at + 1))
}

fn stored(package: &Package, request: &Request<'_>) -> Result<Option<Authorisation>, Fault> {
    database::read(|db| {
        let of = identity(package, request);
        let rows = db.query(settings().watchers_table, &[col::STATUS, col::REASON], &of, None)?;
        Ok(rows.get(0).map(|row| authorisation(&row, 0)))
    })
}

/// Enters a watcher, together with the subscription.
fn store(package: &Package, request: &Request<'_>, authorisation: &Authorisation) {
    let [uri, user, domain, event] =
        [request.resource.uri, request.watcher_user, request.watcher_domain, &package.name].map(<[u8]>::to_vec);
    let (authorisation, since) = (authorisation.clone(), now().unix.column());
    database::write_beside(Box::new(move |db| {
        let row = [
            Assign(col::PRESENTITY_URI, Value::Text(&uri)),
            Assign(col::WATCHER_USERNAME, Value::Text(&user)),
            Assign(col::WATCHER_DOMAIN, Value::Text(&domain)),
            Assign(col::EVENT, Value::Text(&event)),
            Assign(col::STATUS, Value::Int(authorisation.status as i32)),
            Assign(col::INSERTED_TIME, Value::Int(since)),
            Assign(col::REASON, Value::Text(&authorisation.reason)),
        ];
        let table = settings().watchers_table;
        if db.driver().can_replace() {
            return db.replace(table, &row, 4);
        }
        db.insert(table, &row).or_else(|failed| {
            // Another process may have been faster: its row is as good.
            let of = [0, 1, 2, 3].map(|n: usize| Condition(row[n].0, Op::Eq, row[n].1));
            let found = db.query(table, &[col::STATUS], &of, None)?;
            found.get(0).map(drop).ok_or(failed)
        })
    }));
}

/// Asks the package. `status` and `reason` are what holds now.
fn decide(request: &Request<'_>, status: Status, reason: &[u8], rules: &Rules) -> Result<Authorisation, Fault> {
    let texts = request
        .texts
        .with(&[
            (Field::WatcherUser, request.watcher_user),
            (Field::WatcherDomain, request.watcher_domain),
            (Field::Reason, reason),
        ])
        .map_err(|_| Fault::Package)?;
    let subscription = Subscription {
        presentity: request.resource.uri.to_vec(),
        package: request.resource.package,
        texts,
        remote_cseq: 0,
        local_cseq: 0,
        version: 0,
        expires: Timestamp(0),
        status,
        branch_flags: 0,
    };
    let (status, reason) = packages::auth_status(&subscription, rules)?;
    match Status::from_number(status) {
        Some(status) => Ok(Authorisation { status, reason }),
        None => {
            log!(Error, "the rules of {} gave the status {status}, which does not exist", show(request.resource.uri));
            Err(Fault::Package)
        }
    }
}

/// Watchers without a subscription who wait for a decision: pending ones in the table.
pub fn waiting(registry: &[Package], resource: Resource<'_>) -> Result<Vec<Watcher>, Fault> {
    let package = resource.package.of(registry).ok_or(Fault::Package)?;
    // DIFFERS: the C module calls a database that is not there, and dies of it.
    if !database::is_open() {
        return Ok(Vec::new());
    }
    database::read(|db| {
        let of = [
            Condition(col::PRESENTITY_URI, Op::Eq, Value::Text(resource.uri)),
            Condition(col::EVENT, Op::Eq, Value::Text(&package.name)),
            Condition(col::STATUS, Op::Eq, Value::Int(Status::Pending as i32)),
        ];
        let columns = [col::WATCHER_USERNAME, col::WATCHER_DOMAIN];
        let rows = db.query(settings().watchers_table, &columns, &of, None)?;
        Ok(rows.iter().map(|row| Watcher::waiting(sip_uri(row.text(0), row.text(1)))).collect())
    })
}

/// Forgets watchers who have waited for a day (`clean_period`).
pub fn clean() {
    if !database::is_open() {
        return;
    }
    let day_ago = now().unix - Seconds(24 * 3600);
    let done = database::write(|db| {
        let of = [
            Condition(col::INSERTED_TIME, Op::Lt, Value::Int(day_ago.column())),
            Condition(col::STATUS, Op::Eq, Value::Int(Status::Pending as i32)),
        ];
        db.delete(settings().watchers_table, &of)
    });
    if done.is_err() {
        log!(Error, "watchers who wait for too long could not be removed from the table");
    }
}

/// `pres_auth_status`: what the rules say of a watcher, as a number for the script.
pub fn status_of(watcher: &[u8], presentity: &[u8]) -> i32 {
    let Some(package) = packages::by_name(b"presence") else {
        log!(Error, "pres_auth_status: there is no package \"presence\"");
        return -1;
    };
    let registry = packages::all();
    if !package.of(&registry).is_some_and(|p| p.needs_auth) {
        return Status::Active as i32;
    }
    if watcher.is_empty() || presentity.is_empty() {
        log!(Error, "pres_auth_status: a URI is missing");
        return -1;
    }
    let (Some(w), Some(p)) = (kamailio::uri::parse(watcher), kamailio::uri::parse(presentity)) else {
        log!(Error, "pres_auth_status: \"{}\" or \"{}\" is no URI", show(watcher), show(presentity));
        return -1;
    };
    let uri = sip_uri(p.user, p.host);
    let resource = Resource { uri: &uri, package };
    let rules = match Rules::of(resource) {
        Ok(rules) if rules.exist() => rules,
        _ => return Status::Pending as i32,
    };
    let Ok(texts) = Texts::pack(&[]) else { return -1 };
    let request = Request { resource, watcher_user: w.user, watcher_domain: w.host, texts: &texts };
    match decide(&request, Status::Pending, b"", &rules) {
        Ok(a) if a.reason == POLITE_BLOCK => POLITELY_BLOCKED,
        Ok(a) => a.status as i32,
        Err(_) => -1,
    }
}

/// The rules of a presentity changed (`rules`; or ask the package for them): decides again about every watcher in the
/// table and tells those whose state changed.
pub fn update(resource: Resource<'_>, rules: Option<Rules>) -> Result<(), Fault> {
    let (decisions, outcome) = decide_again(resource, rules);
    for decision in &decisions {
        with_server(None, |server| server.authorisation_changed(resource, decision));
    }
    outcome
}

/// Decides again about every watcher of a resource that is in the table, and stores what is new: those decisions, and
/// whether that were all.
pub fn decide_again(resource: Resource<'_>, rules: Option<Rules>) -> (Vec<Decision>, Result<(), Fault>) {
    let mut decisions = Vec::new();
    let outcome = try_decide_again(resource, rules, &mut decisions);
    (decisions, outcome)
}

fn try_decide_again(resource: Resource<'_>, rules: Option<Rules>, new: &mut Vec<Decision>) -> Result<(), Fault> {
    let registry = packages::all();
    let package = resource.package.of(&registry).ok_or(Fault::Package)?;
    if !package.needs_auth {
        log!(Error, "the package of {} needs no authorisation", show(resource.uri));
        return Err(Fault::Package);
    }
    let rules = match rules {
        Some(rules) => rules,
        None => Rules::of(resource)?,
    };
    if !rules.exist() {
        log!(Info, "{} has no rules", show(resource.uri));
        return Err(Fault::Package);
    }
    let Ok(texts) = Texts::pack(&[]) else { return Err(Fault::Package) };
    for Decision { watcher_user, watcher_domain, authorisation: old } in listed(package, resource)? {
        let request = Request { resource, watcher_user: &watcher_user, watcher_domain: &watcher_domain, texts: &texts };
        let authorisation = decide(&request, old.status, &old.reason, &rules)?;
        if authorisation != old {
            change(package, &request, &authorisation)?;
            new.push(Decision { watcher_user, watcher_domain, authorisation });
        }
    }
    Ok(())
}

fn listed(package: &Package, resource: Resource<'_>) -> Result<Vec<Decision>, Fault> {
    if !database::is_open() {
        return Ok(Vec::new());
    }
    database::read(|db| {
        let of = [
            Condition(col::PRESENTITY_URI, Op::Eq, Value::Text(resource.uri)),
            Condition(col::EVENT, Op::Eq, Value::Text(&package.name)),
        ];
        let columns = [col::WATCHER_USERNAME, col::WATCHER_DOMAIN, col::STATUS, col::REASON];
        let rows = db.query(settings().watchers_table, &columns, &of, None)?;
        let decision = |row: Row<'_>| Decision {
            watcher_user: row.text(0).to_vec(),
            watcher_domain: row.text(1).to_vec(),
            authorisation: authorisation(&row, 2),
        };
        Ok(rows.iter().map(decision).collect())
    })
}

fn change(package: &Package, request: &Request<'_>, to: &Authorisation) -> Result<(), Fault> {
    database::write(|db| {
        let set = [Assign(col::STATUS, Value::Int(to.status as i32)), Assign(col::REASON, Value::Text(&to.reason))];
        db.update(settings().watchers_table, &identity(package, request), &set)
    })
}

//! A publication in a table that was just written is not read again, unless somebody else may have written, too.

use fakehost::{World, phone};
use presence_core::body::About;
use presence_core::config::{Config, PublMode, SubsMode};
use presence_core::host::{Change, Expired, Publication, Publications, Resource, Shown};
use presence_core::package::PackageId;
use presence_core::publish::Incoming;
use presence_core::refusal::{Fault, Refusal};
use presence_core::server::Server;
use presence_core::time::Seconds;

const EVENT: &str = "message-summary";

/// A table, and another worker that changes it and tells, just after this one has written.
struct Rows<'a> {
    rows: &'a mut Vec<(Vec<u8>, Shown)>,
    /// What the other one writes; and its shelf, which only counts the change.
    other: Option<&'a str>,
    shelf: &'a mut dyn Publications,
    reads: usize,
}

impl Rows<'_> {
    fn written(&mut self, of: Resource<'_>, p: &Publication) {
        if let Some(body) = self.other.take() {
            self.rows.last_mut().expect("a row").1.body = body.as_bytes().to_vec();
            self.shelf.insert(of, p, false, None).expect("memory");
        }
    }
}

impl Publications for Rows<'_> {
    fn insert(&mut self, of: Resource<'_>, p: &Publication, _: bool, _: Option<&About>) -> Result<(), Refusal> {
        self.rows.push((p.etag.clone(), p.clone().into()));
        self.written(of, p);
        Ok(())
    }
    fn modify(&mut self, of: Resource<'_>, etag: &[u8], change: &Change<'_>) -> Result<bool, Refusal> {
        let row = self.rows.iter_mut().find(|(tag, _)| tag == etag).ok_or(Refusal::ConditionFailed)?;
        row.0 = change.etag.to_vec();
        row.1.body = change.body.expect("a document").to_vec();
        let (etag, Shown { body, sender, expires, received }) = row.clone();
        self.written(of, &Publication { etag, body, sender, expires, received, priority: 0, row_id: Vec::new() });
        Ok(true)
    }
    fn remove(&mut self, _: Resource<'_>, _: &[u8]) -> Result<Shown, Refusal> {
        Err(Refusal::ConditionFailed)
    }
    fn get(&mut self, _: Resource<'_>, etag: &[u8]) -> Result<Option<Shown>, Fault> {
        Ok(self.rows.iter().find(|(tag, _)| tag == etag).map(|(_, shown)| shown.clone()))
    }
    fn is_only(&mut self, _: Resource<'_>) -> bool {
        self.rows.len() == 1
    }
    fn all(&mut self, _: Resource<'_>) -> Result<Vec<Shown>, Fault> {
        self.reads += 1;
        Ok(self.rows.iter().map(|(_, shown)| shown.clone()).collect())
    }
    fn expire(
        &mut self,
        _: usize,
        _: &dyn Fn(PackageId) -> bool,
        _: &mut dyn FnMut(Resource<'_>) -> bool,
    ) -> Result<Vec<Expired>, Fault> {
        Ok(Vec::new())
    }
    fn is_exclusive(&self) -> bool {
        false
    }
}

/// Publishes; what the one who watches was told, and how often the table was read for it.
fn publish(
    world: &mut World,
    rows: &mut Vec<(Vec<u8>, Shown)>,
    old: Option<&[u8]>,
    body: &str,
    other: Option<&str>,
) -> (String, usize) {
    let packages = world.host.packages.clone();
    let package = packages.iter().find(|p| p.name == EVENT.as_bytes()).expect("the package").id;
    let reads = world.run(|server| {
        let Server { host, subscriptions, publications } = server;
        let mut table = Rows { rows, other, shelf: &mut **publications, reads: 0 };
        let incoming = Incoming {
            resource: Resource { uri: b"sip:a@h", package },
            old_etag: old,
            given_etag: None,
            body: body.as_bytes(),
            sender: None,
            lifetime: Some(Seconds(600)),
            replace: false,
        };
        let mut server = Server { host: &mut **host, subscriptions: &mut **subscriptions, publications: &mut table };
        server.put(&incoming).expect("accepted");
        table.reads
    });
    let told = world.settle();
    (told.last().map(|n| n.body.clone()).unwrap_or_default(), reads)
}

#[test]
fn who_writes_the_only_publication_tells_it_without_reading_it() {
    for subs in [SubsMode::Memory, SubsMode::WriteThrough, SubsMode::WriteBack] {
        let mut world = World::with(Config { subs, publ: PublMode::Indexed, ..Config::default() });
        world.subscribe(&mut phone("w", "a", EVENT), Some(600)).expect("accepted");
        world.settle();
        let mut rows = Vec::new();
        assert_eq!(publish(&mut world, &mut rows, None, "1", None), ("1".into(), 0), "{subs:?}: a new one");
        let tag = rows[0].0.clone();
        assert_eq!(publish(&mut world, &mut rows, Some(&tag), "2", None), ("2".into(), 0), "{subs:?}: a change");
        let tag = rows[0].0.clone();
        let told = publish(&mut world, &mut rows, Some(&tag), "3", Some("4"));
        assert_eq!(told, ("4".into(), 1), "{subs:?}: another worker wrote meanwhile");
        assert_eq!(
            publish(&mut world, &mut rows, None, "5", None),
            ("5".into(), 1),
            "{subs:?}: it is not the only one"
        );
    }
}

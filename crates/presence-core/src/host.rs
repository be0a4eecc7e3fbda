//! What the core asks of its surroundings. In the server these are Kamailio, its packages and its database; in tests
//! they are plain values and a clock that stands still.

use crate::body::About;
use crate::config::Config;
use crate::dialog::DialogId;
use crate::package::{Package, PackageId};
use crate::refusal::{self, Exhausted, Fault, Refusal};
use crate::status::Status;
use crate::subscription::{Subscription, Texts};
use crate::time::{Now, Seconds, Timestamp};
use crate::winfo::{Extent, Watcher};
use std::rc::Rc;

/// A presentity for one package: what subscriptions and publications belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resource<'a> {
    /// `sip:user@host`.
    pub uri: &'a [u8],
    /// The package.
    pub package: PackageId,
}

/// Names a place in the book of subscriptions for as long as a NOTIFY is under way: a number that survives the way
/// through the host and is refused when the place has been given to somebody else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Token(pub u64);

/// Whose subscriptions are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted<'a> {
    /// Those to a resource.
    Resource(Resource<'a>),
    /// Those of a watcher, whatever they are to: user and host.
    Watcher(&'a [u8], &'a [u8]),
}

/// What may be tied to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tied<'a> {
    /// A subscription.
    Subscription(DialogId<'a>),
    /// A publication, by its entity-tag.
    Publication(Resource<'a>, &'a [u8]),
}

/// Counts the changes of a resource's state, in one run of the server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Version(pub u32);

impl Version {
    /// After one change more.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// A change that somebody else is to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Postponed {
    /// The resource's URI.
    pub uri: Vec<u8>,
    /// The package.
    pub package: PackageId,
    /// Some were told, and the rest is to be.
    pub is_rest: bool,
}

/// What the body of a NOTIFY is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// None: the watcher may not see the state, or there is to be no body.
    Nothing,
    /// The state of the resource.
    State,
    /// The watchers of the peer package.
    Watchers(Extent),
}

/// A NOTIFY that is due: its CSeq is taken, nobody else will send one in this dialog until it has landed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Comes back when it has landed.
    pub token: Token,
    /// The subscription as it stood when the CSeq was taken.
    pub subscription: Subscription,
    /// How long the subscription still lives.
    pub left: Seconds,
    /// What goes into it.
    pub content: Content,
}

/// How a NOTIFY left the house.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is under way; [`crate::server::Server::completed`] will be called.
    UnderWay,
    /// The script dropped it.
    Dropped,
    /// It could not be made or sent, which says nothing of the watcher.
    Failed,
    /// It could not be sent: there is no way to the watcher.
    Unreachable,
}

/// What a watcher may see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorisation {
    /// The state of its subscriptions.
    pub status: Status,
    /// Why.
    pub reason: Vec<u8>,
}

impl Authorisation {
    /// Everything, without a reason.
    #[must_use]
    pub const fn active() -> Self {
        Self { status: Status::Active, reason: Vec::new() }
    }

    /// From the columns `status` and `reason`; what is no state waits for a decision.
    #[must_use]
    pub fn of_row(status: i32, reason: &[u8]) -> Self {
        let status = Status::from_number(status.unsigned_abs()).unwrap_or(Status::Pending);
        Self { status, reason: reason.to_vec() }
    }
}

/// Who asks to watch what.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is watched.
    pub resource: Resource<'a>,
    /// User of the watcher.
    pub watcher_user: &'a [u8],
    /// Host of the watcher.
    pub watcher_domain: &'a [u8],
    /// The dialog, for packages that look at it.
    pub texts: &'a Texts,
}

/// What the rules of a presentity say of a watcher now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// User of the watcher.
    pub watcher_user: Vec<u8>,
    /// Host of the watcher.
    pub watcher_domain: Vec<u8>,
    /// What it may see.
    pub authorisation: Authorisation,
}

/// The surroundings as such.
pub trait Host {
    /// Both clocks.
    fn now(&self) -> Now;
    /// 64 random bits that nobody can guess.
    fn random(&mut self) -> u64;
    /// The configuration.
    fn config(&self) -> &Config;
    /// The registered packages.
    fn packages(&self) -> Rc<[Package]>;

    /// Sends the one final reply to the request that is being handled. False if it could not be sent.
    fn reply(&mut self, status: refusal::Status, headers: &[u8]) -> bool;
    /// Lets the package check a PUBLISH or SUBSCRIBE.
    fn check_request(&mut self, package: PackageId, publish: bool) -> Result<(), Fault>;
    /// Asks for the authorisation of a watcher: what is stored, or else what the package's rules say.
    fn authorise(&mut self, request: &Request<'_>) -> Result<Authorisation, Fault>;
    /// Asks the rules again about every watcher of a resource, and stores the answers: those that are new.
    fn decide_again(&mut self, resource: Resource<'_>) -> Vec<Decision>;
    /// Combines the documents of a resource into one. `gone` is the index of one that has just been removed and is
    /// shown as such. None if there is nothing to show.
    fn aggregate(&mut self, resource: Resource<'_>, documents: &[&[u8]], gone: Option<usize>) -> Option<Vec<u8>>;
    /// Watchers without a subscription who wait for a decision.
    fn waiting_watchers(&mut self, resource: Resource<'_>) -> Result<Vec<Watcher>, Fault>;
    /// Sends a NOTIFY with this document as its body; the package may still adapt it to the watcher.
    fn send(&mut self, notice: &Notice, body: &[u8]) -> Sent;
    /// A change was handed over: whoever tells what was postponed ([`crate::server::Server::tell_postponed`]) has something
    /// to do. Surroundings that look often enough do nothing.
    fn handed_over(&mut self) {}
    /// Something came by the connection of the request that is being handled, if it has one, and ends then at the
    /// latest: when the connection is gone before, [`crate::server::Server::cut`] is called. Surroundings without
    /// connections do nothing.
    fn tie(&mut self, what: &Tied<'_>, until: Timestamp) {
        let _ = (what, until);
    }
    /// Something is over that may have come by a connection.
    fn untie(&mut self, what: &Tied<'_>) {
        let _ = what;
    }
    /// A unique text for a row (`ruid`).
    fn row_id(&mut self) -> Vec<u8>;
    /// The `priority` of a new publication.
    fn priority(&mut self) -> i32;
}

/// What a SUBSCRIBE in a dialog changes.
#[derive(Clone, Copy, Debug)]
pub struct Renewal<'a> {
    /// CSeq of the request.
    pub remote_cseq: u32,
    /// The new end.
    pub expires: Timestamp,
    /// The new Contact.
    pub contact: &'a [u8],
}

/// Why a change in a dialog did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejected {
    /// There is no such subscription (any more).
    Unknown,
    /// A SUBSCRIBE with this CSeq or a higher one was handled already.
    OldCseq,
    /// Something failed.
    Refused(Refusal),
}

impl From<Fault> for Rejected {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault.into())
    }
}

/// Why a NOTIFY is not under way any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Landing {
    /// A final reply, or the lack of one (408).
    Answered(u16),
    /// It failed, with this answer if there was one, and is tried again after so many milliseconds. Not the last one of
    /// a dialog.
    Again(Option<u16>, u32),
    /// The script dropped it: it is not sent again.
    Dropped,
    /// It could not be sent: it is tried again a few times, later and later.
    Failed,
}

/// What has to be known to prepare a NOTIFY that is owed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due {
    /// Where the watcher is reached.
    pub contact: Vec<u8>,
    /// Whether it gets the state of a resource.
    pub sees_state: bool,
    /// Whether it had a NOTIFY about the state before the last change, and none since.
    pub saw_before: bool,
    /// The CSeq of the last NOTIFY in its dialog.
    pub last_cseq: u32,
}

/// Who stands in line for the NOTIFYs about a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    /// The book is asked while the NOTIFYs are claimed: a state that was read before is good enough.
    InMemory,
    /// Some whose rows were read just now. The state has to be read after that: a CSeq is taken only from a row that
    /// nobody has changed since, so a higher CSeq never carries an older state, whichever server sends it.
    JustRead,
    /// Nobody any more.
    Nobody,
}

/// The book of subscriptions.
///
/// Every NOTIFY starts as a [`Notice`] that the book gives out, at most one at a time for each dialog, with the CSeq
/// and the state version taken in one step: so a higher CSeq never carries an older state.
pub trait Subscriptions {
    /// The subscription of a dialog.
    fn find(&mut self, dialog: crate::dialog::DialogId<'_>) -> Result<Option<Subscription>, Fault>;
    /// The older subscriptions whose place a new one takes ([`Config::replaces`]): their texts.
    fn replaced_by(&mut self, subscription: &Subscription) -> Result<Vec<Texts>, Fault>;
    /// How many subscriptions there are; no further than to `enough`. Those of a watcher are only counted in memory
    /// where there is a limit to them.
    fn count(&mut self, of: Counted<'_>, enough: u32) -> Result<u32, Fault>;
    /// Enters a new subscription. A NOTIFY is owed to it, which [`Self::owed`] gives out after the reply. If there is one of
    /// this dialog already, that one goes on: the SUBSCRIBE came once more, and the host has forgotten that it was answered.
    fn open(&mut self, subscription: &Subscription) -> Result<Token, Refusal>;
    /// Takes a subscription that is over before it was entered: one last NOTIFY is owed.
    fn fetch(&mut self, subscription: &Subscription) -> Result<Token, Refusal>;
    /// Changes a subscription as a SUBSCRIBE in its dialog asks. A NOTIFY is owed.
    fn renew(&mut self, dialog: crate::dialog::DialogId<'_>, renewal: &Renewal<'_>) -> Result<Token, Rejected>;
    /// Ends a subscription. One last NOTIFY is owed, with the state if the watcher may see it.
    fn close(&mut self, dialog: crate::dialog::DialogId<'_>, renewal: &Renewal<'_>) -> Result<Token, Rejected>;
    /// Forgets a subscription whose watcher is gone: no NOTIFY is owed. False if there was none.
    fn forget(&mut self, dialog: crate::dialog::DialogId<'_>) -> Result<bool, Fault>;

    /// The current version of a resource's state.
    fn version(&mut self, resource: Resource<'_>) -> Version;
    /// The state of a resource changed. Gives the new version if somebody may have to be told by this process.
    fn changed(&mut self, resource: Resource<'_>) -> Result<Option<Version>, Fault>;
    /// A change of a resource is about to come: makes room, so that it can be told or put off whatever memory is left then.
    fn make_room(&mut self, _resource: Resource<'_>) -> Result<(), Exhausted> {
        Ok(())
    }
    /// A change of a resource could not be told: it is told later. False if even that cannot be kept in mind.
    fn postpone(&mut self, resource: Resource<'_>) -> bool;
    /// Somebody else goes on with telling a change, as [`Self::postponed`] says, at once. False where nobody else knows how
    /// far this has come.
    fn hand_over(&mut self, _resource: Resource<'_>) -> bool {
        false
    }
    /// A resource whose change was put off a while ago, or was handed over.
    fn postponed(&mut self) -> Option<Postponed>;
    /// Before the state is read that is told: lines up the next few watchers, where their rows are read first.
    fn line_up(&mut self, resource: Resource<'_>, except: &[u8]) -> Result<Line, Fault> {
        let _ = (resource, except);
        Ok(Line::InMemory)
    }
    /// The next few NOTIFYs about a change, until there are none (of those who were lined up). `except` is a Contact that is not told.
    fn claim(
        &mut self,
        resource: Resource<'_>,
        version: Version,
        except: &[u8],
        out: &mut Vec<Notice>,
    ) -> Result<(), Fault>;
    /// What is needed for the NOTIFY that is owed to one subscription; none if nothing is, or one is under way.
    fn due(&mut self, token: Token) -> Option<Due>;
    /// The NOTIFY that is owed to one subscription, with the state of this version, which was read after [`Self::due`]
    /// gave `last_cseq`. None if nothing is owed any more, or one is under way (then it follows when that has landed), or
    /// there was another one meanwhile, or a newer version: then its NOTIFY takes a newer document.
    fn owed(&mut self, token: Token, version: Version, last_cseq: u32) -> Result<Option<Notice>, Fault>;
    /// A NOTIFY has landed. Says whether another one is due in its dialog.
    fn landed(&mut self, token: Token, landing: Landing) -> Result<bool, Fault>;
    /// A NOTIFY failed. How many have in a row, in this dialog; a success ends the row.
    fn failed(&mut self, token: Token) -> u8;
    /// The subscription behind a token, while it lasts.
    fn of_token(&mut self, token: Token) -> Option<Subscription>;

    /// Those who watch a resource.
    fn watchers(&mut self, resource: Resource<'_>) -> Result<Vec<Watcher>, Fault>;
    /// Ends up to `budget` subscriptions that ran out: one last NOTIFY, without a body, is owed to each.
    fn expire(&mut self, budget: usize) -> Result<Vec<(Token, Subscription)>, Fault>;
    /// Dialogs whose NOTIFY was not answered in time and who have another one due.
    fn overdue(&mut self, budget: usize) -> Vec<Token>;
    /// A watcher's authorisation changed: all its subscriptions to the resource. A NOTIFY is owed to each.
    fn set_status(&mut self, request: &Request<'_>, status: &Authorisation) -> Result<Vec<Token>, Fault>;

    /// The document for those who are being told of a version: kept while the version stands.
    fn cached(&mut self, resource: Resource<'_>, version: Version, steady: bool) -> Option<Vec<u8>>;
    /// Keeps a document, if there is room. A document that is not `steady` is for those who saw what was before.
    fn cache(&mut self, resource: Resource<'_>, version: Version, steady_until: Option<Timestamp>, body: &[u8]);
}

/// A publication.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Publication {
    /// The entity-tag.
    pub etag: Vec<u8>,
    /// The document.
    pub body: Vec<u8>,
    /// Who published it, for shared lines; may be empty.
    pub sender: Vec<u8>,
    /// When it ends.
    pub expires: Timestamp,
    /// When it came.
    pub received: Timestamp,
    /// Its place among others, with `retrieve_order`.
    pub priority: i32,
    /// The row's own name.
    pub row_id: Vec<u8>,
}

/// What of a publication its watchers are shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The document.
    pub body: Vec<u8>,
    /// Who published it, for shared lines; may be empty.
    pub sender: Vec<u8>,
    /// When it ends.
    pub expires: Timestamp,
    /// When it came.
    pub received: Timestamp,
}

impl From<Publication> for Shown {
    fn from(p: Publication) -> Self {
        Self { body: p.body, sender: p.sender, expires: p.expires, received: p.received }
    }
}

/// A publication that ran out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expired {
    /// Whose it was: the resource's URI.
    pub uri: Vec<u8>,
    /// The resource's package.
    pub package: PackageId,
    /// What it showed, if somebody wants to know.
    pub shown: Option<Shown>,
}

/// A change of a publication.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The tag from now on.
    pub etag: &'a [u8],
    /// The new document; none keeps the old one.
    pub body: Option<&'a [u8]>,
    /// What it is about, for a package of dialogs.
    pub about: Option<&'a About>,
    /// The new sender; none keeps the old one.
    pub sender: Option<&'a [u8]>,
    /// The new end.
    pub expires: Timestamp,
    /// When the change came.
    pub received: Timestamp,
    /// The new place.
    pub priority: i32,
}

/// The shelf of publications.
pub trait Publications {
    /// Puts a new publication there. `replace`: instead of one with the same tag. `about`: instead of those that may be about
    /// the same dialog, in one step. If one of these says that the dialog is over and the new one does not, its document
    /// stays, and so do the others, which are about other branches: what is over stays over.
    fn insert(
        &mut self,
        resource: Resource<'_>,
        publication: &Publication,
        replace: bool,
        about: Option<&About>,
    ) -> Result<(), Refusal>;
    /// Changes the publication with this tag; [`Refusal::ConditionFailed`] if there is none. Whether what is shown changes:
    /// because of a new document, or because it had run out and was not shown any more.
    fn modify(&mut self, resource: Resource<'_>, etag: &[u8], change: &Change<'_>) -> Result<bool, Refusal>;
    /// Takes the publication with this tag away; [`Refusal::ConditionFailed`] if there is none.
    fn remove(&mut self, resource: Resource<'_>, etag: &[u8]) -> Result<Shown, Refusal>;
    /// The publication with this tag.
    fn get(&mut self, resource: Resource<'_>, etag: &[u8]) -> Result<Option<Shown>, Fault>;
    /// Whether a resource has one publication and no more, so that who has just written it need not read it.
    fn is_only(&mut self, _resource: Resource<'_>) -> bool {
        false
    }
    /// The publications of a resource that are shown, in the order in which they are combined.
    fn all(&mut self, resource: Resource<'_>) -> Result<Vec<Shown>, Fault>;
    /// Takes up to `budget` publications away that ran out; with what they showed, where the package is `wanted`. Those in
    /// a table are left where they are from one on whose change is not `ready` to be told.
    fn expire(
        &mut self,
        budget: usize,
        wanted: &dyn Fn(PackageId) -> bool,
        ready: &mut dyn FnMut(Resource<'_>) -> bool,
    ) -> Result<Vec<Expired>, Fault>;
    /// Whether nobody but this server writes publications, so that a document may be kept.
    fn is_exclusive(&self) -> bool;
}

//! The words in which a kind of operation is described: what is asked, which code answers it, who is told.

/// One of an actor's phones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Watches the actor's presentity.
    Watcher,
    /// Watches those who watch it.
    Boss,
}

/// The tag that a PUBLISH names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tag {
    None,
    Own,
    Unknown,
}

/// What a PUBLISH carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Document {
    None,
    Whole,
    Malformed,
    /// Under another Content-Type than the package's.
    Mistyped,
}

/// Where a SUBSCRIBE belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialog {
    New,
    Own,
    /// With the CSeq of the first one.
    Late,
    Unknown,
}

/// What is wrong with a SUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    None,
    /// Its Contact is no URI.
    Contact,
    /// It accepts nothing that the package sends.
    Accept,
}

/// A command over JSON-RPC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// With its type: 0 rules, 1 state.
    Refresh(u32),
    Update,
    Cleanup,
    /// The presentity's watchers, its publications, and some publications.
    Watchers,
    Publications,
    Some,
}

/// What an actor asks. An empty `event`: without the header field.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    Publish {
        event: &'static str,
        tag: Tag,
        document: Document,
        expires: u32,
    },
    Subscribe {
        role: Role,
        event: &'static str,
        dialog: Dialog,
        flaw: Flaw,
        expires: u32,
    },
    Command(Command),
    Options,
    /// Nothing: what is told comes by itself.
    Wait,
}

/// A step, and what it takes until the next one.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub ask: Ask,
    /// The one code that answers it.
    pub code: u16,
    /// The watcher, and the watcher of watchers, get a NOTIFY because of it.
    pub tells: [bool; 2],
    /// The phone of this role gets the last NOTIFY of its dialog.
    pub ends: Option<Role>,
}

impl Step {
    fn of(ask: Ask) -> Self {
        Self { ask, code: 200, tells: [false; 2], ends: None }
    }

    pub fn answered(self, code: u16) -> Self {
        Self { code, ..self }
    }

    pub fn tells(mut self, role: Role) -> Self {
        self.tells[role as usize] = true;
        self
    }

    pub fn ends(self, role: Role) -> Self {
        Self { ends: Some(role), ..self.tells(role) }
    }

    pub fn expires(mut self, seconds: u32) -> Self {
        match &mut self.ask {
            Ask::Publish { expires, .. } | Ask::Subscribe { expires, .. } => *expires = seconds,
            Ask::Command(_) | Ask::Options | Ask::Wait => {}
        }
        self
    }
}

const EXPIRES: u32 = 3600;

fn publish(event: &'static str, tag: Tag, document: Document, expires: u32) -> Step {
    Step::of(Ask::Publish { event, tag, document, expires })
}

fn subscribe(role: Role, event: &'static str, dialog: Dialog, expires: u32) -> Step {
    Step::of(Ask::Subscribe { role, event, dialog, flaw: Flaw::None, expires })
}

/// A new publication.
pub fn initial(event: &'static str) -> Step {
    publish(event, Tag::None, Document::Whole, EXPIRES)
}

/// A new publication that is refused because of its document.
pub fn unfit(event: &'static str, document: Document) -> Step {
    publish(event, Tag::None, document, EXPIRES)
}

pub fn modify(event: &'static str) -> Step {
    publish(event, Tag::Own, Document::Whole, EXPIRES)
}

pub fn refresh(event: &'static str) -> Step {
    publish(event, Tag::Own, Document::None, EXPIRES)
}

pub fn remove(event: &'static str) -> Step {
    publish(event, Tag::Own, Document::None, 0)
}

/// With a tag that nobody has.
pub fn astray(event: &'static str, expires: u32) -> Step {
    let document = if expires == 0 { Document::None } else { Document::Whole };
    publish(event, Tag::Unknown, document, expires).answered(412)
}

/// A new dialog and its first NOTIFY.
pub fn open(role: Role, event: &'static str) -> Step {
    subscribe(role, event, Dialog::New, EXPIRES).tells(role)
}

/// A SUBSCRIBE that opens no dialog, because of its package, dialog or a flaw.
pub fn refused(event: &'static str, dialog: Dialog, flaw: Flaw, code: u16) -> Step {
    let ask = Ask::Subscribe { role: Role::Watcher, event, dialog, flaw, expires: EXPIRES };
    Step::of(ask).answered(code)
}

pub fn go_on(role: Role, event: &'static str) -> Step {
    subscribe(role, event, Dialog::Own, EXPIRES).tells(role)
}

pub fn end(role: Role, event: &'static str) -> Step {
    subscribe(role, event, Dialog::Own, 0).ends(role)
}

/// A look without a subscription.
pub fn fetch(role: Role, event: &'static str) -> Step {
    subscribe(role, event, Dialog::New, 0).ends(role)
}

pub fn wait() -> Step {
    Step::of(Ask::Wait)
}

pub fn command(command: Command) -> Step {
    Step::of(Ask::Command(command))
}

pub fn options() -> Step {
    Step::of(Ask::Options)
}

/// How the server is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetUp {
    Usual,
    /// `rfc_strict` 1, `min_expires` 60, and the answer to a NOTIFY is waited for two seconds only.
    Strict,
}

/// A kind of operation. Actors do what comes before once, then the operation again and again, then what comes after.
#[derive(Clone, Debug)]
pub struct Kind {
    pub name: String,
    pub set_up: SetUp,
    pub before: Vec<Step>,
    pub operation: Vec<Step>,
    pub after: Vec<Step>,
    /// How watchers answer their NOTIFYs; none: not at all.
    pub answer: Option<u16>,
    /// Actors at the same time.
    pub actors: u32,
    /// The most operations of all rounds together that are worth their time.
    pub most: u32,
}

impl Kind {
    pub fn new(name: impl Into<String>, operation: impl Into<Vec<Step>>) -> Self {
        Self {
            name: name.into(),
            set_up: SetUp::Usual,
            before: Vec::new(),
            operation: operation.into(),
            after: Vec::new(),
            answer: Some(200),
            actors: 64,
            most: u32::MAX,
        }
    }

    pub fn between(self, before: impl Into<Vec<Step>>, after: impl Into<Vec<Step>>) -> Self {
        Self { before: before.into(), after: after.into(), ..self }
    }

    pub fn strict(self) -> Self {
        Self { set_up: SetUp::Strict, ..self }
    }

    pub fn notifies_answered(self, answer: Option<u16>) -> Self {
        Self { answer, ..self }
    }

    /// Each operation takes a second or two, whatever the load.
    pub fn slow(self) -> Self {
        Self { actors: 8192, ..self }
    }

    pub fn commanded(self) -> Self {
        Self { actors: 8, most: 10_000, ..self }
    }

    /// The step at this place, of one life of an actor: before, operation, after.
    pub fn step(&self, part: Part, place: usize) -> Option<Step> {
        let steps = match part {
            Part::Before => &self.before,
            Part::Operation => &self.operation,
            Part::After => &self.after,
        };
        steps.get(place).copied()
    }
}

/// A part of what an actor does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Before,
    Operation,
    After,
}

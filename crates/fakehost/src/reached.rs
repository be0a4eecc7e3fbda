//! What a run has seen of the core: which event met which state of a subscription, which publication met which tag, which
//! answer was given; in which storage mode. The totals are counted from the same lists.

use presence_core::config::SubsMode;
use presence_core::refusal::{Cap, Refusal};
use std::collections::BTreeSet;
use std::fmt;

/// What a subscription is when something happens to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// There is none: not yet, or not any more.
    Gone,
    /// Gets the state; no NOTIFY is on its way.
    Active,
    /// The same while a NOTIFY is on its way.
    ActiveTold,
    /// Waits for a decision.
    Pending,
    /// The same while a NOTIFY is on its way.
    PendingTold,
    /// Refused without being told so.
    Blocked,
    /// The same while a NOTIFY is on its way.
    BlockedTold,
    /// Ended, and its last NOTIFY is on its way.
    Leaving,
}

impl State {
    pub const ALL: [Self; 8] = [
        Self::Gone,
        Self::Active,
        Self::ActiveTold,
        Self::Pending,
        Self::PendingTold,
        Self::Blocked,
        Self::BlockedTold,
        Self::Leaving,
    ];

    fn is_told(self) -> bool {
        matches!(self, Self::ActiveTold | Self::PendingTold | Self::BlockedTold | Self::Leaving)
    }

    fn is_live(self) -> bool {
        !matches!(self, Self::Gone | Self::Leaving)
    }
}

/// What happens to a subscription.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Event {
    Subscribe,
    Fetch,
    Refresh,
    RefreshWithOldCseq,
    RefreshForOtherPackage,
    Unsubscribe,
    AnswerSuccess,
    AnswerEnds,
    AnswerFails,
    AnswerRetryAfter,
    AnswerTimeout,
    Publish,
    Unpublish,
    Allow,
    Confirm,
    PolitelyBlock,
    Reject,
    HoldTimeOver,
    Sweep,
    ConnectionClosed,
}

impl Event {
    pub const ALL: [Self; 20] = [
        Self::Subscribe,
        Self::Fetch,
        Self::Refresh,
        Self::RefreshWithOldCseq,
        Self::RefreshForOtherPackage,
        Self::Unsubscribe,
        Self::AnswerSuccess,
        Self::AnswerEnds,
        Self::AnswerFails,
        Self::AnswerRetryAfter,
        Self::AnswerTimeout,
        Self::Publish,
        Self::Unpublish,
        Self::Allow,
        Self::Confirm,
        Self::PolitelyBlock,
        Self::Reject,
        Self::HoldTimeOver,
        Self::Sweep,
        Self::ConnectionClosed,
    ];

    /// Whether it can happen in this state.
    fn meets(self, state: State) -> bool {
        match self {
            Self::Subscribe | Self::Fetch => state == State::Gone,
            Self::Refresh | Self::RefreshWithOldCseq | Self::RefreshForOtherPackage | Self::Unsubscribe => true,
            Self::AnswerSuccess
            | Self::AnswerEnds
            | Self::AnswerFails
            | Self::AnswerRetryAfter
            | Self::AnswerTimeout
            | Self::HoldTimeOver => state.is_told(),
            Self::Publish | Self::Unpublish | Self::Sweep => state != State::Gone,
            Self::Allow | Self::Confirm | Self::PolitelyBlock | Self::Reject | Self::ConnectionClosed => {
                state.is_live()
            }
        }
    }
}

/// What is done with a publication.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Publishing {
    Initial,
    Refresh,
    Modify,
    Remove,
}

/// Which tag it comes with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tag {
    /// None: an initial one.
    None,
    /// That of a living publication.
    Living,
    /// That of one that has run out.
    RunOut,
    /// One that the publication had before.
    Spent,
    /// That of another presentity's.
    Foreign,
    /// One that nobody gave.
    Unknown,
}

impl Publishing {
    pub const ALL: [Self; 4] = [Self::Initial, Self::Refresh, Self::Modify, Self::Remove];

    fn meets(self, tag: Tag) -> bool {
        (self == Self::Initial) == (tag == Tag::None)
    }
}

impl Tag {
    pub const ALL: [Self; 6] = [Self::None, Self::Living, Self::RunOut, Self::Spent, Self::Foreign, Self::Unknown];
}

/// A final answer of the core. 413 is not among them: only the module knows how much a database takes.
pub const ANSWERS: [&str; 14] = [
    "200",
    "202",
    "400",
    "400 no body",
    "403 watcher",
    "403 presentity",
    "406",
    "412",
    "415",
    "423",
    "481",
    "489",
    "500 out of order",
    "503",
];

/// The name of an answer in [`ANSWERS`].
#[must_use]
pub fn answer(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::BadRequest => "400",
        Refusal::InvalidRequest => "400 no body",
        Refusal::TooMany(Cap::Watcher) => "403 watcher",
        Refusal::TooMany(Cap::Presentity) => "403 presentity",
        Refusal::NotAcceptable(_) => "406",
        Refusal::ConditionFailed => "412",
        Refusal::UnsupportedType(_) => "415",
        Refusal::IntervalTooBrief(_) => "423",
        Refusal::NoSubscription => "481",
        Refusal::BadEvent => "489",
        Refusal::OutOfOrder => "500 out of order",
        Refusal::Unavailable(_) => "503",
        Refusal::TooLarge | Refusal::ServerError => "none of the core's",
    }
}

type Mode = u8;

/// The storage modes.
pub const MODES: [SubsMode; 4] = [SubsMode::Memory, SubsMode::WriteThrough, SubsMode::WriteBack, SubsMode::Database];

/// What was seen.
#[derive(Clone, Default, Debug)]
pub struct Reached {
    subscriptions: BTreeSet<(Mode, State, Event)>,
    publications: BTreeSet<(Mode, Publishing, Tag)>,
    answers: BTreeSet<&'static str>,
}

/// How much of a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    pub reached: usize,
    pub total: usize,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.reached, self.total)
    }
}

impl Reached {
    /// An event met a state.
    pub fn event(&mut self, mode: SubsMode, state: State, event: Event) {
        if event.meets(state) {
            self.subscriptions.insert((mode as Mode, state, event));
        }
    }

    /// A publication met a tag.
    pub fn publication(&mut self, mode: SubsMode, publishing: Publishing, tag: Tag) {
        if publishing.meets(tag) {
            self.publications.insert((mode as Mode, publishing, tag));
        }
    }

    /// A final answer was given, or is what a refusal says.
    pub fn answer(&mut self, name: &'static str) {
        if ANSWERS.contains(&name) {
            self.answers.insert(name);
        }
    }

    /// What another run has seen.
    pub fn merge(&mut self, other: &Self) {
        self.subscriptions.extend(&other.subscriptions);
        self.publications.extend(&other.publications);
        self.answers.extend(&other.answers);
    }

    /// States of subscriptions and events that met, over all modes.
    #[must_use]
    pub fn subscriptions(&self) -> Part {
        Part {
            reached: self.subscriptions.len(),
            total: MODES.len() * pairs(&State::ALL, &Event::ALL, |s, e| e.meets(s)),
        }
    }

    /// Publications and tags that met, over all modes.
    #[must_use]
    pub fn publications(&self) -> Part {
        let total = MODES.len() * pairs(&Tag::ALL, &Publishing::ALL, |tag, publishing| publishing.meets(tag));
        Part { reached: self.publications.len(), total }
    }

    /// Answers.
    #[must_use]
    pub fn answers(&self) -> Part {
        Part { reached: self.answers.len(), total: ANSWERS.len() }
    }

    /// What was not seen, in words.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for mode in MODES {
            for state in State::ALL {
                let events = Event::ALL.into_iter().filter(|e| e.meets(state));
                let unseen = events.filter(|e| !self.subscriptions.contains(&(mode as Mode, state, *e)));
                missing.extend(unseen.map(|event| format!("{mode:?}: {event:?} in {state:?}")));
            }
            for publishing in Publishing::ALL {
                let tags = Tag::ALL.into_iter().filter(|tag| publishing.meets(*tag));
                let unseen = tags.filter(|tag| !self.publications.contains(&(mode as Mode, publishing, *tag)));
                missing.extend(unseen.map(|tag| format!("{mode:?}: {publishing:?} with {tag:?}")));
            }
        }
        missing.extend(ANSWERS.iter().filter(|a| !self.answers.contains(*a)).map(|a| format!("the answer {a}")));
        missing
    }
}

fn pairs<A: Copy, B: Copy>(left: &[A], right: &[B], meet: impl Fn(A, B) -> bool) -> usize {
    left.iter().map(|a| right.iter().filter(|b| meet(*a, **b)).count()).sum()
}

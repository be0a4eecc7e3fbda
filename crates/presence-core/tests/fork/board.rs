//! What the processes of a test share beside the store: clocks, phones, NOTIFYs under way, and a log of all NOTIFYs.

use super::arena::{Spin, shared};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use presence_core::host::Token;

/// Processes; each has a publication of its own in every presentity.
pub const CHILDREN: usize = 4;
/// Places for watchers. Those of the first presentity are more than one batch of a fan-out.
pub const PHONES: usize = 200;
pub const PRESENTITIES: usize = 3;
const AIR: usize = 1 << 11;
const LOG: usize = 1 << 20;

/// A NOTIFY is the last of its dialog.
pub const TERMINAL: u32 = 1;
/// It carried the state.
pub const STATE: u32 = 2;
/// The host said that it could not be sent.
pub const FAILED: u32 = 4;

/// The numbers of a document, one for each publisher; 0: not there.
pub type Shown = [u32; CHILDREN];

/// A NOTIFY in the log.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub dialog: u32,
    pub cseq: u32,
    pub flags: u32,
    pub shows: Shown,
}

struct Entry {
    dialog: AtomicU32,
    cseq: AtomicU32,
    flags: AtomicU32,
    shows: [AtomicU32; CHILDREN],
}

/// A place for a watcher: the number of its dialog, or 0 while it has none.
pub struct Place {
    pub dialog: AtomicU32,
    pub cseq: AtomicU32,
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub enum Count {
    Steps,
    Published,
    Opened,
    Renewed,
    Closed,
    Answered,
    Refused,
    Overdue,
}
const COUNTS: usize = 8;

pub struct Board {
    pub unix: AtomicU32,
    pub steady: AtomicU64,
    pub phones: [Place; PHONES],
    dialogs: AtomicU32,
    /// Tokens of NOTIFYs without an answer.
    air: [AtomicU64; AIR],
    written: AtomicUsize,
    log: [Entry; LOG],
    counts: [AtomicU64; COUNTS],
    /// The last number that each process published.
    pub published: [[AtomicU32; CHILDREN]; PRESENTITIES],
    met: AtomicU64,
    /// The tags of the publications; empty if there is none.
    pub tags: [[Text<48>; CHILDREN]; PRESENTITIES],
    saying: Spin,
    complaint: Text<1024>,
}

/// A text for one writer at a time, cut to size.
pub struct Text<const N: usize>([AtomicU8; N]);

impl<const N: usize> Text<N> {
    pub fn set(&self, text: &str) {
        for (at, byte) in self.0.iter().enumerate() {
            byte.store(text.as_bytes().get(at).copied().unwrap_or(0), Relaxed);
        }
    }
    pub fn get(&self) -> String {
        let bytes = self.0.iter().map(|b| b.load(Relaxed)).take_while(|b| *b != 0).collect::<Vec<u8>>();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Board {
    pub fn new(unix: u32) -> &'static Self {
        // SAFETY: atomics and arrays of them, for which zeroes are valid.
        let board: &'static Self = unsafe { shared() };
        board.unix.store(unix, SeqCst);
        board.steady.store(1_000_000, SeqCst);
        board
    }

    pub fn count(&self, what: Count) {
        self.counts[what as usize].fetch_add(1, Relaxed);
    }

    pub fn counted(&self, what: Count) -> u64 {
        self.counts[what as usize].load(Relaxed)
    }

    /// Waits until so many have come here, over all rounds.
    pub fn meet(&self, many: u64) {
        self.met.fetch_add(1, SeqCst);
        while self.met.load(SeqCst) < many {
            std::thread::yield_now();
        }
    }

    /// The number of a new dialog.
    pub fn dialog(&self) -> u32 {
        self.dialogs.fetch_add(1, Relaxed) + 1
    }

    pub fn dialogs(&self) -> usize {
        self.dialogs.load(Relaxed) as usize
    }

    pub fn log(&self, told: &Told) {
        let entry = self.log.get(self.written.fetch_add(1, SeqCst)).expect("room in the log");
        entry.dialog.store(told.dialog, Relaxed);
        entry.cseq.store(told.cseq, Relaxed);
        entry.flags.store(told.flags, Relaxed);
        for (to, from) in entry.shows.iter().zip(told.shows) {
            to.store(from, Relaxed);
        }
    }

    /// All NOTIFYs, in the order in which the host got them.
    pub fn logged(&self) -> impl Iterator<Item = Told> {
        self.log[..self.written.load(SeqCst)].iter().map(|e| Told {
            dialog: e.dialog.load(Relaxed),
            cseq: e.cseq.load(Relaxed),
            flags: e.flags.load(Relaxed),
            shows: core::array::from_fn(|i| e.shows[i].load(Relaxed)),
        })
    }

    /// A NOTIFY is under way; any process may get the answer.
    pub fn take_off(&self, token: Token, random: u64) {
        let place = (0..AIR).find(|i| {
            let at = &self.air[(random as usize + i) % AIR];
            at.compare_exchange(0, !token.0, SeqCst, SeqCst).is_ok()
        });
        place.expect("room in the air");
    }

    /// One of the NOTIFYs that are under way.
    pub fn land(&self, random: u64) -> Option<Token> {
        (0..AIR).find_map(|i| {
            let at = &self.air[(random as usize + i) % AIR];
            let found = if at.load(Relaxed) == 0 { 0 } else { at.swap(0, SeqCst) };
            (found != 0).then_some(Token(!found))
        })
    }

    /// A process went wrong: the first one says why.
    pub fn complain(&self, text: &str) {
        self.saying.lock();
        if self.complaint.get().is_empty() {
            self.complaint.set(text);
        }
        self.saying.unlock();
    }

    pub fn complaint(&self) -> String {
        self.complaint.get()
    }
}

//! Requests that the server sent itself, without the host's transactions, and that are not answered yet: the client
//! transactions of RFC 3261 17.1.2.
//!
//! There is a queue for each interval. All in it wait equally long, so the first is the one that is due next: nothing is
//! sorted or searched. Each part has a lock of its own; what is sent again is copied out before it is sent.

use super::chain::{self, Chain, Ends, Links};
use super::records::Block;
use super::slab::{NIL, Record, Slab, Supply};
use super::{Part, block_in, boxed, hash_of};
use crate::dialog::DialogId;
use crate::host::Token;
use crate::refusal::Exhausted;
use crate::time::Millis;
use allocator_api2::{alloc::Allocator, boxed::Box};
use lock_api::RawMutex;

/// Independently locked parts.
const PARTS: usize = 16;
/// The most flights of one part.
const MOST: u32 = 1 << 18;
/// Visits of one lock.
const BUDGET: usize = 32;

/// RFC 3261 17.1.2.2, timers E and F, in milliseconds. A queue's flights wait so long until they are sent again.
const WAITS: [u64; 4] = [500, 1000, 2000, T2];
const T2: u64 = 4000;
const LIFE: u64 = 64 * 500;
/// The queues after those: for what is sent no more, because its life ends before, or because the transport is reliable.
const LAST: usize = WAITS.len();
const RELIABLE: usize = LAST + 1;
const QUEUES: usize = RELIABLE + 1;

/// Names a flight: part, slot, generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Number(u64);

const SLOT_BITS: u32 = 24;

impl Number {
    /// Letters of a number in a message.
    pub const LEN: usize = 16;

    fn new(part: usize, slot: u32, generation: u32) -> Self {
        Self((part as u64) << (SLOT_BITS + 32) | u64::from(slot) << 32 | u64::from(generation))
    }

    fn part(self) -> usize {
        (self.0 >> (SLOT_BITS + 32)) as usize
    }

    fn slot(self) -> u32 {
        (self.0 >> 32) as u32 & ((1 << SLOT_BITS) - 1)
    }

    fn generation(self) -> u32 {
        self.0 as u32
    }

    fn letters(self) -> [u8; Self::LEN] {
        core::array::from_fn(|place| b"0123456789abcdef"[(self.0 >> (60 - 4 * place)) as usize & 15])
    }

    /// Reads what was written with a message.
    pub fn read(letters: &[u8]) -> Option<Self> {
        let letters: &[u8; Self::LEN] = letters.try_into().ok()?;
        let digit = |letter: &u8| match letter {
            b'0'..=b'9' => Some(u64::from(letter - b'0')),
            b'a'..=b'f' => Some(u64::from(letter - b'a') + 10),
            _ => None,
        };
        letters.iter().try_fold(0, |number, letter| Some(number << 4 | digit(letter)?)).map(Self)
    }
}

/// What a flight is, beside its message.
#[derive(Clone, Copy, Debug)]
pub struct Flight<D> {
    /// Where to; the host's.
    pub to: D,
    /// Over a transport that repeats by itself what gets lost.
    pub is_reliable: bool,
    /// Comes back with the end.
    pub token: Token,
    /// A digest of what the reply has to repeat of the request: Call-ID, tags, CSeq.
    pub digest: u64,
}

/// A flight in shared memory; without a message it is vacant.
#[derive(Debug)]
struct Aloft<D, A: Allocator> {
    message: Block<A>,
    flight: Option<Flight<D>>,
    due: u64,
    end: u64,
    links: Links,
    generation: u32,
    queue: u8,
}

impl<D, A: Allocator> Record for Aloft<D, A> {
    fn vacant() -> Self {
        Self { message: None, flight: None, due: 0, end: 0, links: Links::NONE, generation: 0, queue: 0 }
    }

    fn link(&mut self) -> &mut u32 {
        &mut self.links.next
    }
}

struct Queued;

impl<D, A: Allocator> Chain<Aloft<D, A>> for Queued {
    fn links(record: &mut Aloft<D, A>) -> &mut Links {
        &mut record.links
    }

    fn peek(record: &Aloft<D, A>) -> Links {
        record.links
    }
}

#[derive(Debug)]
struct Sky<D, A: Allocator> {
    flights: Slab<Aloft<D, A>, A>,
    queues: [Ends; QUEUES],
}

/// What is to be done for one whose time has come.
enum Due<D, A: Allocator> {
    Again(D, Vec<u8>),
    Over(Token, Block<A>),
}

impl<D: Copy, A: Allocator + Clone> Sky<D, A> {
    fn push(&mut self, slot: u32, queue: usize, due: u64) {
        let record = self.flights.at_mut(slot);
        (record.queue, record.due) = (queue as u8, due);
        chain::push::<Queued, _, _>(&mut self.flights, &mut self.queues[queue], slot);
    }

    fn unlink(&mut self, slot: u32) {
        let queue = usize::from(self.flights.at(slot).queue);
        chain::unlink::<Queued, _, _>(&mut self.flights, &mut self.queues[queue], slot);
    }

    /// A flight that a reply is for.
    fn find(&self, number: Number, digest: u64) -> Option<u32> {
        let slot = Some(number.slot()).filter(|slot| *slot < self.flights.used())?;
        let record = self.flights.at(slot);
        let is_it = record.generation == number.generation() && record.flight.as_ref()?.digest == digest;
        is_it.then_some(slot)
    }

    /// Takes a flight out; its message is to be dropped when no lock is held.
    fn end(&mut self, slot: u32) -> Option<(Token, Block<A>)> {
        self.unlink(slot);
        let record = self.flights.at_mut(slot);
        let ended = record.flight.take().map(|flight| (flight.token, record.message.take()));
        self.flights.give_back(slot);
        ended
    }

    /// Those whose time has come, but no more than are worked on under one lock.
    fn take_all_due(&mut self, now: u64) -> Vec<Due<D, A>> {
        let mut due = Vec::new();
        for queue in 0..QUEUES {
            while let Some(next) = (due.len() < BUDGET).then(|| self.take_due(queue, now)).flatten() {
                due.push(next);
            }
        }
        due
    }

    /// The first of a queue, if its time has come.
    fn take_due(&mut self, queue: usize, now: u64) -> Option<Due<D, A>> {
        let slot = Some(self.queues[queue].first).filter(|slot| *slot != NIL)?;
        let record = self.flights.at(slot);
        if record.due > now {
            return None;
        }
        let again = record.flight.as_ref().zip(record.message.as_deref());
        let again = again.filter(|_| queue < LAST && now < record.end);
        let Some((flight, message)) = again else {
            return self.end(slot).map(|(token, message)| Due::Over(token, message));
        };
        let (due, left) = (Due::Again(flight.to, message.to_vec()), record.end - now);
        self.unlink(slot);
        // What would be sent once more after its end is only waited for.
        match (queue + 1).min(LAST - 1) {
            next if left > WAITS[0] => self.push(slot, next, now + WAITS[next].min(left)),
            _ => self.push(slot, LAST, now + left),
        }
        Some(due)
    }
}

type Parts<D, A, R> = Box<[Part<Sky<D, A>, R>], A>;

/// All flights.
pub struct Flights<D, A: Allocator, R> {
    parts: Parts<D, A, R>,
    seed: u64,
    alloc: A,
}

impl<D, A: Allocator, R> core::fmt::Debug for Flights<D, A, R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

impl<D: Copy, A: Allocator + Clone, R: RawMutex> Flights<D, A, R> {
    /// None. The seed is a secret of this run.
    pub fn new(seed: u64, alloc: A) -> Result<Self, Exhausted> {
        let sky = || Sky { flights: Slab::new(&alloc), queues: [Ends::EMPTY; QUEUES] };
        Ok(Self { parts: boxed(PARTS, &alloc, || Ok(Part::new(sky())))?, seed, alloc })
    }

    /// The digest of what a reply repeats of the request.
    pub fn digest(&self, dialog: DialogId<'_>, cseq: u32) -> u64 {
        hash_of(self.seed, [dialog.call_id, dialog.to_tag, dialog.from_tag, &cseq.to_ne_bytes()])
    }

    /// A message is about to be sent. Its number is written into it, `at` is the place.
    pub fn begin(
        &self,
        message: &mut [u8],
        at: usize,
        flight: Flight<D>,
        Millis(now): Millis,
    ) -> Result<Number, Exhausted> {
        let place = at..at + Number::LEN;
        let part = (flight.digest >> 32) as usize & (PARTS - 1);
        let mut block = Some(block_in(&self.alloc, &[message])?);
        let mut gift: Option<Supply<Aloft<D, A>, A>> = None;
        // Another process may use up what this one brings: it then brings again.
        for _ in 0..64 {
            let (left_over, outcome) = self.parts[part].with(|sky| {
                let left_over = gift.take().map(|gift| sky.flights.take_in(gift));
                if sky.flights.live() >= MOST {
                    return (left_over, Err(None));
                }
                if let Some(lack) = sky.flights.lack() {
                    return (left_over, Err(Some(lack)));
                }
                let Some(slot) = sky.flights.take() else { return (left_over, Err(None)) };
                let record = sky.flights.at_mut(slot);
                record.generation = record.generation.wrapping_add(1);
                let number = Number::new(part, slot, record.generation);
                if let Some(block) = block.as_deref_mut().and_then(|block| block.get_mut(place.clone())) {
                    block.copy_from_slice(&number.letters());
                }
                (record.message, record.flight, record.end) = (block.take(), Some(flight), now + LIFE);
                let (queue, wait) = if flight.is_reliable { (RELIABLE, LIFE) } else { (0, WAITS[0]) };
                sky.push(slot, queue, now + wait);
                (left_over, Ok(number))
            })?;
            drop(left_over);
            match outcome {
                Ok(number) => {
                    if let Some(letters) = message.get_mut(place) {
                        letters.copy_from_slice(&number.letters());
                    }
                    return Ok(number);
                }
                Err(lack) => gift = Some(Supply::make(lack.ok_or(Exhausted)?, &self.alloc)?),
            }
        }
        Err(Exhausted)
    }

    fn with<X>(&self, number: Number, run: impl FnOnce(&mut Sky<D, A>) -> Option<X>) -> Option<X> {
        self.parts.get(number.part())?.with(run).ok().flatten()
    }

    /// A final reply came, or the message could not be sent: gives the token and the message. None for what is no reply to
    /// a flight, or for one that ended before.
    pub fn end(&self, number: Number, digest: u64) -> Option<(Token, Block<A>)> {
        self.with(number, |sky| sky.find(number, digest).and_then(|slot| sky.end(slot)))
    }

    /// A provisional reply came: from now on it is sent every 4 s only.
    pub fn proceed(&self, number: Number, digest: u64, Millis(now): Millis) {
        self.with(number, |sky| {
            let slot = sky.find(number, digest)?;
            if usize::from(sky.flights.at(slot).queue) < LAST - 1 {
                sky.unlink(slot);
                sky.push(slot, LAST - 1, now + T2);
            }
            Some(())
        });
    }

    /// Sends again what is due, and ends what nobody has answered. No lock is held while either is called.
    pub fn tick(&self, Millis(now): Millis, mut again: impl FnMut(&D, &[u8]), mut over: impl FnMut(Token, &[u8])) {
        for part in &*self.parts {
            loop {
                let due = part.with(|sky| sky.take_all_due(now)).unwrap_or_default();
                let is_all = due.len() < BUDGET;
                for due in due {
                    match due {
                        Due::Again(to, message) => again(&to, &message),
                        Due::Over(token, message) => over(token, message.as_deref().unwrap_or_default()),
                    }
                }
                if is_all {
                    break;
                }
            }
        }
    }

    /// Bytes that it holds beside messages.
    pub fn bytes(&self) -> usize {
        let held = |part: &Part<Sky<D, A>, R>| part.with(|sky| sky.flights.bytes()).unwrap_or(0);
        size_of_val(&*self.parts) + self.parts.iter().map(held).sum::<usize>()
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.parts.iter().map(|part| part.with(|sky| sky.flights.live()).unwrap_or(0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fakehost::{Heap, OneAtATime};

    type Air = Flights<u8, Heap, OneAtATime>;

    fn flight(token: u64) -> Flight<u8> {
        Flight { to: 7, is_reliable: false, token: Token(token), digest: token.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }

    fn begin(sky: &Air, flight: Flight<u8>, now: u64) -> Number {
        let mut message = *b"branch=................;";
        let number = sky.begin(&mut message, 7, flight, Millis(now)).expect("memory");
        assert_eq!(message[7..23], number.letters());
        assert_eq!(Number::read(&message[7..23]), Some(number));
        number
    }

    /// When a flight is sent again within a minute, and when it is over; looked at every `step` milliseconds.
    fn story(sky: &Air, step: usize, mut answer: impl FnMut(u64)) -> (Vec<u64>, Vec<u64>) {
        let (mut again, mut over) = (Vec::new(), Vec::new());
        for now in (0..60_000).step_by(step) {
            answer(now);
            sky.tick(Millis(now), |_, _| again.push(now), |_, _| over.push(now));
        }
        (again, over)
    }

    #[test]
    fn what_nobody_answers_is_sent_eleven_times_and_is_over_after_32_seconds() {
        let sky = Air::new(7, Heap::default()).expect("memory");
        begin(&sky, flight(1), 0);
        let (again, over) = story(&sky, 10, |_| ());
        assert_eq!(again, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
        assert_eq!(over, [32_000]);
        assert_eq!(sky.count(), 0);
    }

    #[test]
    fn a_slow_clock_sends_no_more_often_and_ends_as_soon() {
        let sky = Air::new(7, Heap::default()).expect("memory");
        begin(&sky, flight(1), 0);
        let (again, over) = story(&sky, 300, |_| ());
        assert!(again.windows(2).all(|pair| pair[1] - pair[0] >= 1000), "{again:?}");
        assert!(again.len() >= 9, "{again:?}");
        assert!((32_000..32_600).contains(&over[0]), "{over:?}");
    }

    #[test]
    fn a_provisional_reply_slows_it_down() {
        let sky = Air::new(7, Heap::default()).expect("memory");
        let number = begin(&sky, flight(1), 0);
        let (again, over) = story(&sky, 10, |now| {
            if now == 600 {
                sky.proceed(number, flight(1).digest, Millis(now))
            }
        });
        assert_eq!(again, [500, 4600, 8600, 12_600, 16_600, 20_600, 24_600, 28_600]);
        assert_eq!(over, [32_000]);
    }

    #[test]
    fn over_a_reliable_transport_it_is_sent_once() {
        let sky = Air::new(7, Heap::default()).expect("memory");
        let number = begin(&sky, Flight { is_reliable: true, ..flight(1) }, 0);
        let (again, over) = story(&sky, 10, |now| {
            if now == 600 {
                sky.proceed(number, flight(1).digest, Millis(now))
            }
        });
        assert_eq!((again, over), (vec![], vec![32_000]));
    }

    #[test]
    fn only_its_own_reply_ends_a_flight_and_only_once() {
        let sky = Air::new(7, Heap::default()).expect("memory");
        let (first, digest) = (begin(&sky, flight(1), 0), flight(1).digest);
        assert!(sky.end(first, digest ^ 1).is_none(), "another dialog's");
        assert!(sky.end(Number(first.0 ^ 1), digest).is_none(), "another generation's");
        assert!(sky.end(Number(first.0 ^ 1 << 40), digest).is_none(), "a slot that was never used");
        assert!(sky.end(Number(first.0 ^ 1 << 60), digest).is_none(), "no part at all");
        let (token, message) = sky.end(first, digest).expect("its own");
        assert_eq!((token, message.as_deref().map(|m| m[7..23] == first.letters())), (Token(1), Some(true)));
        assert!(sky.end(first, digest).is_none(), "a second time");
        let second = begin(&sky, flight(1), 0);
        assert_ne!(first, second);
        assert!(sky.end(first, digest).is_none(), "the slot is somebody else's now");
        assert_eq!(sky.count(), 1);
    }

    #[test]
    fn thousands_end_in_any_order() {
        let sky = Air::new(7, Heap::default()).expect("memory");
        let mut numbers: Vec<_> = (0..5000).map(|n| (n, begin(&sky, flight(n), n / 10))).collect();
        assert_eq!(sky.count(), 5000);
        let mut random = 1u64;
        let mut over = Vec::new();
        let mut answered = 0;
        for now in (0..60_000).step_by(20) {
            sky.tick(Millis(now), |_, _| (), |token, _| over.push(token.0));
            for _ in 0..2 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (token, number) = numbers.swap_remove((random >> 33) as usize % numbers.len());
                answered += u32::from(sky.end(number, flight(token).digest).is_some());
            }
            if numbers.len() < 1000 {
                break;
            }
        }
        assert_eq!(over.len() as u32 + answered, 5000 - sky.count());
        assert!(answered > 2000 && !over.is_empty(), "{answered} {}", over.len());
    }

    #[test]
    fn without_memory_nothing_begins_and_nothing_is_lost() {
        for fails in 1.. {
            let heap = Heap::default();
            let sky = Air::new(7, heap.clone()).expect("memory");
            let before = (heap.blocks.get(), heap.made.get());
            heap.fails.set(Some(before.1 + fails));
            let mut message = [b'.'; 40];
            let begun = sky.begin(&mut message, 7, flight(1), Millis(0));
            if heap.failed.get() == 0 {
                assert!(begun.is_ok() && fails > 3, "{fails}");
                break;
            }
            assert_eq!((begun, heap.blocks.get(), sky.count()), (Err(Exhausted), before.0, 0), "{fails}");
        }
    }

    #[test]
    fn what_is_no_number_is_not_read() {
        for letters in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF", "0123456789abcde "] {
            assert_eq!(Number::read(letters.as_bytes()), None, "{letters}");
        }
    }
}

//! The swaps of one collection that wait, and are performed together.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::postgres::client::Limit;
use crate::store::{Outcome, OwnedSwap, StoreError};

/// How many swaps one transaction performs, and how many bytes of documents, at most: so that no
/// statement takes long.
const MAX_SWAPS: usize = 64;
const MAX_BYTES: usize = 256 * 1024;

/// How much of its time is left at least to a thread that performs swaps. They may be those of younger
/// calls, which fail with it when its time is over.
const RESERVE: Duration = Duration::from_secs(2);

/// The bytes of the id and the document of a swap.
fn bytes(swap: &OwnedSwap) -> usize {
    let text = swap.document.as_ref().map_or(0, |it| it.as_str().len());
    swap.id.as_str().len() + text
}

/// Whether both can be performed in one transaction, and neither depends on what comes of the other.
fn are_independent(one: &OwnedSwap, other: &OwnedSwap) -> bool {
    let expects = |it: &OwnedSwap| it.expected_collection.is_some();
    one.id != other.id && !expects(one) && !expects(other)
}

/// The outcome of a swap that was not performed.
fn failed(reason: &str) -> Outcome {
    Err(StoreError::new(reason).into())
}

/// The swaps that wait to be performed, by collection. A collection has an entry as long as a
/// thread performs swaps of it.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    collections: HashMap<String, VecDeque<Waiting>>,
    /// The number of the swap that came last.
    latest: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    swap: OwnedSwap,
    caller: Sender<Message>,
}

/// A message to the thread that has queued a swap.
#[derive(Debug)]
enum Message {
    /// It is to perform the swaps that wait. Its own is the first of them.
    Perform,
    /// Its own swap has been performed.
    Performed(Outcome),
}

impl Queue {
    /// Has `swap` performed, together with others of the collection that wait: `perform` is given
    /// all of them, and returns as many outcomes, in their order. It runs on the thread of one of
    /// them, and never twice at once for one collection.
    ///
    /// A swap whose turn does not come while [`RESERVE`] is left of its limit leaves the queue.
    pub(super) fn swap(
        &self,
        swap: OwnedSwap,
        limit: Limit,
        perform: impl Fn(&[OwnedSwap]) -> Vec<Outcome>,
    ) -> Outcome {
        let (caller, messages) = channel();
        let collection = swap.collection.clone();
        let number = self.push(swap, caller);
        let mut received = messages.recv_timeout(limit.left().saturating_sub(RESERVE));
        loop {
            match received {
                Ok(Message::Perform) => self.perform(&collection, &perform),
                Ok(Message::Performed(outcome)) => return outcome,
                Err(RecvTimeoutError::Timeout) => {
                    if self.remove(&collection, number, &messages) {
                        return failed("the writes before it have not ended");
                    }
                    // It is being performed, by a thread that has a limit of its own.
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return failed("the thread that performed the write has ended");
                }
            }
            received = messages.recv().map_err(RecvTimeoutError::from);
        }
    }

    /// Queues a swap, and returns its number.
    fn push(&self, swap: OwnedSwap, caller: Sender<Message>) -> u64 {
        let mut state = self.lock();
        state.latest += 1;
        let number = state.latest;
        let collection = swap.collection.clone();
        let waiting = Waiting {
            number,
            swap,
            caller,
        };
        if let Some(others) = state.collections.get_mut(&collection) {
            others.push_back(waiting);
        } else {
            let _ = waiting.caller.send(Message::Perform);
            let queue = VecDeque::from([waiting]);
            state.collections.insert(collection, queue);
        }
        number
    }

    /// Removes a swap that still waits; whether it did.
    fn remove(&self, collection: &str, number: u64, messages: &Receiver<Message>) -> bool {
        let mut state = self.lock();
        let Some(waiting) = state.collections.get_mut(collection) else {
            return false;
        };
        let count = waiting.len();
        waiting.retain(|it| it.number != number);
        let removed = waiting.len() < count;
        drop(state);
        if removed && messages.try_recv().is_ok() {
            // It was told to perform just now.
            drop(Turn(self, collection));
        }
        removed
    }

    fn perform(&self, collection: &str, perform: impl Fn(&[OwnedSwap]) -> Vec<Outcome>) {
        let (swaps, callers) = self.take(collection);
        let turn = Turn(self, collection);
        let outcomes = perform(&swaps);
        // The next swaps are performed while these callers are told.
        drop(turn);
        for (caller, outcome) in callers.iter().zip(outcomes) {
            let _ = caller.send(Message::Performed(outcome));
        }
    }

    /// Takes swaps that can be performed in one transaction. The others stay, in their order.
    fn take(&self, collection: &str) -> (Vec<OwnedSwap>, Vec<Sender<Message>>) {
        let mut state = self.lock();
        let Some(waiting) = state.collections.get_mut(collection) else {
            return (Vec::new(), Vec::new());
        };
        let (mut swaps, mut callers): (Vec<OwnedSwap>, _) = (Vec::new(), Vec::new());
        let mut size = 0;
        for next in mem::take(waiting) {
            let total = size + bytes(&next.swap);
            let fits = swaps.is_empty() || (swaps.len() < MAX_SWAPS && total <= MAX_BYTES);
            if fits && swaps.iter().all(|it| are_independent(it, &next.swap)) {
                size = total;
                swaps.push(next.swap);
                callers.push(next.caller);
            } else {
                waiting.push_back(next);
            }
        }
        (swaps, callers)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the next thread perform the swaps of a collection when it is dropped, after a panic too.
struct Turn<'a>(&'a Queue, &'a str);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Self(queue, collection) = self;
        let mut state = queue.lock();
        let waiting = state.collections.get(*collection);
        match waiting.and_then(VecDeque::front) {
            Some(next) => _ = next.caller.send(Message::Perform),
            None => _ = state.collections.remove(*collection),
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::document::{Document, Id};
    use crate::store::Swap;
    use crate::version::Version;

    /// Longer than anything takes that is not stuck.
    const LIMIT: Limit = Limit::Each(Duration::from_secs(20));

    fn change(id: &str, text: &str, expected_collection: Option<Version>) -> OwnedSwap {
        let id = Id::new(id).unwrap();
        let document = Document::from_stored(text).unwrap();
        let mut swap = Swap::create("notes", &id, &document);
        if let Some(version) = expected_collection {
            swap = swap.while_collection_at(version);
        }
        OwnedSwap::new(&swap, SystemTime::UNIX_EPOCH)
    }

    /// Queues these changes while another one is performed, and returns the ids of their batches.
    fn batches(changes: &[(&str, &str, Option<Version>)]) -> Vec<Vec<String>> {
        let queue = Queue::default();
        let (batches, all_wait) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let perform = |batch: &[OwnedSwap]| {
            let ids: Vec<_> = batch.iter().map(|it| it.id.to_string()).collect();
            batches.lock().unwrap().push(ids);
            while !all_wait.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            vec![Ok(Version::FIRST); batch.len()]
        };
        thread::scope(|scope| {
            let swap = |id, text, expected| {
                let performed = queue.swap(change(id, text, expected), LIMIT, perform);
                assert_eq!(performed, Ok(Version::FIRST));
            };
            scope.spawn(move || swap("first", "{}", None));
            while batches.lock().unwrap().is_empty() {
                thread::yield_now();
            }
            for (place, &(id, text, expected)) in changes.iter().enumerate() {
                scope.spawn(move || swap(id, text, expected));
                while queue.lock().collections["notes"].len() <= place {
                    thread::yield_now();
                }
            }
            all_wait.store(true, Ordering::SeqCst);
        });
        assert!(queue.lock().collections.is_empty());
        let mut batches = batches.into_inner().unwrap();
        assert_eq!(batches.remove(0), ["first"]);
        batches
    }

    #[test]
    fn a_batch_has_independent_swaps_in_their_order() {
        let (none, first) = (None, Some(Version::FIRST));
        assert_eq!(
            batches(&[("1", "{}", none), ("2", "{}", none)]),
            [["1", "2"]]
        );
        let repeated = [("1", "{}", none), ("1", "{}", none), ("2", "{}", none)];
        assert_eq!(batches(&repeated), [vec!["1", "2"], vec!["1"]]);
        let expecting = [("1", "{}", none), ("2", "{}", first), ("3", "{}", none)];
        assert_eq!(batches(&expecting), [vec!["1", "3"], vec!["2"]]);
        let expecting = [("1", "{}", first), ("2", "{}", none), ("3", "{}", first)];
        assert_eq!(batches(&expecting), [["1"], ["2"], ["3"]]);
    }

    #[test]
    fn a_batch_is_bounded() {
        let ids: Vec<String> = (0..=MAX_SWAPS).map(|id| format!("{id:03}")).collect();
        let many: Vec<_> = ids.iter().map(|id| (id.as_str(), "{}", None)).collect();
        let sizes: Vec<usize> = batches(&many).iter().map(Vec::len).collect();
        assert_eq!(sizes, [MAX_SWAPS, 1]);
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_BYTES));
        let long = [("1", long.as_str(), None), ("2", "{}", None)];
        assert_eq!(batches(&long), [["1"], ["2"]]);
    }

    #[test]
    fn a_swap_leaves_when_its_turn_does_not_come_in_time() {
        let queue = Queue::default();
        let (performed, all_wait) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let perform = |batch: &[OwnedSwap]| {
            performed
                .lock()
                .unwrap()
                .extend(batch.iter().map(|it| it.id.to_string()));
            while !all_wait.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            vec![Ok(Version::FIRST); batch.len()]
        };
        let swap = |id, limit| queue.swap(change(id, "{}", None), limit, perform);
        let soon = Limit::Each(Duration::from_millis(1));
        thread::scope(|scope| {
            let first = scope.spawn(|| swap("first", LIMIT));
            while performed.lock().unwrap().is_empty() {
                thread::yield_now();
            }
            let late = failed("the writes before it have not ended");
            let limit = Limit::within(RESERVE + Duration::from_millis(1));
            let second = (swap("second", limit), limit.left().is_zero());
            let third = scope.spawn(|| swap("third", LIMIT));
            while queue.lock().collections["notes"].is_empty() {
                thread::yield_now();
            }
            let fourth = swap("fourth", soon);
            all_wait.store(true, Ordering::SeqCst);
            assert_eq!(second, (late.clone(), false));
            assert_eq!(fourth, late);
            for it in [first, third] {
                assert_eq!(it.join().unwrap(), Ok(Version::FIRST));
            }
        });
        assert_eq!(performed.into_inner().unwrap(), ["first", "third"]);
        assert!(queue.lock().collections.is_empty());
    }

    #[test]
    fn after_a_panic_the_next_swaps_are_performed() {
        let queue = Queue::default();
        let swap = |perform: fn(&[OwnedSwap]) -> Vec<Outcome>| {
            queue.swap(change("1", "{}", None), LIMIT, perform)
        };
        let panicking = AssertUnwindSafe(|| swap(|_| panic!("this panic is part of the test")));
        assert!(catch_unwind(panicking).is_err());
        assert!(queue.lock().collections.is_empty());
        assert_eq!(swap(|_| vec![Ok(Version::FIRST)]), Ok(Version::FIRST));
    }
}

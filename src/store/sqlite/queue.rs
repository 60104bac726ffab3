//! The queue of the swaps that wait for the connection that writes.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::{Outcome, OwnedSwap};

/// The most swaps of one batch, and the most bytes of their documents. Other processes cannot write to
/// the file until the batch is committed.
const MAX_SWAPS: usize = 64;
const MAX_BYTES: usize = 1024 * 1024;

/// The size of the document of a swap, in bytes.
fn bytes(swap: &OwnedSwap) -> usize {
    swap.document.as_ref().map_or(0, |it| it.as_str().len())
}

/// The swaps that wait, in the order of their arrival.
///
/// One thread at a time has the permit to perform swaps. It performs its own swap and those of
/// threads that wait, in one batch. Then it passes the permit to the thread of the oldest swap that
/// still waits.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<QueuedSwap>,
    /// Whether a thread has the permit, or has been sent it.
    busy: bool,
}

/// A swap, and the channel to its thread if that waits.
#[derive(Debug)]
pub(super) struct QueuedSwap {
    pub(super) swap: OwnedSwap,
    thread: Option<SyncSender<Message>>,
}

/// A message to a thread that waits.
#[derive(Debug)]
enum Message {
    /// The thread now has the permit: it performs this swap, its own, and others with it.
    Perform(QueuedSwap),
    /// Another thread has performed the swap.
    Performed(Outcome),
}

impl Queue {
    /// Performs a swap, or waits until another thread has. Returns its outcome; `None` if the thread
    /// that performed it panicked.
    ///
    /// `perform` takes swaps from the queue and returns their outcomes, in the same order and after
    /// their commit. It is not called if another thread performs this swap.
    pub(super) fn submit(
        &self,
        swap: OwnedSwap,
        perform: impl FnOnce(&mut WritePermit<'_>) -> Vec<(QueuedSwap, Outcome)>,
    ) -> Option<Outcome> {
        let mut permit = match self.acquire(swap) {
            Ok(permit) => permit,
            // The channel is closed without a message if the entry was dropped, by a panic.
            Err(messages) => match messages.recv().ok()? {
                Message::Perform(own) => WritePermit::new(self, own),
                Message::Performed(outcome) => return Some(outcome),
            },
        };
        let mut performed = perform(&mut permit).into_iter();
        // The next batch begins before the threads of this one get their outcomes.
        drop(permit);
        let (_, outcome) = performed.next()?;
        for (entry, outcome) in performed {
            if let Some(thread) = entry.thread {
                let _ = thread.send(Message::Performed(outcome));
            }
        }
        Some(outcome)
    }

    /// Gives this thread the permit if no thread has it. If one has, adds the swap to those that wait.
    fn acquire(&self, swap: OwnedSwap) -> Result<WritePermit<'_>, Receiver<Message>> {
        let mut state = self.lock();
        let thread = None;
        if !std::mem::replace(&mut state.busy, true) {
            return Ok(WritePermit::new(self, QueuedSwap { swap, thread }));
        }
        let (thread, messages) = sync_channel(1);
        let thread = Some(thread);
        state.entries.push_back(QueuedSwap { swap, thread });
        Err(messages)
    }

    /// The number of swaps that wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().entries.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code between two changes of the state panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right of one thread to perform swaps. Dropping it, also by a panic, passes it to the thread of
/// the oldest swap that waits.
pub(super) struct WritePermit<'a> {
    queue: &'a Queue,
    first: Option<QueuedSwap>,
}

impl<'a> WritePermit<'a> {
    fn new(queue: &'a Queue, first: QueuedSwap) -> Self {
        Self {
            queue,
            first: Some(first),
        }
    }

    /// Takes the swap of this thread, and so many that wait.
    pub(super) fn take(&mut self, waiting: usize) -> Vec<QueuedSwap> {
        let mut state = self.queue.lock();
        let waiting = waiting.min(state.entries.len());
        let first = self.first.take().into_iter();
        first.chain(state.entries.drain(..waiting)).collect()
    }

    /// Takes the swap of this thread, and as many that wait as fit into one batch with it.
    pub(super) fn take_batch(&mut self) -> Vec<QueuedSwap> {
        let mut total = self.first.as_ref().map_or(0, |it| bytes(&it.swap));
        let fits = |entry: &&QueuedSwap| {
            total += bytes(&entry.swap);
            total <= MAX_BYTES
        };
        let state = self.queue.lock();
        let fitting = state.entries.iter().take(MAX_SWAPS - 1).take_while(fits);
        let fitting = fitting.count();
        drop(state);
        self.take(fitting)
    }
}

impl Drop for WritePermit<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        while let Some(mut oldest) = state.entries.pop_front() {
            let thread = oldest.thread.take();
            if thread.is_some_and(|it| it.send(Message::Perform(oldest)).is_ok()) {
                return;
            }
        }
        state.busy = false;
    }
}

#[cfg(test)]
#[expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::SystemTime;

    use super::*;
    use crate::document::{Document, Id};
    use crate::version::Version;

    /// A swap whose document has so many bytes.
    fn swap(bytes: usize) -> OwnedSwap {
        OwnedSwap {
            collection: "persons".to_owned(),
            id: Id::from(Version::FIRST),
            expected: None,
            document: Document::from_stored(Arc::from(format!("{{{}}}", " ".repeat(bytes - 2)))),
            expected_collection: None,
            keyed_write: None,
            now: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_batch_is_bounded_by_count_and_bytes() {
        let half = MAX_BYTES / 2;
        for (bytes, batches) in [
            (vec![2], vec![1]),
            (vec![2; MAX_SWAPS], vec![MAX_SWAPS]),
            (vec![2; 2 * MAX_SWAPS + 1], vec![MAX_SWAPS, MAX_SWAPS, 1]),
            (vec![half, half, 2], vec![2, 1]),
            (vec![half, half + 1, half - 1], vec![1, 2]),
            (vec![2, 3 * half, 2, 2], vec![1, 1, 2]),
        ] {
            let queue = Queue::default();
            let mut swaps = bytes.iter().copied().map(swap);
            let mut permit = swaps.next().and_then(|first| queue.acquire(first).ok());
            let waiting: Vec<_> = swaps.map(|it| queue.acquire(it).err()).collect();
            let mut waiting = waiting.into_iter().flatten();
            let mut taken = Vec::new();
            while let Some(mut this) = permit.take() {
                taken.push(this.take_batch().len());
                drop(this);
                permit = waiting.find_map(|messages| match messages.try_recv() {
                    Ok(Message::Perform(own)) => Some(WritePermit::new(&queue, own)),
                    _ => None,
                });
            }
            assert_eq!(taken, batches, "{bytes:?}");
            assert!(!queue.lock().busy);
        }
    }

    /// The first of three threads takes two swaps and panics; the third swap is performed.
    #[test]
    fn after_a_panic_the_others_go_on() {
        let queue = Queue::default();
        let panics = |permit: &mut WritePermit<'_>| {
            while queue.waiting() < 2 {
                thread::yield_now();
            }
            let _taken = permit.take(1);
            panic!("this panic is part of the test");
        };
        let performs = |permit: &mut WritePermit<'_>| {
            let taken = permit.take_batch().into_iter();
            taken.map(|it| (it, Ok(Version::LAST))).collect()
        };
        thread::scope(|scope| {
            let first = scope.spawn(|| queue.submit(swap(2), panics));
            while !queue.lock().busy {
                thread::yield_now();
            }
            let others = [2, 3].map(swap);
            let others = others.map(|it| scope.spawn(|| queue.submit(it, performs)));
            assert!(first.join().is_err());
            // Either of the others may have come first.
            let mut outcomes = others.map(|it| it.join().unwrap());
            outcomes.sort_by_key(Option::is_some);
            assert_eq!(outcomes, [None, Some(Ok(Version::LAST))]);
        });
        assert!(!queue.lock().busy);
    }
}

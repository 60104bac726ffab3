//! The queue of the writes that wait, and the batches that are made of them.
//!
//! A transaction with several writes takes little longer than one with a single write. So the writes
//! that come during a transaction wait, and the next transaction performs them, as a batch.
//!
//! - *Permit*: the thread that has the write permit of a partition performs a batch: its own write, and
//!   the waiting writes that it takes. A partition has one permit. After the batch it passes to the
//!   thread whose write has waited longest.
//! - *Timeout*: a write that is not taken in time leaves the queue, and fails. A write that is taken
//!   cannot leave: its thread waits for the outcome.
//! - *Deadline*: the queue knows none. A thread that has one passes a timeout that ends well before it,
//!   because its batch may begin when the timeout is nearly over.
//! - *Failure*: if the database fails, that is the outcome of each write of the batch. If the thread
//!   panics, the writes that it has taken have no outcome. In both cases the next thread gets the permit.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::store::lock;

/// The writes that wait. Each belongs to a partition, and does not wait for writes of other partitions.
#[derive(Debug)]
pub(super) struct Queue<Write, Outcome>(Mutex<State<Write, Outcome>>);

#[derive(Debug)]
struct State<Write, Outcome> {
    /// The writes of each partition, in the order of their arrival. A partition is in the map as long as
    /// a thread has its permit, or has been sent it.
    waiting: HashMap<String, VecDeque<Waiting<Write, Outcome>>>,
    /// The number of the latest write.
    latest: u64,
}

/// A write that waits, and the channel to its thread.
#[derive(Debug)]
struct Waiting<Write, Outcome> {
    number: u64,
    write: Write,
    thread: SyncSender<Message<Write, Outcome>>,
}

/// The only message to a thread that waits.
#[derive(Debug)]
enum Message<Write, Outcome> {
    /// The thread now has the permit. This is its own write, to be performed with others.
    Perform(Write),
    /// Another thread has performed the write.
    Performed(Outcome),
}

type Messages<Write, Outcome> = Receiver<Message<Write, Outcome>>;

/// Why a write has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoOutcome {
    /// It was not taken in time. It is not performed.
    TimedOut,
    /// The thread that took it has returned no outcome for it, as after a panic.
    Missing,
}

impl<Write, Outcome> Queue<Write, Outcome> {
    pub(super) fn new() -> Self {
        let (waiting, latest) = (HashMap::new(), 0);
        Self(Mutex::new(State { waiting, latest }))
    }

    /// Performs a write, or waits until another thread has performed it. Fails if the write has not
    /// been taken after the `timeout`.
    ///
    /// `perform` returns the outcomes of the [writes](WritePermit::writes) that the permit has in the
    /// end, in their order and after their commit. It is not called if another thread performs this
    /// write.
    pub(super) fn submit(
        &self,
        partition: &str,
        write: Write,
        timeout: Duration,
        perform: impl FnOnce(&mut WritePermit<'_, Write, Outcome>) -> Vec<Outcome>,
    ) -> Result<Outcome, NoOutcome> {
        let (number, messages) = match self.acquire(partition, write) {
            Ok(permit) => return permit.perform(perform),
            Err(waiting) => waiting,
        };
        let message = match messages.recv_timeout(timeout) {
            Err(RecvTimeoutError::Timeout) if self.remove(partition, number) => {
                return Err(NoOutcome::TimedOut);
            }
            // The write has just been taken, or is being performed.
            Err(RecvTimeoutError::Timeout) => messages.recv().ok(),
            message => message.ok(),
        };
        match message {
            Some(Message::Perform(write)) => {
                WritePermit::new(self, partition, write).perform(perform)
            }
            Some(Message::Performed(outcome)) => Ok(outcome),
            None => Err(NoOutcome::Missing),
        }
    }

    /// Gives this thread the permit if no thread has it. Otherwise adds the write to those that wait,
    /// and returns the number and the channel of the write.
    fn acquire<'a>(
        &'a self,
        partition: &'a str,
        write: Write,
    ) -> Result<WritePermit<'a, Write, Outcome>, (u64, Messages<Write, Outcome>)> {
        let mut state = self.lock();
        state.latest += 1;
        let number = state.latest;
        let Some(waiting) = state.waiting.get_mut(partition) else {
            state.waiting.insert(partition.to_owned(), VecDeque::new());
            return Ok(WritePermit::new(self, partition, write));
        };
        let (thread, messages) = sync_channel(1);
        waiting.push_back(Waiting {
            number,
            write,
            thread,
        });
        Err((number, messages))
    }

    /// Removes a write if it still waits. Returns whether it did.
    fn remove(&self, partition: &str, number: u64) -> bool {
        let mut state = self.lock();
        state.waiting.get_mut(partition).is_some_and(|waiting| {
            let count = waiting.len();
            waiting.retain(|it| it.number != number);
            waiting.len() < count
        })
    }

    #[cfg(any(test, feature = "sqlite"))]
    pub(super) fn waiting(&self, partition: &str) -> usize {
        self.lock().waiting.get(partition).map_or(0, VecDeque::len)
    }

    fn lock(&self) -> MutexGuard<'_, State<Write, Outcome>> {
        // A panic of `fits` drops writes that wait, which have no outcome then.
        lock(&self.0)
    }
}

/// The right of one thread to perform writes of a partition, and the writes that it performs. Dropping
/// it, also by a panic, passes it to the thread of the oldest write that waits.
pub(super) struct WritePermit<'a, Write, Outcome> {
    queue: &'a Queue<Write, Outcome>,
    partition: &'a str,
    writes: Vec<Write>,
    /// The threads of all writes but the first, which is the write of this thread.
    threads: Vec<SyncSender<Message<Write, Outcome>>>,
}

impl<'a, Write, Outcome> WritePermit<'a, Write, Outcome> {
    fn new(queue: &'a Queue<Write, Outcome>, partition: &'a str, write: Write) -> Self {
        Self {
            queue,
            partition,
            writes: vec![write],
            threads: Vec::new(),
        }
    }

    /// The write of this thread, and those that it has taken.
    pub(super) fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Takes each waiting write that fits into one batch with the earlier ones. The others stay, in
    /// their order.
    pub(super) fn take(&mut self, fits: impl Fn(&[Write], &Write) -> bool) {
        let mut state = self.queue.lock();
        let Some(waiting) = state.waiting.get_mut(self.partition) else {
            return;
        };
        for next in mem::take(waiting) {
            if fits(&self.writes, &next.write) {
                self.writes.push(next.write);
                self.threads.push(next.thread);
            } else {
                waiting.push_back(next);
            }
        }
    }

    /// Performs the writes, and sends each thread its outcome. Returns the outcome of this thread.
    fn perform(
        mut self,
        perform: impl FnOnce(&mut Self) -> Vec<Outcome>,
    ) -> Result<Outcome, NoOutcome> {
        let mut outcomes = perform(&mut self).into_iter();
        let threads = mem::take(&mut self.threads);
        // The next batch begins before the threads of this one get their outcomes.
        drop(self);
        let own = outcomes.next();
        for (thread, outcome) in threads.into_iter().zip(outcomes) {
            let _ = thread.send(Message::Performed(outcome));
        }
        own.ok_or(NoOutcome::Missing)
    }
}

impl<Write, Outcome> Drop for WritePermit<'_, Write, Outcome> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        let waiting = state.waiting.get_mut(self.partition);
        if let Some(Waiting { write, thread, .. }) = waiting.and_then(VecDeque::pop_front) {
            // The thread still waits: one that gives up removes its write first.
            let _ = thread.send(Message::Perform(write));
        } else {
            state.waiting.remove(self.partition);
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Instant;

    use super::*;

    const ONE: &str = "one";

    /// Longer than any call takes that does not hang.
    const TIMEOUT: Duration = Duration::from_secs(20);

    type TestQueue = Queue<u32, u32>;
    type Permit<'a> = WritePermit<'a, u32, u32>;

    /// A write is a number, and the numbers of a batch add up to 10 at most.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "`take` asks for it")]
    fn fits(batch: &[u32], next: &u32) -> bool {
        batch.iter().sum::<u32>() + next <= 10
    }

    /// The outcome of a write is ten times its number.
    fn perform(permit: &mut Permit<'_>) -> Vec<u32> {
        permit.take(fits);
        permit.writes().iter().map(|write| 10 * write).collect()
    }

    fn wait_until(is_true: impl Fn() -> bool) {
        let end = Instant::now() + TIMEOUT;
        while !is_true() && Instant::now() < end {
            thread::yield_now();
        }
    }

    impl TestQueue {
        /// A write whose thread gets the permit at once.
        fn first(&self, partition: &'static str, write: u32) -> Permit<'_> {
            self.acquire(partition, write).ok().unwrap()
        }

        /// A write that has to wait.
        fn next(&self, partition: &'static str, write: u32) -> (u64, Messages<u32, u32>) {
            self.acquire(partition, write).err().unwrap()
        }

        /// Whether a thread has a permit, or has been sent it.
        fn is_busy(&self) -> bool {
            !self.lock().waiting.is_empty()
        }
    }

    /// All writes arrive while the first has the permit.
    #[test]
    fn a_batch_has_each_write_that_fits_in_order() {
        for (writes, batches) in [
            (vec![1], vec![vec![1]]),
            (vec![1, 2, 3, 4], vec![vec![1, 2, 3, 4]]),
            (vec![1, 2, 3, 5], vec![vec![1, 2, 3], vec![5]]),
            (vec![3, 8, 7, 2, 1], vec![vec![3, 7], vec![8, 2], vec![1]]),
            (vec![11, 1, 12, 2], vec![vec![11], vec![1, 2], vec![12]]),
        ] {
            let queue = TestQueue::new();
            let mut permit = Some(queue.first(ONE, writes[0]));
            let waiting: Vec<_> = writes[1..].iter().map(|it| queue.next(ONE, *it)).collect();
            let mut performed = Vec::new();
            while let Some(mut this) = permit.take() {
                this.take(fits);
                performed.push(this.writes().to_vec());
                drop(this);
                permit = waiting.iter().find_map(|(_, it)| match it.try_recv() {
                    Ok(Message::Perform(own)) => Some(WritePermit::new(&queue, ONE, own)),
                    _ => None,
                });
            }
            assert_eq!(performed, batches, "{writes:?}");
            assert!(!queue.is_busy());
        }
    }

    #[test]
    fn each_thread_gets_the_outcome_of_its_write() {
        let (queue, batches) = (TestQueue::new(), AtomicUsize::new(0));
        let submit = |write| {
            queue.submit(ONE, write, TIMEOUT, |permit| {
                if batches.fetch_add(1, Ordering::SeqCst) == 0 {
                    wait_until(|| queue.waiting(ONE) == 7);
                }
                perform(permit)
            })
        };
        thread::scope(|scope| {
            let threads = [1, 2, 3, 4, 5, 6, 7, 8].map(|it| scope.spawn(move || submit(it)));
            for (thread, write) in threads.into_iter().zip(1..) {
                assert_eq!(thread.join().unwrap(), Ok(10 * write));
            }
        });
        assert!(batches.into_inner() < 8);
        assert!(!queue.is_busy());
    }

    #[test]
    fn a_write_leaves_when_it_is_not_taken_in_time() {
        let (queue, left) = (TestQueue::new(), AtomicUsize::new(0));
        let submit = |write, timeout| {
            queue.submit(ONE, write, timeout, |permit| {
                wait_until(|| left.load(Ordering::SeqCst) == 2);
                perform(permit)
            })
        };
        thread::scope(|scope| {
            let first = scope.spawn(|| submit(1, TIMEOUT));
            wait_until(|| queue.is_busy());
            for write in [2, 3] {
                let late = submit(write, Duration::from_millis(1));
                assert_eq!((late, queue.waiting(ONE)), (Err(NoOutcome::TimedOut), 0));
                left.fetch_add(1, Ordering::SeqCst);
            }
            assert_eq!(first.join().unwrap(), Ok(10));
        });
        // A thread that gets the permit at once does not wait.
        assert_eq!(submit(4, Duration::ZERO), Ok(40));
    }

    #[test]
    fn a_write_that_is_taken_does_not_leave() {
        let queue = TestQueue::new();
        let mut permit = queue.first(ONE, 1);
        let waiting = [2, 9, 3].map(|it| queue.next(ONE, it).0);
        permit.take(fits);
        let removed = waiting.map(|number| queue.remove(ONE, number));
        assert_eq!(removed, [false, true, false]);
        let (number, messages) = queue.next(ONE, 4);
        drop(permit);
        assert!(!queue.remove(ONE, number));
        assert!(matches!(messages.try_recv(), Ok(Message::Perform(4))));
    }

    #[test]
    fn writes_of_different_partitions_do_not_wait_for_each_other() {
        let queue = TestQueue::new();
        let one = queue.first("one", 1);
        let (_, messages) = queue.next("one", 2);
        let mut two = queue.first("two", 3);
        two.take(fits);
        assert_eq!(two.writes(), [3]);
        drop(two);
        assert!(messages.try_recv().is_err());
        drop(one);
        assert!(messages.try_recv().is_ok());
    }

    /// The first of three threads takes one more write and panics; the third write is performed.
    #[test]
    fn after_a_panic_the_others_go_on() {
        let queue = TestQueue::new();
        let panics = |permit: &mut Permit<'_>| {
            wait_until(|| queue.waiting(ONE) == 2);
            permit.take(|taken, _| taken.len() < 2);
            panic!("this panic is part of the test");
        };
        thread::scope(|scope| {
            let first = scope.spawn(|| queue.submit(ONE, 1, TIMEOUT, panics));
            wait_until(|| queue.is_busy());
            let others = [(); 2].map(|()| scope.spawn(|| queue.submit(ONE, 2, TIMEOUT, perform)));
            assert!(first.join().is_err());
            // Either of the others may have come first.
            let mut outcomes = others.map(|it| it.join().unwrap());
            outcomes.sort_by_key(Result::is_ok);
            assert_eq!(outcomes, [Err(NoOutcome::Missing), Ok(20)]);
        });
        assert!(!queue.is_busy());
    }
}

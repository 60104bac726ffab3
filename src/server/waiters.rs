use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::document::Id;
use crate::message::Wait;
use crate::server::lock;
use crate::store::{Listener, Store, StoreError};
use crate::version::Version;

/// The requests that wait for a change.
///
/// The store tells of the changes that are made through it. For those of other processes a watcher
/// thread compares versions, as long as any request waits.
pub(super) struct Waiters {
    store: Arc<dyn Store>,
    waiting: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    collections: HashMap<String, Collection>,
    /// The number of the waiter that came last.
    latest: u64,
    /// After what time the store wants changes of others looked for, if at all.
    interval: Option<Duration>,
    has_watcher: bool,
    /// Whether the server is stopping.
    closed: bool,
}

/// Those that wait for a change in one collection, by their numbers.
#[derive(Default)]
struct Collection {
    lists: HashMap<u64, Arc<Waiter>>,
    documents: HashMap<Id, HashMap<u64, Arc<Waiter>>>,
    /// The version at which the watcher last compared all of them.
    compared: Option<Version>,
}

struct Waiter(Mutex<Signal>);

struct Signal {
    /// The version that the client has.
    version: Version,
    changed: bool,
    waker: Option<Waker>,
}

impl Waiters {
    pub(super) fn of(store: Arc<dyn Store>) -> Arc<Self> {
        let waiters = Arc::new(Self {
            store,
            waiting: AtomicUsize::new(0),
            state: Mutex::default(),
        });
        let listener = Arc::downgrade(&waiters);
        let interval = waiters.store.listen(listener);
        lock(&waiters.state).interval = interval;
        waiters
    }

    /// Has a request wait from now on, until the ticket is dropped. Nothing when `most` requests wait
    /// already, the server is stopping, or the machine has no thread left for the watcher.
    ///
    /// What changed before this call is not told of: the caller asks the store again.
    pub(super) fn join(self: &Arc<Self>, wait: &Wait, most: usize) -> Option<Ticket> {
        let mut state = lock(&self.state);
        if state.closed || self.waiting.load(Ordering::SeqCst) >= most {
            return None;
        }
        if let Some(interval) = state.interval.filter(|_| !state.has_watcher) {
            let waiters = Arc::clone(self);
            let watcher = thread::Builder::new().name("ifmatch-watcher".into());
            watcher.spawn(move || waiters.watch(interval)).ok()?;
            state.has_watcher = true;
        }
        state.latest += 1;
        let number = state.latest;
        let waiter = Arc::new(Waiter(Mutex::new(Signal {
            version: wait.version,
            changed: false,
            waker: None,
        })));
        let collection = state
            .collections
            .entry(wait.collection.clone())
            .or_default();
        let place = match &wait.id {
            Some(id) => collection.documents.entry(id.clone()).or_default(),
            None => &mut collection.lists,
        };
        place.insert(number, Arc::clone(&waiter));
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Some(Ticket {
            waiters: Arc::clone(self),
            collection: wait.collection.clone(),
            id: wait.id.clone(),
            number,
            waiter,
        })
    }

    /// How many requests wait.
    pub(super) fn count(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Ends every wait, and lets none begin.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        for collection in state.collections.values() {
            collection.all().for_each(|waiter| waiter.tell());
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    fn leave(&self, ticket: &Ticket) {
        let mut state = lock(&self.state);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let Some(collection) = state.collections.get_mut(&ticket.collection) else {
            return;
        };
        match &ticket.id {
            None => drop(collection.lists.remove(&ticket.number)),
            Some(id) => {
                if let Some(waiters) = collection.documents.get_mut(id) {
                    waiters.remove(&ticket.number);
                    if waiters.is_empty() {
                        collection.documents.remove(id);
                    }
                }
            }
        }
        if collection.lists.is_empty() && collection.documents.is_empty() {
            state.collections.remove(&ticket.collection);
        }
    }

    /// Compares versions until no request waits any more.
    fn watch(&self, interval: Duration) {
        loop {
            thread::sleep(interval);
            let mut state = lock(&self.state);
            if state.collections.is_empty() {
                state.has_watcher = false;
                return;
            }
            let names: Vec<_> = state.collections.keys().cloned().collect();
            drop(state);
            for name in names {
                // What cannot be compared now is compared the next time.
                let _ = self.compare(&name);
            }
        }
    }

    /// Tells those that wait for a change in a collection and have not got its latest version.
    ///
    /// The version of the collection is read first. So a change after that is found the next time,
    /// also by those that join meanwhile.
    fn compare(&self, name: &str) -> Result<(), StoreError> {
        let version = self.store.version(name)?;
        let mut ids = Vec::new();
        if let Some(collection) = lock(&self.state).collections.get(name) {
            if version.is_some() && collection.compared == version {
                return Ok(());
            }
            for waiter in collection.lists.values() {
                waiter.tell_unless(version);
            }
            ids.extend(collection.documents.keys().cloned());
        }
        let versions = self.store.versions(name, &ids)?;
        if let Some(collection) = lock(&self.state).collections.get_mut(name) {
            for (id, version) in ids.iter().zip(versions) {
                let waiters = collection.documents.get(id).into_iter();
                for waiter in waiters.flat_map(HashMap::values) {
                    waiter.tell_unless(version);
                }
            }
            collection.compared = version;
        }
        Ok(())
    }
}

impl Listener for Waiters {
    fn changed(&self, collection: &str, id: Option<&Id>) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let state = lock(&self.state);
        let Some(collection) = state.collections.get(collection) else {
            return;
        };
        let Some(id) = id else {
            return collection.all().for_each(|waiter| waiter.tell());
        };
        let documents = collection.documents.get(id).into_iter();
        let documents = documents.flat_map(HashMap::values);
        for waiter in collection.lists.values().chain(documents) {
            waiter.tell();
        }
    }
}

impl Collection {
    fn all(&self) -> impl Iterator<Item = &Arc<Waiter>> {
        let documents = self.documents.values().flat_map(HashMap::values);
        self.lists.values().chain(documents)
    }
}

impl Waiter {
    fn tell(&self) {
        let mut signal = lock(&self.0);
        signal.changed = true;
        let waker = signal.waker.take();
        drop(signal);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Tells of a change unless this is the version that the client has.
    fn tell_unless(&self, version: Option<Version>) {
        if Some(lock(&self.0).version) != version {
            self.tell();
        }
    }
}

/// A request that waits.
pub(super) struct Ticket {
    waiters: Arc<Waiters>,
    collection: String,
    id: Option<Id>,
    number: u64,
    waiter: Arc<Waiter>,
}

impl Ticket {
    /// Waits for a change after this version, from now on.
    pub(super) fn expect(&self, version: Version) {
        lock(&self.waiter.0).version = version;
    }

    /// Waits on this thread until there may have been a change, or the server is stopping; no longer
    /// than to `end`.
    pub(super) fn block_until(&self, end: Instant) {
        block_until(end, |context| self.poll(context));
    }

    /// Is ready when there may have been a change, or the server is stopping.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut signal = lock(&self.waiter.0);
        if std::mem::take(&mut signal.changed) {
            return Poll::Ready(());
        }
        signal.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiters.leave(self);
    }
}

/// Waits on this thread until `poll` is ready, no longer than to `end`.
pub(super) fn block_until<T>(
    end: Instant,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(ready) = poll(&mut context) {
            return Some(ready);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

//! The requests that wait for a change, and their notification.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::document::Id;
use crate::message::Wait;
use crate::store::{Observer, Store, StoreError, lock};
use crate::version::Version;

/// The requests that wait for a change.
///
/// The store reports the changes that are made through it. Changes by other processes are found by
/// the poller: a thread that compares versions at an interval while any request waits.
pub(super) struct Waiters {
    store: Arc<dyn Store>,
    count: AtomicUsize,
    state: Mutex<WaitersState>,
}

#[derive(Default)]
struct WaitersState {
    collections: HashMap<String, CollectionWaiters>,
    /// The number of the subscription that was made last.
    last_number: u64,
    /// The interval of the poller; `None` for a store that reports every change.
    poll_interval: Option<Duration>,
    has_poller: bool,
    /// Whether the server is stopping.
    is_closed: bool,
}

/// The requests that wait for a change in one collection, by the numbers of their subscriptions.
#[derive(Default)]
struct CollectionWaiters {
    /// The waiters for a change of any document.
    lists: HashMap<u64, Arc<Waiter>>,
    documents: HashMap<Id, HashMap<u64, Arc<Waiter>>>,
    /// The version of the collection when the poller last compared the versions of all waiters.
    compared: Option<Version>,
}

/// One request that waits.
struct Waiter(Mutex<WaiterState>);

struct WaiterState {
    /// The version that the client has.
    version: Version,
    is_notified: bool,
    waker: Option<Waker>,
}

impl Waiters {
    pub(super) fn new(store: Arc<dyn Store>) -> Arc<Self> {
        let waiters = Arc::new(Self {
            store,
            count: AtomicUsize::new(0),
            state: Mutex::default(),
        });
        let observer = Arc::downgrade(&waiters);
        let interval = waiters.store.observe(observer);
        lock(&waiters.state).poll_interval = interval;
        waiters
    }

    /// Notifies a request of changes from now on, until the subscription is dropped. Returns `None`
    /// if `max` requests wait already, the server is stopping, or the poller cannot be started.
    ///
    /// The caller has to ask the store again after this call: an earlier change is not notified.
    pub(super) fn subscribe(self: &Arc<Self>, wait: &Wait, max: usize) -> Option<Subscription> {
        let mut state = lock(&self.state);
        if state.is_closed || self.count.load(Ordering::SeqCst) >= max {
            return None;
        }
        if let Some(interval) = state.poll_interval.filter(|_| !state.has_poller) {
            let waiters = Arc::clone(self);
            let poller = thread::Builder::new().name("ifmatch-poller".into());
            poller.spawn(move || waiters.poll(interval)).ok()?;
            state.has_poller = true;
        }
        state.last_number += 1;
        let number = state.last_number;
        let waiter = Arc::new(Waiter(Mutex::new(WaiterState {
            version: wait.version,
            is_notified: false,
            waker: None,
        })));
        let collection = state
            .collections
            .entry(wait.collection.clone())
            .or_default();
        let waiters = match &wait.id {
            Some(id) => collection.documents.entry(id.clone()).or_default(),
            None => &mut collection.lists,
        };
        waiters.insert(number, Arc::clone(&waiter));
        self.count.fetch_add(1, Ordering::SeqCst);
        Some(Subscription {
            waiters: Arc::clone(self),
            collection: wait.collection.clone(),
            id: wait.id.clone(),
            number,
            waiter,
        })
    }

    /// The number of requests that wait.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Notifies every request that waits, and refuses further subscriptions.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        for collection in state.collections.values() {
            collection.all().for_each(|waiter| waiter.notify());
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }

    fn unsubscribe(&self, subscription: &Subscription) {
        let mut state = lock(&self.state);
        self.count.fetch_sub(1, Ordering::SeqCst);
        let Some(collection) = state.collections.get_mut(&subscription.collection) else {
            return;
        };
        match &subscription.id {
            None => drop(collection.lists.remove(&subscription.number)),
            Some(id) => {
                if let Some(waiters) = collection.documents.get_mut(id) {
                    waiters.remove(&subscription.number);
                    if waiters.is_empty() {
                        collection.documents.remove(id);
                    }
                }
            }
        }
        if collection.lists.is_empty() && collection.documents.is_empty() {
            state.collections.remove(&subscription.collection);
        }
    }

    /// Compares versions at an interval until no request waits.
    fn poll(&self, interval: Duration) {
        loop {
            thread::sleep(interval);
            let mut state = lock(&self.state);
            if state.collections.is_empty() {
                state.has_poller = false;
                return;
            }
            let names: Vec<_> = state.collections.keys().cloned().collect();
            drop(state);
            for name in names {
                // After a failure of the store, the next round compares again.
                let _ = self.notify_outdated(&name);
            }
        }
    }

    /// Compares the version that each waiting request of a collection has with the current one.
    /// Notifies the requests whose version is another.
    ///
    /// The version of the collection is read first: a change during this call is found in the next
    /// round, for new subscriptions as well.
    fn notify_outdated(&self, name: &str) -> Result<(), StoreError> {
        let version = self.store.collection_version(name)?;
        let mut ids = Vec::new();
        if let Some(collection) = lock(&self.state).collections.get(name) {
            if version.is_some() && collection.compared == version {
                return Ok(());
            }
            for waiter in collection.lists.values() {
                waiter.notify_unless(version);
            }
            ids.extend(collection.documents.keys().cloned());
        }
        let versions = self.store.document_versions(name, &ids)?;
        if let Some(collection) = lock(&self.state).collections.get_mut(name) {
            for (id, version) in ids.iter().zip(versions) {
                let waiters = collection.documents.get(id).into_iter();
                for waiter in waiters.flat_map(HashMap::values) {
                    waiter.notify_unless(version);
                }
            }
            collection.compared = version;
        }
        Ok(())
    }
}

impl Observer for Waiters {
    fn changed(&self, collection: &str, id: Option<&Id>) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let state = lock(&self.state);
        let Some(collection) = state.collections.get(collection) else {
            return;
        };
        let Some(id) = id else {
            return collection.all().for_each(|waiter| waiter.notify());
        };
        let documents = collection.documents.get(id).into_iter();
        let documents = documents.flat_map(HashMap::values);
        for waiter in collection.lists.values().chain(documents) {
            waiter.notify();
        }
    }
}

impl CollectionWaiters {
    fn all(&self) -> impl Iterator<Item = &Arc<Waiter>> {
        let documents = self.documents.values().flat_map(HashMap::values);
        self.lists.values().chain(documents)
    }
}

impl Waiter {
    fn notify(&self) {
        let mut state = lock(&self.0);
        state.is_notified = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Notifies the request unless the client has this version.
    fn notify_unless(&self, version: Option<Version>) {
        if Some(lock(&self.0).version) != version {
            self.notify();
        }
    }
}

/// The subscription of a request that waits.
pub(super) struct Subscription {
    waiters: Arc<Waiters>,
    collection: String,
    id: Option<Id>,
    number: u64,
    waiter: Arc<Waiter>,
}

impl Subscription {
    /// Sets the version that the client has.
    pub(super) fn set_version(&self, version: Version) {
        lock(&self.waiter.0).version = version;
    }

    /// Waits on this thread until the subscription is notified, until `end` at most.
    pub(super) fn block_until(&self, end: Instant) {
        block_until(end, |context| self.poll(context));
    }

    /// Is ready when the document or the list may have changed, or the server is stopping.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.waiter.0);
        if std::mem::take(&mut state.is_notified) {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.waiters.unsubscribe(self);
    }
}

/// Waits on this thread until `poll` is ready, until `end` at most; `None` if it is not ready then.
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

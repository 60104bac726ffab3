use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::server::address::{Address, Listener};
use crate::server::lock;
use crate::server::tiny_http::Door;
use crate::server::tiny_http::visit::visit;

/// The pause between two visits while no requests come.
const IDLE: Duration = Duration::from_millis(100);

/// The pause between two visits while requests come ...
const BUSY: Duration = Duration::from_millis(10);

/// ... and for this long after the last one.
const LATELY: Duration = Duration::from_secs(1);

/// How long a connection may take to be noticed before the accept thread is taken for dead.
const NOTICE: Duration = Duration::from_secs(1);

/// How many descriptors must be free before it is tried again.
const SPARE: usize = 16;

/// Makes up for two things that `tiny_http` does wrong with its listener.
///
/// Of a burst of connections it hands several to one idle thread; those that came second wait
/// until another connection comes and ends. So the caretaker comes and goes, often while
/// requests come, now and then while none do.
///
/// Its accept thread ends for good when the machine is out of descriptors, and new connections
/// wait for ever. The caretaker sees that nobody notices it any more, and has another `tiny_http`
/// accept on the same listener.
pub(super) struct Caretaker {
    door: Arc<Door>,
    listener: Listener,
    address: Address,
}

impl Caretaker {
    pub(super) fn new(door: Arc<Door>, listener: Listener, address: Address) -> Self {
        Self {
            door,
            listener,
            address,
        }
    }

    /// Looks after the listener until the server stops.
    pub(super) fn work(self) {
        let mut loops: Vec<JoinHandle<()>> = Vec::new();
        let mut busy_until = Instant::now();
        while !self.door.stopper.is_stopping() {
            let now = Instant::now();
            if self.door.busy.swap(false, Ordering::Relaxed) {
                busy_until = now + LATELY;
            }
            thread::park_timeout(if now < busy_until { BUSY } else { IDLE });
            self.door.sideline.staff(&self.door);
            loops.retain(|running| !running.is_finished());
            loops.extend(self.door.rouse());
            let deaf = self.door.deaf.load(Ordering::SeqCst) || !self.is_noticed();
            if deaf && !self.door.stopper.is_stopping() {
                self.door.deaf.store(true, Ordering::SeqCst);
                // When there are too few descriptors, it is tried again the next time.
                let _ = self.listen_again();
            }
        }
        loops.extend(self.door.rouse());
        for ended in loops {
            // A panic in there has been printed.
            let _ = ended.join();
        }
    }

    /// Whether an accept thread takes connections; yes, if that cannot be found out.
    fn is_noticed(&self) -> bool {
        let unanswered = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
        !visit(&self.address, NOTICE).is_err_and(|error| unanswered.contains(&error.kind()))
    }

    fn listen_again(&self) -> io::Result<()> {
        let spare = (0..SPARE).map(|_| self.listener.try_clone());
        drop(spare.collect::<io::Result<Vec<_>>>()?);
        let queue = self.door.listen(&self.listener)?;
        lock(&self.door.quiet).push(queue);
        self.door.deaf.store(false, Ordering::SeqCst);
        Ok(())
    }
}

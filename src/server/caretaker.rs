use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::server::door::Door;

/// How often an idle listener is looked after.
const IDLE: Duration = Duration::from_millis(100);

/// How often one is that requests come through ...
const BUSY: Duration = Duration::from_millis(10);

/// ... or have come through for so long.
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
/// accept on the same listener, with a loop of its own.
pub(super) struct Caretaker {
    door: Arc<Door>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Caretaker {
    pub(super) fn new(door: Arc<Door>, listener: TcpListener, address: SocketAddr) -> Self {
        Self {
            door,
            listener,
            address,
        }
    }

    /// Looks after the listener until the server stops.
    pub(super) fn work(self) {
        let mut loops = Vec::new();
        let mut busy_until = Instant::now();
        while !self.door.stopping() {
            let now = Instant::now();
            if self.door.busy.swap(false, Ordering::Relaxed) {
                busy_until = now + LATELY;
            }
            thread::park_timeout(if now < busy_until { BUSY } else { IDLE });
            self.door.sideline.staff(&self.door);
            let deaf = self.door.deaf.load(Ordering::SeqCst) || !self.is_noticed();
            if deaf && !self.door.stopping() {
                self.door.deaf.store(true, Ordering::SeqCst);
                loops.extend(self.listen_again().ok());
            }
        }
        for ended in loops {
            // A panic in there has been printed.
            let _ = ended.join();
        }
    }

    /// Whether an accept thread takes connections; yes, if that cannot be found out.
    ///
    /// An empty line is no request, and `tiny_http` says so. Leaving that unread resets the
    /// connection, so that no port is left waiting.
    fn is_noticed(&self) -> bool {
        let visit = || {
            let mut stream = TcpStream::connect_timeout(&self.address, NOTICE)?;
            stream.set_read_timeout(Some(NOTICE))?;
            stream.write_all(b"\r\n")?;
            stream.peek(&mut [0])
        };
        let unanswered = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
        !visit().is_err_and(|error| unanswered.contains(&error.kind()))
    }

    fn listen_again(&self) -> io::Result<JoinHandle<()>> {
        let spare = (0..SPARE).map(|_| self.listener.try_clone());
        drop(spare.collect::<io::Result<Vec<_>>>()?);
        let (door, listener) = (Arc::clone(&self.door), self.listener.try_clone()?);
        let thread = thread::Builder::new()
            .name("ifmatch".into())
            .spawn(move || {
                if let Ok(queue) = door.listen(&listener) {
                    drop(listener);
                    door.run(&queue);
                }
            })?;
        self.door.deaf.store(false, Ordering::SeqCst);
        Ok(thread)
    }
}

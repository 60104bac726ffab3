use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::server::address::{Address, ListeningSocket};
use crate::server::tiny_http::Shared;

/// The pause between two probes while no requests come.
const IDLE: Duration = Duration::from_millis(100);

/// The pause between two probes while requests come ...
const BUSY: Duration = Duration::from_millis(10);

/// ... and for this long after the last one.
const LATELY: Duration = Duration::from_secs(1);

/// How long a probe may stay unanswered before the acceptor is taken for ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many descriptors must be free before there is another acceptor.
const SPARE: usize = 16;

/// Starts the acceptors, and makes up for three things about them. An acceptor is the thread of a
/// `tiny_http` that accepts connections.
///
/// Of a burst of connections it hands several to one idle thread; those that came second wait until
/// another connection comes and ends. So the watchdog connects and closes again: these are the
/// probes.
///
/// It ends for good when `accept` fails, as it does when the machine is out of descriptors. New
/// connections then wait in the kernel. The watchdog notices that its probes are not answered, or
/// the queue tells it, and another acceptor takes them.
///
/// `accept` also fails when no connection comes for the read timeout. So a probe comes several times
/// in each timeout. Where it cannot, for want of a descriptor or of processor time, the acceptor is
/// replaced as above; no connection is lost by that, since none came.
pub(super) struct Watchdog {
    shared: Arc<Shared>,
    listener: ListeningSocket,
    address: Address,
    /// Dropping one of them would remove the file of a Unix-domain socket.
    acceptors: Vec<Arc<tiny_http::Server>>,
    queues: Vec<JoinHandle<()>>,
}

impl Watchdog {
    /// Serves until the server is stopped.
    ///
    /// # Errors
    ///
    /// When there can be no acceptor to begin with.
    pub(super) fn run(
        shared: &Arc<Shared>,
        listener: ListeningSocket,
        address: Address,
    ) -> io::Result<()> {
        let mut watchdog = Self {
            shared: Arc::clone(shared),
            listener,
            address,
            acceptors: Vec::new(),
            queues: Vec::new(),
        };
        watchdog.accept()?;
        let mut busy_until = Instant::now();
        while !shared.stopper.is_stopping() {
            let now = Instant::now();
            if shared.busy.swap(false, Ordering::Relaxed) {
                busy_until = now + LATELY;
            }
            thread::sleep(if now < busy_until { BUSY } else { IDLE });
            shared.connections.maintain(shared);
            watchdog.queues.retain(|queue| !queue.is_finished());
            let has_ended = shared.acceptor_ended.load(Ordering::SeqCst);
            if (has_ended || !watchdog.is_accepting()) && !shared.stopper.is_stopping() {
                shared.acceptor_ended.store(true, Ordering::SeqCst);
                // When there are too few descriptors, it is tried again the next time.
                let _ = watchdog.accept_again();
            }
        }
        watchdog.shut_down();
        Ok(())
    }

    /// Starts an acceptor, and the thread that receives the requests of its connections.
    fn accept(&mut self) -> io::Result<()> {
        let number = self.acceptors.len();
        let (sender, receiver) = mpsc::channel::<Arc<tiny_http::Server>>();
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("ifmatch-queue".into());
        let queue = thread.spawn(move || {
            if let Ok(acceptor) = receiver.recv() {
                shared.receive_all(number, &acceptor);
            }
        })?;
        self.queues.push(queue);
        let acceptor = tiny_http::Server::from_listener(self.listener.try_clone()?, None)
            .map_err(io::Error::other)?;
        let acceptor = Arc::new(acceptor);
        self.shared.acceptor.store(number, Ordering::SeqCst);
        self.shared.acceptor_ended.store(false, Ordering::SeqCst);
        // The thread waits for it.
        let _ = sender.send(Arc::clone(&acceptor));
        self.acceptors.push(acceptor);
        Ok(())
    }

    fn accept_again(&mut self) -> io::Result<()> {
        let spare = (0..SPARE).map(|_| self.listener.try_clone());
        drop(spare.collect::<io::Result<Vec<_>>>()?);
        self.accept()
    }

    /// Whether an acceptor takes connections; yes, if that cannot be found out.
    fn is_accepting(&self) -> bool {
        let unanswered = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
        let patience = PATIENCE.min(self.shared.timeout / 2);
        !probe(&self.address, patience).is_err_and(|error| unanswered.contains(&error.kind()))
    }

    /// Waits for the answers under way, then lets go of the address.
    fn shut_down(self) {
        for queue in self.queues {
            // A panic in there has been printed.
            let _ = queue.join();
        }
        while !self.shared.connections.is_idle() && !self.shared.is_overdue() {
            thread::sleep(Duration::from_millis(5));
        }
        drop((self.listener, self.acceptors));
        // An acceptor only notices when a connection comes; where there are several, that may go to
        // another one.
        for _ in 0..100 {
            if probe(&self.address, Duration::from_millis(100)).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Connects and closes again, as soon as there is an answer.
///
/// An empty line is no request, and `tiny_http` says so. Leaving most of that unread resets the
/// connection, so that no port is left waiting.
///
/// # Errors
///
/// When there is no listener, or no answer for `patience`.
fn probe(address: &Address, patience: Duration) -> io::Result<()> {
    match address {
        Address::Tcp(address) => {
            let mut stream = TcpStream::connect_timeout(&reachable(*address), patience)?;
            stream.set_read_timeout(Some(patience))?;
            exchange(&mut stream)
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            let mut stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(patience))?;
            exchange(&mut stream)
        }
    }
}

fn exchange(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(b"\r\n")?;
    stream.read_exact(&mut [0])
}

/// The address at which this machine reaches a listener on `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

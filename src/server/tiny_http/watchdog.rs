//! Replacing acceptors that have ended.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::server::address::{Address, ListeningSocket};
use crate::server::tiny_http::responder::Responder;
use crate::server::tiny_http::{job_thread, receiver};

/// The pause between two probes while no requests come.
const IDLE_PAUSE: Duration = Duration::from_millis(100);

/// The pause between two probes for [`BUSY_PERIOD`] after each request.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

const BUSY_PERIOD: Duration = Duration::from_secs(1);

/// A probe that is not answered in this time shows that the acceptor has ended.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How many descriptors must be free before another acceptor is started.
const MIN_FREE_DESCRIPTORS: usize = 16;

/// Starts the acceptors, and corrects three faults of theirs. An acceptor is the thread of a
/// `tiny_http::Server` that accepts connections.
///
/// Of a burst of connections the acceptor gives several to one idle thread. The second one of these
/// waits until a further connection comes and ends. So the watchdog connects and closes again at an
/// interval: these connections are the probes.
///
/// The acceptor ends for good when `accept` fails, as it does when no descriptor is left. New
/// connections then wait in the kernel. The watchdog learns it from an unanswered probe or from the
/// receiver, and starts another acceptor.
///
/// `accept` also fails when no connection comes for the read timeout. So there are several probes in
/// each timeout. If they are late, for want of a descriptor or of processor time, the acceptor is
/// replaced as above. That loses no connection, since none has come.
pub(super) struct Watchdog {
    responder: Arc<Responder>,
    state: Arc<receiver::AcceptorState>,
    listener: ListeningSocket,
    address: Address,
    /// All that were started: dropping one would remove the file of a Unix-domain socket.
    acceptors: Vec<Arc<tiny_http::Server>>,
    receivers: Vec<JoinHandle<()>>,
}

impl Watchdog {
    /// Serves until the server is stopped.
    ///
    /// # Errors
    ///
    /// When the first acceptor cannot be started.
    pub(super) fn run(
        responder: Arc<Responder>,
        listener: ListeningSocket,
        address: Address,
    ) -> io::Result<()> {
        let mut watchdog = Self {
            responder,
            state: Arc::default(),
            listener,
            address,
            acceptors: Vec::new(),
            receivers: Vec::new(),
        };
        watchdog.start_acceptor()?;
        let mut busy_until = Instant::now();
        while !watchdog.responder.stopper.is_stopping() {
            let now = Instant::now();
            if watchdog.state.has_received.swap(false, Ordering::Relaxed) {
                busy_until = now + BUSY_PERIOD;
            }
            thread::sleep(if now < busy_until {
                BUSY_PAUSE
            } else {
                IDLE_PAUSE
            });
            watchdog.maintain();
        }
        watchdog.shut_down();
        Ok(())
    }

    /// Probes the acceptor, and replaces it if it has ended.
    fn maintain(&mut self) {
        let responder = &self.responder;
        let start = |peer| job_thread::start(responder, peer);
        responder.connections.maintain(start);
        self.receivers.retain(|it| !it.is_finished());
        let has_ended = self.state.acceptor_ended.load(Ordering::SeqCst) || !self.is_accepting();
        if has_ended && !self.responder.stopper.is_stopping() {
            self.state.acceptor_ended.store(true, Ordering::SeqCst);
            // With too few descriptors it is tried again in the next round.
            let _ = self.replace_acceptor();
        }
    }

    /// Starts an acceptor, and the thread that receives its requests.
    fn start_acceptor(&mut self) -> io::Result<()> {
        let number = self.acceptors.len();
        let (sender, started) = mpsc::channel::<Arc<tiny_http::Server>>();
        let (responder, state) = (Arc::clone(&self.responder), Arc::clone(&self.state));
        let thread = thread::Builder::new().name("ifmatch-receive".into());
        let receiver = thread.spawn(move || {
            if let Ok(server) = started.recv() {
                receiver::receive_all(&responder, &state, number, &server);
            }
        })?;
        self.receivers.push(receiver);
        let acceptor = tiny_http::Server::from_listener(self.listener.try_clone()?, None)
            .map_err(io::Error::other)?;
        let acceptor = Arc::new(acceptor);
        self.state.latest_acceptor.store(number, Ordering::SeqCst);
        self.state.acceptor_ended.store(false, Ordering::SeqCst);
        // The receiver waits for it.
        let _ = sender.send(Arc::clone(&acceptor));
        self.acceptors.push(acceptor);
        Ok(())
    }

    fn replace_acceptor(&mut self) -> io::Result<()> {
        let free = (0..MIN_FREE_DESCRIPTORS).map(|_| self.listener.try_clone());
        drop(free.collect::<io::Result<Vec<_>>>()?);
        self.start_acceptor()
    }

    /// Whether an acceptor answers a probe; true if no probe can be made.
    fn is_accepting(&self) -> bool {
        let unanswered = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
        let timeout = PROBE_TIMEOUT.min(self.responder.timeout / 2);
        !probe(&self.address, timeout).is_err_and(|error| unanswered.contains(&error.kind()))
    }

    /// Waits for the responses under way, then closes the listening socket.
    fn shut_down(self) {
        for receiver in self.receivers {
            // An error here is a panic of the thread, which the panic hook has printed.
            let _ = receiver.join();
        }
        let responder = &self.responder;
        while !responder.connections.is_idle() && !responder.is_grace_period_over() {
            thread::sleep(Duration::from_millis(5));
        }
        drop((self.listener, self.acceptors));
        // Each acceptor ends when it accepts a connection. With several acceptors, each probe ends one.
        for _ in 0..100 {
            if probe(&self.address, Duration::from_millis(100)).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Connects, and closes as soon as there is a response.
///
/// `tiny_http` answers an empty line with an error. Most of the response is left unread, so that the
/// close resets the connection, and no port stays in the state TIME-WAIT.
///
/// # Errors
///
/// When no socket listens on the address, or there is no response for `timeout`.
fn probe(address: &Address, timeout: Duration) -> io::Result<()> {
    match address {
        Address::Tcp(address) => {
            let mut stream = TcpStream::connect_timeout(&connectable(*address), timeout)?;
            stream.set_read_timeout(Some(timeout))?;
            send_and_receive(&mut stream)
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            let mut stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(timeout))?;
            send_and_receive(&mut stream)
        }
    }
}

fn send_and_receive(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(b"\r\n")?;
    stream.read_exact(&mut [0])
}

/// The address to connect to a listener on `address`, which may be unspecified.
fn connectable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::options::Options;
    use crate::server::service::Service;
    use crate::server::stopper::Stopper;
    use crate::store::MemoryStore;

    /// Each probe goes to the acceptor that has waited longest, which is not the one that ends.
    #[test]
    fn a_shutdown_ends_every_acceptor() -> io::Result<()> {
        let any_port = Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let (listener, address) = ListeningSocket::bind(&any_port)?;
        let service = Service::new(Arc::new(MemoryStore::new()), Options::default());
        let (stopper, timeout) = (Stopper::new(), Duration::from_secs(10));
        let mut watchdog = Watchdog {
            responder: Arc::new(Responder::new(Arc::new(service), stopper.clone(), timeout)),
            state: Arc::default(),
            listener,
            address: address.clone(),
            acceptors: Vec::new(),
            receivers: Vec::new(),
        };
        for _ in 0..4 {
            watchdog.start_acceptor()?;
        }
        assert!(watchdog.is_accepting());
        stopper.stop();
        watchdog.shut_down();
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = ListeningSocket::bind(&address) {
            assert!(Instant::now() < deadline, "{error}");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

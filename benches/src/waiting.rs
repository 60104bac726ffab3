//! Requests that wait for a change of one document: their cost, and the delay of their responses.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::door::Door;
use crate::figure::{Spread, grouped, milliseconds, quotient};
use crate::latency::response_times;
use crate::request::{Ask, Client, PERSONS, fill, get};
use crate::table::Row;
use crate::{Bench, Result};

/// The number of requests that wait, if the process may have so many descriptors.
const MANY: usize = 10_000;

/// The number of descriptors that a process needs for other purposes.
const OTHERS: usize = 200;

/// The duration of the measurement of idle processor time.
const PAUSE: Duration = Duration::from_secs(3);

/// The duration of the measurement of GETs.
const READS: Duration = Duration::from_millis(300);

pub fn measure(bench: &mut Bench) -> Result<()> {
    if !bench.wants("waiting") {
        return Ok(());
    }
    let most = descriptors()?.saturating_sub(OTHERS);
    let count = most.min(if bench.pace.quick { 1000 } else { MANY });
    let limit = count.to_string();
    let server = Door::Hyper.serve("memory", &["--timeout", "60", "--max-waiting", &limit])?;
    fill(server.address, PERSONS, 1)?;
    let mut reader = Client::new(server.address, 0, Ask::Get, 200)?;
    let mut writer = Client::new(server.address, 0, Ask::Put, 200)?;
    let alone = response_times(&mut reader, READS)?.median;
    let before = server.memory()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let waiting = runtime.block_on(wait(server.address, &writer.tag, count))?;
    // This gives the server time to receive all requests, so that all wait before the measurement.
    thread::sleep(Duration::from_secs(1));
    let each = server.memory()?.saturating_sub(before) / count as u64;
    let time = server.processor_time()?;
    thread::sleep(PAUSE);
    let idle = server.processor_time()?.saturating_sub(time).as_secs_f64() / PAUSE.as_secs_f64();
    let beside = response_times(&mut reader, READS)?.median;
    let times = runtime.block_on(time_responses(waiting, &mut writer))?;
    let many = grouped(quotient(count as u64, 1));
    let what = |what: &str| format!("{many} waiting: {what}");
    let bytes = format!("{} bytes", grouped(quotient(each, 1)));
    bench.add(Row::figure(what("memory for each"), bytes))?;
    let share = format!("{:.1} %", 100.0 * idle);
    bench.add(Row::figure(what("processor time meanwhile"), share))?;
    let name = what("median of a GET beside them, to alone");
    let row = Row::ratio(name, &[beside], &[alone]);
    bench.add(row.of_times().at_most(1.1))?;
    let shown = [
        ("first", times.least),
        ("median", times.median),
        ("last", times.most),
    ];
    for (which, time) in shown {
        let what = what(&format!("from PUT to the {which} 200"));
        bench.add(Row::figure(what, milliseconds(time)))?;
    }
    Ok(())
}

/// The limit of descriptors of this process and of its children.
fn descriptors() -> Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    Ok(soft.ok_or("no limits in /proc")?.parse()?)
}

/// Opens connections and sends a request that waits on each.
async fn wait(address: SocketAddr, tag: &str, count: usize) -> Result<Vec<TcpStream>> {
    let fields = format!("If-None-Match: {tag}\r\nPrefer: wait=55\r\n");
    let mut request = Vec::new();
    get(&mut request, PERSONS, 0, &fields)?;
    let mut waiting = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&request).await?;
        waiting.push(stream);
    }
    Ok(waiting)
}

/// Changes the document. Returns the seconds until the requests that wait have their 200.
async fn time_responses(waiting: Vec<TcpStream>, writer: &mut Client) -> Result<Spread> {
    let tasks = waiting.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            let mut response = [0; 1024];
            let read = stream.read(&mut response).await.unwrap_or(0);
            let begin = response.get(..read).unwrap_or_default();
            (begin.starts_with(b"HTTP/1.1 200 "), Instant::now())
        })
    });
    let tasks: Vec<_> = tasks.collect();
    tokio::task::yield_now().await;
    let begin = Instant::now();
    writer.send()?;
    let mut times = Vec::with_capacity(tasks.len());
    for task in tasks {
        let (is_changed, at) = task.await?;
        if !is_changed {
            return Err("one that waited got no 200".into());
        }
        times.push(at.duration_since(begin).as_secs_f64());
    }
    writer.receive()?;
    Ok(Spread::of(&times))
}

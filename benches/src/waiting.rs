//! Requests that wait for a change of one document: what they cost, and how late they hear of it.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::connection::Connection;
use crate::figure::{Spread, grouped, microseconds, milliseconds, quotient};
use crate::program::{Program, bound, built};
use crate::table::{Row, verdict};
use crate::{Bench, Result};

/// How many wait, if the machine has descriptors for them.
const MANY: usize = 10_000;

/// What a process needs descriptors for beside the requests that wait.
const OTHERS: usize = 200;

/// How long nothing happens.
const PAUSE: Duration = Duration::from_secs(3);

/// How many GETs are timed.
const READS: usize = 2000;

const CREATE: &[u8] = b"PUT /persons/1 HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\
    Content-Length: 21\r\n\r\n{\"person_name\":\"Wim\"}";
const REPLACE: &[u8] = b"PUT /persons/1 HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\n\
    Content-Length: 21\r\n\r\n{\"person_name\":\"Tim\"}";
const GET: &[u8] = b"GET /persons/1 HTTP/1.1\r\nHost: x\r\n\r\n";

pub fn measure(bench: &mut Bench) -> Result<()> {
    if !bench.wants("waiting") {
        return Ok(());
    }
    let most = descriptors()?.saturating_sub(OTHERS);
    let count = most.min(if bench.pace.quick { 1000 } else { MANY });
    let server = serve(count)?;
    let mut client = Connection::open(server.address)?;
    let tag = client.ask(CREATE)?.tag.ok_or("there is no tag")?;
    let alone = median(&mut client)?;
    let before = server.memory()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let waiting = runtime.block_on(wait(server.address, &tag, count))?;
    // All of them wait before anything is measured.
    thread::sleep(Duration::from_secs(1));
    let each = server.memory()?.saturating_sub(before) / count as u64;
    let time = server.processor_time()?;
    thread::sleep(PAUSE);
    let idle = server.processor_time()?.saturating_sub(time).as_secs_f64() / PAUSE.as_secs_f64();
    let beside = median(&mut client)?;
    let heard = hear(&runtime, waiting, &mut client)?;
    let many = grouped(quotient(count as u64, 1));
    let bytes = grouped(quotient(each, 1));
    bench.add(Row::figure(
        format!("{many} waiting: memory for each"),
        format!("{bytes} bytes"),
    ))?;
    let share = format!("{:.1} %", 100.0 * idle);
    bench.add(Row::figure(
        format!("{many} waiting: processor time meanwhile"),
        share,
    ))?;
    let ratio = beside / alone;
    bench.add(Row {
        what: format!("{many} waiting: median of a GET beside them, to alone"),
        figure: format!("{ratio:.2}"),
        times: [beside, alone].map(|it| microseconds(it * 1e6)),
        goal: verdict("as fast", ratio <= 1.1),
        ..Row::default()
    })?;
    for (which, time) in [
        ("first", heard.least),
        ("median", heard.median),
        ("last", heard.most),
    ] {
        let what = format!("{many} waiting: from PUT to the {which} 200");
        bench.add(Row::figure(what, milliseconds(time)))?;
    }
    Ok(())
}

fn serve(waiting: usize) -> Result<Program> {
    let mut command = bound(&[], built("ifmatch")?);
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--door",
        "hyper",
        "--timeout",
        "60",
    ]);
    Program::start(command.args(["--max-waiting", &waiting.to_string()]))
}

/// How many descriptors this process, and those it starts, may have.
fn descriptors() -> Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    Ok(soft.ok_or("no limits in /proc")?.parse()?)
}

/// The median time of a GET, in seconds.
fn median(client: &mut Connection) -> Result<f64> {
    let mut times = Vec::with_capacity(READS);
    for _ in 0..READS {
        let begin = Instant::now();
        if client.ask(GET)?.status != 200 {
            return Err("a GET was not answered with 200".into());
        }
        times.push(begin.elapsed().as_secs_f64());
    }
    Ok(Spread::of(times).median)
}

/// Connections whose request waits.
async fn wait(address: SocketAddr, tag: &str, count: usize) -> Result<Vec<TcpStream>> {
    let request = format!(
        "GET /persons/1 HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}\r\nPrefer: wait=55\r\n\r\n"
    );
    let mut waiting = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        waiting.push(stream);
    }
    Ok(waiting)
}

/// Changes the document, and gives back after how many seconds those that wait have their 200.
fn hear(runtime: &Runtime, waiting: Vec<TcpStream>, client: &mut Connection) -> Result<Spread> {
    runtime.block_on(async {
        let tasks: Vec<_> = waiting
            .into_iter()
            .map(|mut stream| {
                tokio::spawn(async move {
                    let mut answer = [0; 1024];
                    let read = stream.read(&mut answer).await.unwrap_or(0);
                    let begin = answer.get(..read).unwrap_or_default();
                    (begin.starts_with(b"HTTP/1.1 200 "), Instant::now())
                })
            })
            .collect();
        tokio::task::yield_now().await;
        let begin = Instant::now();
        client.send(REPLACE)?;
        let mut times = Vec::with_capacity(tasks.len());
        for task in tasks {
            let (is_changed, at) = task.await?;
            if !is_changed {
                return Err("one that waited got no 200".into());
            }
            times.push(at.duration_since(begin).as_secs_f64());
        }
        client.receive()?;
        Ok(Spread::of(times))
    })
}

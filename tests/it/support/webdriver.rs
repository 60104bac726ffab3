//! A browser, driven over [WebDriver](https://www.w3.org/TR/webdriver2/).

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::directory::Directory;

/// A test that waits longer than this has failed.
const STUCK: Duration = Duration::from_secs(40);

const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub const TAB: char = '\u{e004}';
pub const ENTER: char = '\u{e007}';
pub const SPACE: char = ' ';
pub const DOWN: char = '\u{e015}';

/// A window of Chromium without a screen. The storage of the pages is empty at first.
pub struct Browser {
    process: Arc<Process>,
    _alone: MutexGuard<'static, ()>,
}

/// Chromium with a profile of its own, and its driver. The start takes more processor time than
/// most tests, so tests that run at the same time share one.
struct Process {
    driver: Child,
    address: SocketAddr,
    session: String,
    profile: Directory,
}

fn installed(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut places = env::split_paths(&path).map(|place| place.join(program));
    places.find(|place| place.is_file())
}

impl Browser {
    /// Waits until no other test uses the browser, and starts it if it does not run. If it is not
    /// installed, panics if `IFMATCH_TEST_BROWSER` is set, and returns `None` otherwise.
    #[expect(clippy::print_stderr, reason = "the output names what is skipped")]
    pub fn start() -> Option<Self> {
        static RUNNING: Mutex<Weak<Process>> = Mutex::new(Weak::new());
        static ALONE: Mutex<()> = Mutex::new(());
        let (Some(chromium), Some(driver)) = (installed("chromium"), installed("chromedriver"))
        else {
            let needed = env::var_os("IFMATCH_TEST_BROWSER").is_some();
            assert!(!needed, "chromium and chromium-driver are not installed");
            eprintln!("skipped: chromium and chromium-driver are not installed");
            return None;
        };
        let process = {
            let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
            running.upgrade().unwrap_or_else(|| {
                let process = Arc::new(Process::start(&chromium, &driver));
                *running = Arc::downgrade(&process);
                process
            })
        };
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let browser = Self {
            process,
            _alone: alone,
        };
        browser.clear();
        Some(browser)
    }

    /// Closes all windows except a new one, and clears the storage of other tests.
    fn clear(&self) {
        let made = self.command("POST", "/window/new", &json!({"type": "tab"}));
        let old = self.command("GET", "/window/handles", &Value::Null);
        for handle in old.as_array().unwrap() {
            if *handle != made["handle"] {
                self.turn_to(handle.as_str().unwrap());
                self.command("DELETE", "/window", &Value::Null);
            }
        }
        self.turn_to(made["handle"].as_str().unwrap());
        let all = json!({"origin": "*", "storageTypes": "all"});
        let clear = json!({"cmd": "Storage.clearDataForOrigin", "params": all});
        self.command("POST", "/goog/cdp/execute", &clear);
        self.command("POST", "/se/log", &json!({"type": "browser"}));
    }

    fn command(&self, method: &str, path: &str, content: &Value) -> Value {
        self.process.command(method, path, content)
    }

    pub fn open(&self, url: &str) {
        self.command("POST", "/url", &json!({ "url": url }));
    }

    pub fn reload(&self) {
        self.command("POST", "/refresh", &json!({}));
    }

    /// Runs the body of a function in the page.
    pub fn run(&self, script: &str) -> Value {
        let content = json!({"script": script, "args": []});
        self.command("POST", "/execute/sync", &content)
    }

    /// Waits until an expression in the page is true. Returns its value.
    #[track_caller]
    pub fn wait(&self, expression: &str) -> Value {
        let deadline = Instant::now() + STUCK;
        loop {
            let value = self.run(&format!("return {expression}"));
            let is_true = !matches!(&value, Value::Null | Value::Bool(false)) && value != "";
            if is_true {
                return value;
            }
            if Instant::now() > deadline {
                self.screenshot("stuck");
                let shown = self.run("return document.body.innerText");
                panic!("{expression} does not become true; shown is {shown}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the element shows the text.
    #[track_caller]
    pub fn reads(&self, element: &str, text: &str) {
        self.wait(&format!(
            "document.querySelector({})?.innerText.includes({})",
            json!(element),
            json!(text)
        ));
    }

    fn element(&self, selector: &str) -> String {
        self.wait(&format!("!!document.querySelector({})", json!(selector)));
        let content = json!({"using": "css selector", "value": selector});
        let element = self.command("POST", "/element", &content);
        format!("/element/{}", element[ELEMENT].as_str().unwrap())
    }

    pub fn click(&self, selector: &str) {
        let click = format!("{}/click", self.element(selector));
        self.command("POST", &click, &json!({}));
    }

    /// Replaces the text of a field by typing.
    pub fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.command("POST", &format!("{element}/clear"), &json!({}));
        let content = json!({ "text": text });
        self.command("POST", &format!("{element}/value"), &content);
    }

    /// Presses the keys one after the other, in the element with the focus.
    pub fn press(&self, keys: impl IntoIterator<Item = char>) {
        let pressed = |key: char| {
            let key = key.to_string();
            [("keyDown", &key), ("keyUp", &key)]
                .map(|(kind, key)| json!({"type": kind, "value": key}))
        };
        let actions: Vec<_> = keys.into_iter().flat_map(pressed).collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.command("POST", "/actions", &json!({"actions": [keyboard]}));
    }

    /// Presses Tab until the element has the focus.
    #[track_caller]
    pub fn tab_to(&self, selector: &str) {
        for _ in 0..60 {
            self.press([TAB]);
            let has = format!(
                "return !!document.activeElement?.matches({})",
                json!(selector)
            );
            if self.run(&has) == true {
                return;
            }
        }
        panic!("Tab does not lead to {selector}");
    }

    /// Accepts the dialog of the page.
    pub fn accept(&self) {
        let deadline = Instant::now() + STUCK;
        while let Err(error) = self
            .process
            .try_command("POST", "/alert/accept", &json!({}))
        {
            assert!(Instant::now() < deadline, "{error}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The handle of the current window.
    pub fn window(&self) -> String {
        let handle = self.command("GET", "/window", &Value::Null);
        handle.as_str().unwrap().to_owned()
    }

    /// Opens another window, which becomes the current one.
    pub fn new_window(&self, url: &str) -> String {
        let made = self.command("POST", "/window/new", &json!({"type": "window"}));
        let handle = made["handle"].as_str().unwrap().to_owned();
        self.turn_to(&handle);
        self.open(url);
        handle
    }

    pub fn turn_to(&self, handle: &str) {
        self.command("POST", "/window", &json!({ "handle": handle }));
    }

    /// Sets the width and the height of the page, and the light or dark colour scheme.
    pub fn look(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        for (command, parameters) in [
            ("Emulation.setDeviceMetricsOverride", size),
            ("Emulation.setEmulatedMedia", media),
        ] {
            let content = json!({"cmd": command, "params": parameters});
            self.command("POST", "/goog/cdp/execute", &content);
        }
    }

    /// Saves a screenshot of the page below `target/screenshots`.
    pub fn screenshot(&self, name: &str) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        fs::create_dir_all(&directory).unwrap();
        let shown = self.command("GET", "/screenshot", &Value::Null);
        let file = directory.join(format!("{name}.png"));
        fs::write(file, decoded(shown.as_str().unwrap())).unwrap();
    }

    /// Panics if the log of the browser has an error of a script, or a violation of the page's
    /// policy. The log also has the 412 responses, which the tests expect.
    #[track_caller]
    pub fn is_clean(&self) {
        let log = self.command("POST", "/se/log", &json!({"type": "browser"}));
        for entry in log.as_array().unwrap() {
            assert_eq!(entry["source"], "network", "{entry}");
        }
    }
}

impl Process {
    fn start(chromium: &Path, driver: &Path) -> Self {
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let mut process = Self {
            driver,
            address: SocketAddr::from(([127, 0, 0, 1], port.expect("a port"))),
            session: String::new(),
            profile: Directory::new("browser"),
        };
        process.begin(chromium);
        process
    }

    fn begin(&mut self, chromium: &Path) {
        let profile = format!("--user-data-dir={}", self.profile.0.display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--force-prefers-reduced-motion",
            "--window-size=1360,940",
            &profile,
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments, "binary": chromium},
            "goog:loggingPrefs": {"browser": "ALL"},
            "unhandledPromptBehavior": "ignore",
        }}});
        let session = self.command("POST", "/session", &wanted);
        self.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
    }

    fn command(&self, method: &str, path: &str, content: &Value) -> Value {
        let result = self.try_command(method, path, content);
        result.unwrap_or_else(|error| panic!("{method} {path} {content}: {error}"))
    }

    fn try_command(&self, method: &str, path: &str, content: &Value) -> Result<Value, Value> {
        let path = format!("{}{path}", self.session);
        let content = match method {
            "POST" => content.to_string(),
            _ => String::new(),
        };
        let (status, mut response) = self
            .exchange(method, &path, &content)
            .map_err(|error| json!(error.to_string()))?;
        match status {
            200 => Ok(response["value"].take()),
            _ => Err(response["value"]["message"].take()),
        }
    }

    fn exchange(&self, method: &str, path: &str, content: &str) -> io::Result<(u16, Value)> {
        let mut stream = BufReader::new(TcpStream::connect(self.address)?);
        stream.get_ref().set_read_timeout(Some(STUCK))?;
        write!(
            stream.get_mut(),
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{content}",
            self.address,
            content.len()
        )?;
        let (mut line, mut length) = (String::new(), 0);
        stream.read_line(&mut line)?;
        let status = line.get(9..12).unwrap_or_default().parse();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut response = vec![0; length];
        stream.read_exact(&mut response)?;
        let response = serde_json::from_slice(&response)?;
        Ok((status.map_err(io::Error::other)?, response))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.try_command("DELETE", "", &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// [RFC 4648 section 4](https://www.rfc-editor.org/rfc/rfc4648#section-4)
fn decoded(base64: &str) -> Vec<u8> {
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in base64.chars().map_while(|c| digits.find(c)) {
        bits = bits << 6 | u32::try_from(digit).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 255).try_into().unwrap());
        }
    }
    bytes
}

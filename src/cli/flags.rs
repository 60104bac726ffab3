//! The table of flags, from which help, messages and the manual page are made.

use std::fmt::Write as _;

/// The description of a flag, from which the help, the manual page, the messages and the table of
/// the documentation are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flag {
    /// The name, with the dashes.
    pub name: &'static str,
    /// The placeholder of the value; `None` for a flag without a value.
    pub value: Option<&'static str>,
    /// What the value has to be, for messages, with an example.
    pub(super) wanted: &'static str,
    /// The value if the flag is not given; empty if there is none.
    pub default: &'static str,
    /// Whether the flag may be given more than once.
    pub is_repeatable: bool,
    /// The help text.
    pub help: &'static str,
}

impl Flag {
    const fn switch(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            value: None,
            wanted: "",
            default: "",
            is_repeatable: false,
            help,
        }
    }

    const fn with_value(
        name: &'static str,
        value: &'static str,
        wanted: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            value: Some(value),
            wanted,
            ..Self::switch(name, help)
        }
    }

    const fn by_default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    const fn repeatable(self) -> Self {
        Self {
            is_repeatable: true,
            ..self
        }
    }

    /// The flag of this name; `-h` and `-V` are short for `--help` and `--version`.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        let name = match name {
            "-h" => "--help",
            "-V" => "--version",
            _ => name,
        };
        FLAGS.iter().find(|flag| flag.name == name)
    }

    /// The flag with the most similar name: it differs by two characters at most, and by at most half
    /// of its characters.
    pub(super) fn nearest(name: &str) -> Option<&'static Self> {
        let distance = |flag: &&Self| distance(flag.name, name);
        let max = (name.trim_start_matches('-').len() / 2).min(2);
        let nearest = FLAGS.iter().min_by_key(distance);
        nearest.filter(|flag| distance(flag) <= max)
    }

    fn help_and_default(&self) -> String {
        match self.default {
            "" => self.help.to_owned(),
            default => format!("{} [default: {default}]", self.help),
        }
    }

    /// The flag with the placeholder of its value.
    #[must_use]
    pub fn usage(&self) -> String {
        match self.value {
            Some(value) => format!("{} {value}", self.name),
            None => self.name.to_owned(),
        }
    }
}

/// Every flag, in the order of the help.
pub const FLAGS: &[Flag] = &[
    Flag::with_value(
        "--collection",
        "NAME[:ID_MEMBER]",
        "a name such as `notes`, or `notes:slug`",
        "serve documents under /NAME, with their ids in this member, or in `id`; repeatable. \
         `persons` is built in",
    )
    .by_default("persons")
    .repeatable(),
    Flag::with_value(
        "--load",
        "FILE",
        "a file name",
        "at the start, fill the collections that are empty from this file: a JSON object of arrays",
    ),
    Flag::with_value(
        "--listen",
        "ADDRESS",
        "an address and a port such as 127.0.0.1:5000",
        "where to listen: ADDR:PORT, or unix:PATH",
    )
    .by_default("127.0.0.1:5000"),
    Flag::with_value(
        "--store",
        "STORE",
        "`memory`, `sqlite:PATH`, `sqlite:PATH?synchronous=normal` or \
         `postgres://USER@HOST/DATABASE`",
        "where the documents are kept: memory; sqlite:PATH, or postgres://USER@HOST/DATABASE with \
         the password in PGPASSWORD (a build with the feature `sqlite`, or `postgres`)",
    )
    .by_default("memory"),
    Flag::switch(
        "--no-collection-tag",
        "postgres: lists have no tag, so that writes of different documents do not wait for each \
         other",
    ),
    Flag::switch(
        "--strict",
        "follow the RFCs where the older service did not: 428, 409, quoted tags only, \
         application/problem+json",
    ),
    Flag::switch(
        "--unconditional-writes",
        "also perform PUT, PATCH and DELETE without If-Match",
    ),
    Flag::with_value(
        "--max-content",
        "BYTES",
        "a number of bytes from 1 on, such as 65536",
        "the longest content that is read, and the longest document other than a person",
    )
    .by_default("65536"),
    Flag::with_value(
        "--allow-origin",
        "ORIGIN",
        "an origin such as https://example.com, or `*`",
        "let pages of this origin read and write, `*` those of every origin; repeatable",
    )
    .repeatable(),
    Flag::with_value(
        "--allow-host",
        "NAME",
        "a host name such as example.com",
        "know the server by this name, and turn away requests for any other; repeatable",
    )
    .repeatable(),
    Flag::switch(
        "--access-log",
        "log each response to stderr, in the Common Log Format with microseconds at the end",
    ),
    Flag::switch(
        "--metrics",
        "count requests, and show the counters to Prometheus at /metrics",
    ),
    Flag::with_value(
        "--token-file",
        "FILE",
        "a file name",
        "ask every request for the bearer token in this file",
    ),
    Flag::switch("--no-page", "show no page to browsers at /"),
    Flag::with_value(
        "--door",
        "NAME",
        "`tiny_http` or `hyper`",
        "tiny_http, for callers you trust, or hyper, for others (a build with the feature `hyper`)",
    )
    .by_default("tiny_http"),
    Flag::with_value(
        "--max-connections",
        "N",
        "a number of connections such as 256",
        "hyper: the most that are open at once",
    )
    .by_default("256"),
    Flag::with_value(
        "--timeout",
        "SECONDS",
        "a number of seconds such as 10",
        "how long a client may take for a head, for the content, and to take more of a response; \
         tiny_http: how long it may be silent",
    )
    .by_default("10"),
    Flag::with_value(
        "--max-waiting",
        "N",
        "a number of requests such as 1000",
        "hyper: the most requests that wait for a change at once; they do not count as connections",
    )
    .by_default("1000"),
    Flag::with_value(
        "--threads",
        "N",
        "a number of threads such as 4",
        "hyper: how many serve the connections",
    )
    .by_default("1"),
    Flag::switch("--help", "print this"),
    Flag::switch("--man", "print the manual page, as `man -l -` reads it"),
    Flag::switch("--version", "print the version"),
];

const ABOUT: &str = "Serves collections of JSON documents over HTTP, so that no update is lost.";

const DUMP: &str = "`dump` writes all documents of a store to stdout while servers go on, as a JSON \
                    object of arrays, which `--load` reads.";

/// The text that `--help` prints.
#[must_use]
pub fn help() -> String {
    let mut help = format!(
        "{ABOUT}\n\nUsage: ifmatch [OPTIONS]\n       ifmatch dump --store STORE\n\n{}\n\nOptions:\n",
        wrapped(DUMP, 0)
    );
    for flag in FLAGS {
        let usage = format!("  {}", flag.usage());
        let text = wrapped(&flag.help_and_default(), COLUMN);
        // The text of a long flag begins on the next line.
        let gap = if usage.len() < COLUMN {
            " ".repeat(COLUMN - usage.len())
        } else {
            format!("\n{}", " ".repeat(COLUMN))
        };
        // Writing to a String cannot fail.
        let _ = writeln!(help, "{usage}{gap}{text}");
    }
    help
}

/// The column at which the texts of the help begin.
const COLUMN: usize = 26;

/// The width of the help in characters.
const WIDTH: usize = 80;

/// The text broken into lines, with all lines but the first indented.
fn wrapped(text: &str, indent: usize) -> String {
    let (mut wrapped, mut width) = (String::new(), indent);
    for word in text.split(' ') {
        if width + 1 + word.len() > WIDTH {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            width = indent;
        } else if !wrapped.is_empty() {
            wrapped.push(' ');
            width += 1;
        }
        wrapped.push_str(word);
        width += word.len();
    }
    wrapped
}

/// The text that `--man` prints: the manual page in the format of `man`.
#[must_use]
pub fn man() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(
        ".TH IFMATCH 1 \"\" \"ifmatch {version}\"\n.SH NAME\nifmatch \\- serve JSON documents so \
         that no update is lost\n.SH SYNOPSIS\n.B ifmatch\n[OPTIONS]\n.br\n.B ifmatch dump\n\
         \\-\\-store STORE\n.SH DESCRIPTION\n{}\n.PP\n{}\n.SH OPTIONS\n",
        roff(ABOUT),
        roff(DUMP),
    );
    for flag in FLAGS {
        let (name, value) = (roff(flag.name), flag.value.unwrap_or_default());
        let help = roff(&flag.help_and_default());
        let _ = write!(page, ".TP\n.B {name} {value}\n{help}\n");
    }
    page.push_str(
        ".SH EXIT STATUS\n0 when it was told to stop, 1 when it cannot serve, 2 when the command \
         line cannot be understood.\n",
    );
    page
}

/// The text escaped for the manual page, in which a plain `-` would be shown as another character.
fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// The edit distance: how many characters have to be inserted, removed or replaced.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (before, a) in one.chars().enumerate() {
        let mut left = before + 1;
        let mut next = vec![left];
        for (pair, b) in row.windows(2).zip(other.chars()) {
            let [diagonal, above] = *pair else { break };
            left = (left + 1)
                .min(above + 1)
                .min(diagonal + usize::from(a != b));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

//! The transcripts of the README and of the pages in `docs`, replayed against the built program.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::client::{Client, request};
use crate::support::directory::Directory;
use crate::support::serving::Program;

/// The pages with transcripts, in the order in which these are replayed.
const PAGES: [&str; 4] = [
    include_str!("../../README.md"),
    include_str!("../../docs/retries.md"),
    include_str!("../../docs/waiting.md"),
    include_str!("../../docs/operation.md"),
];

/// A command, and its output in the transcript.
struct Step<'a> {
    command: &'a str,
    printed: Vec<&'a str>,
}

fn steps(readme: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match (inside, line.strip_prefix("$ ")) {
            (false, _) => inside = line == "```console",
            (true, _) if line == "```" => inside = false,
            (true, Some(command)) => steps.push(Step {
                command,
                printed: Vec::new(),
            }),
            (true, None) => steps.last_mut().unwrap().printed.push(line),
        }
    }
    steps
}

/// The words of a command line, as a shell splits them; single quotes are all that is needed.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (index, part) in command.split('\'').enumerate() {
        if index % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        let mut pieces = part.split(' ');
        words.last_mut().unwrap().push_str(pieces.next().unwrap());
        words.extend(pieces.map(str::to_owned));
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Does what `curl -i` does with these arguments, and returns what it would print.
fn curl(program: &Program, command: &str) -> Vec<String> {
    let mut words = words(command).into_iter();
    assert_eq!(
        (words.next().as_deref(), words.next().as_deref()),
        (Some("curl"), Some("-i"))
    );
    let (mut method, mut fields, mut content, mut target) =
        (None, String::new(), String::new(), String::new());
    while let Some(word) = words.next() {
        match word.as_str() {
            "-X" => method = words.next(),
            "-H" => fields += &format!("{}\r\n", words.next().unwrap()),
            "-d" => content = words.next().unwrap(),
            url => {
                url.strip_prefix("http://127.0.0.1:5000")
                    .unwrap()
                    .clone_into(&mut target);
            }
        }
    }
    if !content.is_empty() {
        if !fields.contains("Content-Type: ") {
            fields += "Content-Type: application/x-www-form-urlencoded\r\n";
        }
        fields += &format!("Content-Length: {}\r\n", content.len());
    }
    let method = method.unwrap_or_else(|| if content.is_empty() { "GET" } else { "POST" }.into());
    let mut client = Client::connect(program.address);
    let host = program.address;
    client.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n{content}"
    ));
    client.print()
}

/// Compares the shown lines with the printed ones. `...` stands for any lines. Tags and dates
/// differ on every run, but where the page shows one value twice, the same value must be printed
/// twice.
fn compare(shown: &[&str], printed: &[String], known: &mut HashMap<String, String>) {
    let mut printed = printed.iter();
    let mut skip = false;
    for line in shown {
        if *line == "..." {
            skip = true;
            continue;
        }
        let found = loop {
            let next = printed
                .next()
                .unwrap_or_else(|| panic!("`{line}` is not printed"));
            if !skip || same(line, next, known) {
                break next;
            }
        };
        assert!(same(line, found, known), "shown: {line}\nprinted: {found}");
        skip = false;
    }
    assert!(
        skip || printed.next().is_none(),
        "more is printed than shown"
    );
}

fn same(shown: &str, printed: &str, known: &mut HashMap<String, String>) -> bool {
    let (shown, printed): (Vec<_>, Vec<_>) = (
        shown.trim_end().split('"').collect(),
        printed.trim_end().split('"').collect(),
    );
    shown.len() == printed.len()
        && shown.iter().zip(&printed).all(|(shown, printed)| {
            let varies = shown.len() == printed.len()
                && (shown.len() == 32 && shown.bytes().all(|b| b.is_ascii_hexdigit())
                    || shown.len() == 26 && shown.contains('T') && shown.contains('.'));
            if varies {
                known
                    .entry((*shown).to_owned())
                    .or_insert_with(|| (*printed).to_owned())
                    == printed
            } else {
                shown == printed
            }
        })
}

#[test]
fn the_transcripts_are_true() {
    let pages = PAGES.concat();
    // With the flags that the transcript gives to `make run`.
    let mut command = Command::new(env!("CARGO_BIN_EXE_ifmatch"));
    let flags = [
        "--listen",
        "127.0.0.1:0",
        "--strict",
        "--collection",
        "notes",
    ];
    let program = Program::spawn(command.args(flags));
    let mut known: HashMap<String, String> = HashMap::new();
    let mut asked = 0;
    for Step { command, printed } in steps(&pages) {
        if command == "make run ARGS='--strict --collection notes'" {
            assert_eq!(printed, ["ifmatch serves http://127.0.0.1:5000/notes"]);
            continue;
        }
        if command.starts_with("python3 vectors/run.py ") {
            // `vectors::run_py_finds_nothing` compares what this prints.
            continue;
        }
        let mut command = command.to_owned();
        for (shown, actual) in &known {
            command = command.replace(shown, actual);
        }
        let printed: Vec<_> = printed.into_iter().collect();
        let trimmed = match printed.as_slice() {
            [lines @ .., ""] | lines => lines,
        };
        compare(trimmed, &curl(&program, &command), &mut known);
        asked += 1;
    }
    assert_eq!(
        asked,
        pages.matches("\n$ curl ").count(),
        "every command was replayed"
    );
    assert_eq!(asked, 11);
    let mut distinct: Vec<_> = known.values().collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(
        distinct.len(),
        known.len(),
        "different values on the pages are different in the output"
    );
}

/// The two scripts that print a note whenever it changes.
#[test]
#[expect(clippy::print_stderr, reason = "the output names what is skipped")]
fn the_scripts_print_each_change() {
    let page = include_str!("../../docs/waiting.md");
    let directory = Directory::new("scripts");
    for (language, program, file) in [("sh", "sh", "follow.sh"), ("js", "node", "follow.mjs")] {
        if Command::new(program).arg("-c").arg(":").output().is_err() {
            eprintln!("skipped: {program} is not installed");
            continue;
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_ifmatch"));
        let served =
            Program::spawn(command.args(["--listen", "127.0.0.1:0", "--collection", "notes"]));
        let mut client = Client::connect(served.address);
        let put = |client: &mut Client, fields: &str, title: &str| {
            let content = format!("{{\"title\":\"{title}\"}}");
            let response = client.ask(request("PUT /notes/1", fields, &content));
            assert!(response.status < 300, "{response:?}");
        };
        put(&mut client, "If-None-Match: *\r\n", "Milk");
        let script = page.split(&format!("```{language}\n")).nth(1).unwrap();
        let script = script.split("```").next().unwrap();
        let script = script.replace("127.0.0.1:5000", &served.address.to_string());
        fs::write(directory.0.join(file), script).unwrap();
        let mut follower = Command::new(program)
            .arg(file)
            .current_dir(&directory.0)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let printed = std::io::BufReader::new(follower.stdout.take().unwrap());
        let mut printed = std::io::BufRead::lines(printed);
        let mut prints = |title: &str| {
            let titled = |line: &std::io::Result<String>| line.as_ref().unwrap().contains(title);
            assert!(
                printed.by_ref().any(|line| titled(&line)),
                "{program} {title}"
            );
        };
        prints("Milk");
        put(&mut client, "If-Match: *\r\n", "Bread");
        prints("Bread");
        follower.kill().unwrap();
        follower.wait().unwrap();
    }
}

#[test]
fn the_flags_are_those_of_the_program() {
    let mut table = String::from("| flag | default | what it is for |\n|---|---|---|\n");
    for flag in ifmatch::cli::FLAGS {
        let default = match flag.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let line = format!("| `{}` | {default} | {} |\n", flag.usage(), flag.help);
        table.push_str(&line);
    }
    let page = include_str!("../../docs/flags.md");
    assert!(page.contains(&table), "the table should be:\n{table}");
}

/// Links between the pages lead to files and headings that exist.
#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|it| it == "md"));
    let mut links = 0;
    for page in pages.chain([root.join("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.starts_with("https://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", page.display());
            if !heading.is_empty() {
                let target = fs::read_to_string(target).unwrap();
                let mut headings = target.lines().filter(|line| line.starts_with('#'));
                let found = headings.any(|line| anchor(line) == heading);
                assert!(found, "{}: {link}", page.display());
            }
            links += 1;
        }
    }
    assert!(links > 20, "{links}");
}

/// The anchor that a heading gets where the page is shown.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}

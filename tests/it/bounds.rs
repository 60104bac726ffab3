//! The longest and the deepest document that the server takes, and documents with one byte or one
//! level more.

use ifmatch::{Collection, Collections};
use serde_json::{Value, json};

use crate::documents::serving;
use crate::property::json::{merge_patch, read};
use crate::support::api::{Api, message, tag, text};
use crate::support::client::RawResponse;
use crate::support::serving::Serving;

/// The default limit for the bytes of a representation.
const LONGEST: usize = 65_536;

/// The limit for the levels of a document. The document itself is the first level.
const DEEPEST: usize = 100;

const TOO_LONG: &str = "The document would be longer than 65536 bytes, as it is shown";

const TOO_DEEP: &str = "The content must not be nested more than 100 levels deep";

const PATCH: (&str, &str) = ("Content-Type", "application/merge-patch+json");

/// A document with this number of levels, and with a string of this number of bytes.
fn document(id: &str, levels: usize, bytes: usize) -> String {
    let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
    let long = "x".repeat(bytes);
    format!(r#"{{"deep":{open}{close},"id":"{id}","long":"{long}"}}"#)
}

/// The greatest length of the string in a document. With an empty string the representation has
/// `shown` bytes.
fn room(shown: usize) -> usize {
    LONGEST - shown
}

#[track_caller]
fn refused(response: &RawResponse, status: u16, sentence: &str) {
    assert_eq!((response.status, &*response.message()), (status, sentence));
}

/// The members of a representation that the client sent, without those of the server.
fn own(shown: &str) -> Value {
    let mut members: Value = serde_json::from_str(shown).unwrap();
    let object = members.as_object_mut().unwrap();
    object.retain(|name, _| !name.starts_with('_'));
    members
}

/// Over a socket, where the length of the request content has a limit, too.
#[test]
fn the_longest_and_deepest_document_can_be_read_and_written_back() {
    let serving = Serving::configured(|options| {
        let notes = Collection::new("notes").unwrap();
        options.policy.collections = Collections::new([notes]).unwrap();
    });
    let list = || {
        let list = serving.ask("GET /notes", "", "");
        (list.field("ETag").map(str::to_owned), list.content)
    };
    let post = |content: &str| serving.ask("POST /notes", "", content);
    let probe = post(&document("0", DEEPEST, 0));
    let room = room(probe.content.len());
    let before = list();
    refused(&post(&document("1", DEEPEST, room + 1)), 413, TOO_LONG);
    refused(&post(&document("1", DEEPEST + 1, 0)), 400, TOO_DEEP);
    assert_eq!(list(), before, "nothing has changed");

    let content = document("1", DEEPEST, room);
    let created = post(&content);
    assert_eq!(created.status, 201, "{}", created.message());
    assert_eq!(created.content.len(), LONGEST);
    assert_eq!(own(&created.content), own(&content));
    let read = serving.ask("GET /notes/1", "", "");
    assert_eq!(read.content, created.content);

    // The client writes the representation back as it read it.
    let put = |content: &str| serving.ask("PUT /notes/1", "If-Match: *\r\n", content);
    let replaced = put(&read.content);
    assert_eq!(replaced.status, 200);
    assert_eq!(replaced.content.len(), LONGEST);
    assert_eq!(own(&replaced.content), own(&content));

    let page = serving.ask("GET /notes?limit=1&after=0", "", "");
    assert_eq!(page.content, format!("[\n{}]\n", replaced.content));
    assert!(list().1.ends_with(&format!(",\n{}]\n", replaced.content)));

    let before = list();
    let too_much = "The content is longer than 65536 bytes";
    refused(&put(&format!("{} ", read.content)), 413, too_much);
    refused(&put(&document("1", DEEPEST, room + 1)), 413, TOO_LONG);
    refused(&put(&document("1", DEEPEST + 1, 0)), 400, TOO_DEEP);
    let fields = format!("If-Match: *\r\n{}: {}\r\n", PATCH.0, PATCH.1);
    let patch = |content: &str| serving.ask("PATCH /notes/1", &fields, content);
    let longer = format!(r#"{{"long":"{}"}}"#, "y".repeat(room + 1));
    refused(&patch(&longer), 413, TOO_LONG);
    refused(&patch(&document("1", DEEPEST + 1, 0)), 400, TOO_DEEP);
    assert_eq!(list(), before, "nothing has changed");
    let as_long = format!(r#"{{"long":"{}"}}"#, "y".repeat(room));
    assert_eq!(patch(&as_long).status, 200);
}

/// The escapes that an id, or the name of its member, needs in JSON count, too. The limit is exact for
/// each of them.
#[test]
fn the_limit_is_that_of_the_representation() {
    let (quotes, long) = ("\"".repeat(1024), "é".repeat(512));
    for (collection, id) in [
        ("notes", "1"),
        ("notes", "\"\\"),
        ("notes", " é😀/%\u{2028}"),
        ("notes", &quotes),
        ("notes", &long),
        ("notes:slug", "1"),
        ("notes:_id", "a\\b"),
        ("notes:\"é\\\\", "\\"),
    ] {
        for limit in [LONGEST, 5000] {
            let mut api = serving(&[collection]);
            api.policy.max_content = limit as u64;
            assert_limit_is_exact(&api, collection, id, limit);
            // With a clock set back, versions are undated.
            api.set_clock("2016-11-23T12:00:00.000000");
            assert_limit_is_exact(&api, collection, id, limit);
        }
    }
}

/// Writes documents of `limit` bytes, and of one byte more, with each method.
fn assert_limit_is_exact(api: &Api, collection: &str, id: &str, limit: usize) {
    let encoded: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let target = format!("/notes/{encoded}");
    let member = collection.split_once(':').map_or("id", |(_, name)| name);
    let list = || {
        let list = api.ask("GET /notes", &[], "");
        (tag(&list), text(&list))
    };
    let any = [("If-Match", "*"), PATCH];
    let content = |bytes: usize| json!({member: id, "x": "x".repeat(bytes)}).to_string();
    let probe = api.ask("POST /notes", &[], &content(0));
    let room = limit - probe.content().len();
    let removed = api.ask(&format!("DELETE {target}"), &any, "");
    assert_eq!(removed.status(), 204);
    for (method, fields) in [
        ("POST", &[][..]),
        ("PUT", &[("If-None-Match", "*")]),
        ("PUT", &any),
        ("PATCH", &any),
    ] {
        let exists = !list().1.starts_with("[]");
        assert_eq!(exists, fields.len() == 2);
        let line = match method {
            "POST" => "POST /notes".to_owned(),
            method => format!("{method} {target}"),
        };
        let before = list();
        let longer = api.ask(&line, fields, &content(room + 1));
        let sentence = TOO_LONG.replace("65536", &limit.to_string());
        assert_eq!((longer.status(), message(&longer)), (413, sentence));
        assert_eq!(list(), before, "nothing has changed");
        let longest = api.ask(&line, fields, &content(room));
        assert_eq!(longest.status(), if exists { 200 } else { 201 });
        assert_eq!(longest.content().len(), limit, "{method} {id}");
        let shown = api.ask(&format!("GET {target}"), &[], "");
        assert_eq!(shown.content(), longest.content());
        if method == "POST" {
            let removed = api.ask(&format!("DELETE {target}"), &any, "");
            assert_eq!(removed.status(), 204);
        }
    }
    api.ask(&format!("DELETE {target}"), &any, "");
}

#[test]
fn the_id_that_the_server_makes_counts() {
    let api = serving(&["notes"]);
    let post = |bytes: usize| {
        let content = json!({"x": "x".repeat(bytes)}).to_string();
        api.ask("POST /notes", &[], &content)
    };
    let room = room(post(0).content().len());
    let before = text(&api.ask("GET /notes", &[], ""));
    let longer = post(room + 1);
    assert_eq!((longer.status(), &*message(&longer)), (413, TOO_LONG));
    assert_eq!(text(&api.ask("GET /notes", &[], "")), before);
    let longest = post(room);
    assert_eq!((longest.status(), longest.content().len()), (201, LONGEST));
}

/// A document without other members than its id. Its representation has one comma less.
#[test]
fn the_limit_is_exact_for_the_shortest_document() {
    let mut api = serving(&["notes"]);
    let content = r#"{"id":"1"}"#;
    let length = api.ask("POST /notes", &[], content).content().len();
    for (limit, status) in [(length, 201), (length - 1, 413)] {
        api = serving(&["notes"]);
        api.policy.max_content = limit as u64;
        assert_eq!(api.ask("POST /notes", &[], content).status(), status);
    }
}

/// Each patch adds members, until the document would be too long.
#[test]
fn many_patches_cannot_exceed_the_limit() {
    for bytes in [1, 900, 8000, 65_000] {
        let api = serving(&["notes"]);
        let created = api.ask("POST /notes", &[], r#"{"id":"1"}"#);
        let mut current = text(&created);
        let (mut round, mut refusals) = (0, 0);
        // Many short members in one patch, so that fewer patches are needed.
        let each = if bytes == 1 { 300 } else { 1 };
        while refusals < 10 {
            let members = (0..each).map(|it| (format!("m{round}.{it}"), "x".repeat(bytes).into()));
            let patch = Value::Object(members.collect()).to_string();
            let patched = api.ask("PATCH /notes/1", &[("If-Match", "*"), PATCH], &patch);
            if patched.status() == 200 {
                assert!(patched.content().len() <= LONGEST);
                current = text(&patched);
            } else {
                assert_eq!((patched.status(), &*message(&patched)), (413, TOO_LONG));
                // The patch does not fit beside the current representation.
                assert!(current.len() + patch.len() + 2 > LONGEST);
                refusals += 1;
            }
            assert_eq!(text(&api.ask("GET /notes/1", &[], "")), current);
            round += 1;
            assert!(round < 100, "{refusals} refusals of {bytes} bytes");
        }
        assert!(round > refusals, "no patch of {bytes} bytes was performed");
    }
}

/// Nested objects, `levels` deep. Each has a string with `bytes` copies of `mark`, and short members.
fn nested(levels: usize, bytes: usize, mark: &str) -> String {
    let mut text = "{}".to_owned();
    for level in 1..levels {
        let long = mark.repeat(bytes);
        text = format!(
            r#"{{"in":{text},"long":"{long}","{mark}{level}":{level}.0,"same":[{level},"{mark}"]}}"#
        );
    }
    text
}

#[test]
fn a_long_and_deep_patch_of_a_long_and_deep_document() {
    let api = serving(&["notes"]);
    let before = nested(98, 550, "a");
    let whole = nested(98, 570, "b");
    // One patch removes members at some levels; another replaces the innermost object by an array.
    let pruned = whole.replace("\"long\":\"", "\"none\":null,\"long\":\"");
    let removing = whole.replace(".0,", ".0,\"a7\":null,\"a50\":null,");
    let replacing = whole.replace(r#""in":{}"#, r#""in":[{"in":null}]"#);
    let short = nested(98, 0, "a").replace("\"\"", "null");
    for patch in [&whole, &pruned, &removing, &replacing, &short, "{}"] {
        assert!(patch.len() <= LONGEST, "{}", patch.len());
        let put = api.ask("PUT /notes/1", &[("If-None-Match", "*")], &before);
        assert_eq!(put.status(), 201, "{}", text(&put));
        let patched = api.ask("PATCH /notes/1", &[("If-Match", "*"), PATCH], patch);
        assert_eq!(patched.status(), 200, "{}", text(&patched));
        let target = read(before.as_bytes()).unwrap();
        let expected = merge_patch(target, &read(patch.as_bytes()).unwrap());
        let mut shown = read(patched.content()).unwrap();
        let members = shown.as_object_mut().unwrap();
        members.retain(|name, _| !["_change_date", "_etag", "id"].contains(&name.as_str()));
        assert_eq!(shown, expected);
        api.ask("DELETE /notes/1", &[("If-Match", "*")], "");
    }
    assert!(before.len() > 55_000 && whole.len() > 57_000);
}

/// Documents in a file, dumped and loaded again.
#[cfg(feature = "sqlite")]
mod kept {
    use std::fs;

    use super::*;
    use crate::cli::{fails, run};
    use crate::sqlite::File;
    use crate::support::client::{Client, request};
    use crate::support::serving::{Program, Served, program};

    fn serve(file: &File, load: &str) -> Program {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0", "--collection", "notes"]);
        command.args(["--store", &Served::argument(file), "--load", load]);
        Program::spawn(&mut command)
    }

    fn dump(file: &File) -> String {
        let output = run(&["dump", "--store", &file.argument()]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_longest_and_deepest_document_is_dumped_and_loaded() {
        let (file, other, third) = (File::default(), File::default(), File::default());
        let load = other.path().with_file_name("load.json");
        let path = load.to_str().unwrap();
        let write = |content: &str| fs::write(&load, content).unwrap();
        write("{}");
        let server = serve(&file, path);
        let ask = |server: &Program, line, content: &str| {
            Client::connect(server.address).ask(request(line, "", content))
        };
        let probe = ask(&server, "POST /notes", &document("0", DEEPEST, 0));
        let room = room(probe.content.len());
        let created = ask(&server, "POST /notes", &document("1", DEEPEST, room));
        assert_eq!((created.status, created.content.len()), (201, LONGEST));
        let dumped = dump(&file);
        assert!(dumped.contains(created.content.trim_end()));

        write(&dumped);
        let server = serve(&other, path);
        let read = ask(&server, "GET /notes/1", "");
        assert_eq!(read.content.len(), LONGEST);
        assert_eq!(own(&read.content), own(&created.content));
        drop(server);

        let long = dumped.replace("xxx\"", "xxxx\"");
        let deep = dumped.replace("[]", "[[]]");
        for (content, sentence) in [
            (
                &long,
                "element 1 of `notes`: it is longer than 65536 bytes; --max-content allows more",
            ),
            (&deep, TOO_DEEP),
        ] {
            assert_ne!(content, &dumped);
            write(content);
            let store = third.argument();
            let arguments = ["--collection", "notes", "--store", &store, "--load", path];
            fails(&arguments, 1, &format!("cannot load {path}: {sentence}"));
            assert_eq!(dump(&third), "{\n}\n");
        }
    }
}

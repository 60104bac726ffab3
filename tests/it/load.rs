//! `--collection`, `--load` and `dump`, on the built program.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::cli::fails;
use crate::support::client::{Client, request};
use crate::support::directory::Directory;
use crate::support::serving::{Program, program};

/// A file in the directory of the test.
fn file(directory: &Directory, content: &str) -> String {
    let path = directory.0.join("db.json");
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn ask(
    program: &Program,
    line: &str,
    fields: &str,
    content: &str,
) -> crate::support::client::RawResponse {
    Client::connect(program.address).ask(request(line, fields, content))
}

fn get(program: &Program, target: &str) -> Value {
    let response = ask(program, &format!("GET {target}"), "", "");
    assert_eq!(response.status, 200, "{response:?}");
    serde_json::from_str(&response.content).unwrap()
}

fn ids(list: &Value) -> Vec<&str> {
    let ids = list.as_array().unwrap().iter();
    ids.map(|it| it["id"].as_str().unwrap()).collect()
}

#[test]
fn invalid_collections_are_refused() {
    let name = |given| {
        format!(
            "--collection: a collection is named by at most 64 letters and digits, with `-`, `_` \
             and `.` inside, not `{given}`"
        )
    };
    let long = "x".repeat(65);
    for given in [
        "", "a/b", ".", "..", ".a", "a.", "-a", "_a", "a_", "a b", "ü", "a?", "%61", &long,
    ] {
        fails(&["--collection", given], 2, &name(given));
    }
    let reserved = "--collection: no collection can be named `openapi.json`: that is the server's";
    fails(&["--collection", "openapi.json"], 2, reserved);
    let repeated = "--collection: the collection `notes` is there twice";
    fails(
        &["--collection", "notes", "--collection=notes:slug"],
        2,
        repeated,
    );
    fails(
        &["--collection", "persons", "--collection", "persons"],
        2,
        "--collection: the collection `persons` is there twice",
    );
    let persons = "--collection: the ids of `persons` are in `person_id`, and no other member";
    fails(&["--collection", "persons:id"], 2, persons);
    for given in ["", "_etag", "_change_date", "a\nb"] {
        let id_member = format!(
            "--collection: an id member has a name such as `id`, and not one of the server's, not `{given}`"
        );
        fails(&["--collection", &format!("notes:{given}")], 2, &id_member);
    }
    let missing = "--collection needs a name such as `notes`, or `notes:slug`";
    fails(&["--collection"], 2, missing);
    fails(&["--load"], 2, "--load needs a file name");
    fails(&["--load="], 2, "--load needs a file name, not ``");
}

#[test]
fn several_collections_are_served() {
    let program = Program::start(&[
        "--collection=my-notes.v1_0",
        "--collection",
        "tasks:name",
        "--collection",
        "persons",
    ]);
    for (target, content) in [
        ("/my-notes.v1_0", r#"{"id": "1"}"#),
        ("/tasks", r#"{"name": "1"}"#),
        ("/persons", r#"{"person_id": "1", "person_name": "Wim"}"#),
    ] {
        let created = ask(&program, &format!("POST {target}"), "", content);
        assert_eq!(created.status, 201);
        assert_eq!(created.field("Location"), Some(&*format!("{target}/1")));
        assert_eq!(get(&program, target).as_array().unwrap().len(), 1);
    }
    let links = &get(&program, "/")["links"];
    assert_eq!(links.as_object().unwrap().len(), 3);
    let program = Program::start(&["--collection", "notes"]);
    // The description does not have collections that are not served.
    let mut client = Client::connect(program.address);
    client.send(request("GET /persons", "", ""));
    assert_eq!(client.receive().status, 404);
    let description = get(&program, "/openapi.json");
    let described = |kind: &str| {
        let members = description.pointer(kind).unwrap().as_object().unwrap();
        let names = members
            .keys()
            .filter(|name| !name.starts_with(char::is_uppercase));
        names.cloned().collect::<Vec<_>>()
    };
    let paths = ["/", "/health", "/notes", "/notes/{id}", "/openapi.json"];
    assert_eq!(described("/paths"), paths);
    let schemas = described("/components/schemas");
    assert_eq!(
        schemas,
        ["notes.document", "notes.list", "notes.new", "notes.state"]
    );
    assert!(!description.to_string().contains("person"), "{description}");
}

/// A file such as another program has. Ids may be numbers, and may be missing.
const DB: &str = r#"{
  "posts": [
    { "id": "b", "title": "a title", "views": 1.50, "_etag": "x" },
    { "id": 10, "title": "another title" },
    { "title": "no id" },
    { "title": "no id" }
  ],
  "persons": [{"person_id": "1", "person_name": "Wim"}],
  "empty": [],
  "profile": { "name": "typicode" }
}"#;

#[test]
fn empty_collections_are_filled() {
    let directory = Directory::new("load");
    let file = file(&directory, DB);
    let collections = [
        "--collection",
        "posts",
        "--collection",
        "persons",
        "--collection",
        "empty",
    ];
    let mut command = program();
    command
        .args(["--listen", "127.0.0.1:0", "--load", &file])
        .args(collections);
    let mut program = Program::spawn(command.stderr(Stdio::piped()));
    let posts = get(&program, "/posts");
    let posts = ids(&posts);
    assert_eq!((posts.len(), posts[2], posts[3]), (4, "10", "b"));
    assert!(posts[0] < posts[1] && posts[0].len() == 12, "{posts:?}");
    assert_eq!(get(&program, "/persons")[0]["person_name"], "Wim");
    assert_eq!(get(&program, "/empty"), Value::Array(vec![]));
    let b = ask(&program, "GET /posts/b", "", "");
    assert!(b.content.contains("\"views\":1.50}"), "{}", b.content);
    let tag = b.field("ETag").unwrap();
    let put = ask(
        &program,
        "PUT /posts/b",
        &format!("If-Match: {tag}\r\n"),
        &b.content,
    );
    assert_eq!(put.status, 200);
    program.child.kill().unwrap();
    let mut text = String::new();
    let stderr = program.child.stderr.take().unwrap();
    std::io::Read::read_to_string(&mut { stderr }, &mut text).unwrap();
    let warning =
        format!("ifmatch: warning: `profile` of {file} is not served, and was left out\n");
    assert_eq!(text, warning);
}

/// The message names the collection and the element, and the program ends.
#[test]
fn a_file_that_cannot_be_loaded() {
    let directory = Directory::new("load");
    let refused = |content: &str, reason: &str| {
        let file = file(&directory, content);
        let arguments = [
            "--collection",
            "a",
            "--collection",
            "persons",
            "--load",
            &file,
        ];
        fails(&arguments, 1, &format!("cannot load {file}: {reason}"));
    };
    refused("[]", "it must be a JSON object of arrays, and is an array");
    refused(
        "{",
        "The content must be JSON: EOF while parsing an object at line 1 column 1",
    );
    refused(
        r#"{"a": {}}"#,
        "`a` must be an array of documents, and is an object",
    );
    refused(
        r#"{"a": [{}, 1]}"#,
        "element 1 of `a`: The content must be a JSON object, not a number",
    );
    refused(
        r#"{"a": [{"_x": 1}]}"#,
        "element 0 of `a`: The member `_x` cannot be kept: names that begin with `_` are the server's",
    );
    refused(
        r#"{"a": [{"id": 1.5}]}"#,
        "element 0 of `a`: The member `id` must be a string, not a number",
    );
    refused(
        r#"{"a": [{"id": "1"}, {"id": 1}]}"#,
        "element 1 of `a`: element 0 has the id `1`, too",
    );
    refused(
        r#"{"a": [], "persons": [{"person_id": "1"}]}"#,
        "element 0 of `persons`: Person name is mandatory",
    );
    refused(
        &format!(r#"{{"a": [{{"x": "{}"}}]}}"#, "x".repeat(70_000)),
        "element 0 of `a`: it is longer than 65536 bytes; --max-content allows more",
    );
    let none = directory.0.join("none").to_str().unwrap().to_owned();
    let reason = "No such file or directory (os error 2)";
    fails(
        &["--load", &none],
        1,
        &format!("cannot load {none}: {reason}"),
    );
}

#[test]
fn a_dump_needs_a_persistent_store() {
    let memory = "`dump` needs `--store sqlite:PATH` or `--store postgres://USER@HOST/DATABASE`";
    fails(&["dump"], 2, memory);
    fails(&["dump", "--store", "memory"], 2, memory);
    let taken = "`dump` takes --store alone, not `--strict`";
    fails(&["dump", "--strict"], 2, taken);
    let taken = "`dump` takes --store alone, not `--collection`";
    fails(&["dump", "--collection", "notes"], 2, taken);
    let unknown = "unknown argument `dump`; `ifmatch --help` lists what there is";
    fails(&["--strict", "dump"], 2, unknown);
    fails(&["dump", "dump"], 2, unknown);
}

#[cfg(feature = "sqlite")]
mod kept {
    use std::process::Output;

    use super::*;
    use crate::cli::run;
    use crate::sqlite::File;

    /// The output of `dump`.
    fn dump(arguments: &[&str]) -> String {
        let Output {
            stdout,
            stderr,
            status,
        } = run(arguments);
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    /// A dump is taken while a server runs, and another server loads it.
    #[test]
    fn a_dump_is_what_load_reads() {
        let place = File::default();
        let (store, directory) = (place.argument(), Directory::new("dump"));
        let file = file(&directory, DB);
        let serve = |store: &str, file: &str| {
            let mut command = program();
            command.args(["--listen", "127.0.0.1:0", "--store", store, "--load", file]);
            command.args(["--collection", "posts", "--collection", "persons"]);
            Program::spawn(command.stderr(Stdio::null()))
        };
        let server = serve(&store, &file);
        let posts = ask(&server, "GET /posts", "", "").content;
        let dumped = dump(&["dump", "--store", &store]);
        let read: Value = serde_json::from_str(&dumped).unwrap();
        assert_eq!(
            read["posts"],
            serde_json::from_str::<Value>(&posts).unwrap()
        );
        assert_eq!(read["persons"], get(&server, "/persons"));
        assert_eq!(read.as_object().unwrap().len(), 2);

        // The loaded documents are the same, except for the members of the server.
        let other = File::default();
        fs::write(&file, &dumped).unwrap();
        let again = serve(&other.argument(), &file);
        let bare = |content: &str| -> Vec<String> {
            let lines = content.lines().filter_map(|line| line.split_once("\"id\""));
            lines.map(|(_, rest)| rest.to_owned()).collect()
        };
        let loaded = ask(&again, "GET /posts", "", "").content;
        assert_eq!(bare(&loaded), bare(&posts));
        assert_eq!(bare(&loaded).len(), 4);
        drop(server);
        // A collection with documents is not filled.
        let before = dump(&["dump", "--store", &store]);
        let server = serve(&store, &file);
        assert_eq!(dump(&["dump", "--store", &store]), before);
        assert_eq!(ask(&server, "GET /posts", "", "").content, posts);
    }

    /// With an invalid element in the last collection, the first one is not filled either.
    #[test]
    fn an_invalid_file_fills_nothing() {
        let place = File::default();
        let (store, directory) = (place.argument(), Directory::new("load"));
        let file = file(&directory, r#"{"a": [{"id": "1"}], "b": [{}, []]}"#);
        let reason = "element 1 of `b`: The content must be a JSON object, not an array";
        fails(
            &[
                "--store",
                &store,
                "--collection",
                "a",
                "--collection",
                "b",
                "--load",
                &file,
            ],
            1,
            &format!("cannot load {file}: {reason}"),
        );
        assert_eq!(dump(&["dump", "--store", &store]), "{\n}\n");
    }

    /// `dump` creates no file, and changes no existing one.
    #[test]
    fn a_dump_creates_no_store() {
        let old = "ifmatch 0.1.0 made it; a server of this version migrates it when it starts";
        let empty = File::default();
        fs::write(empty.path(), "").unwrap();
        for (file, reason) in [
            (File::default(), "there is no such file"),
            (empty, "it is empty"),
            (crate::migration::old_file(), old),
        ] {
            let before = file.contents();
            let (store, path) = (file.argument(), file.path());
            let sentence = format!("cannot use the store {}: {reason}", path.display());
            fails(&["dump", "--store", &store], 1, &sentence);
            assert!(file.contents() == before, "{reason}: the file has changed");
        }
    }

    /// Another program has stored invalid JSON. A dump must be JSON, so it fails.
    #[test]
    fn an_invalid_document_is_not_dumped() {
        let file = File::default();
        let store = file.argument();
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0", "--store", &store]);
        let server = Program::spawn(command.args(["--collection", "notes"]));
        let created = ask(&server, "POST /notes", "", r#"{"id": "1"}"#);
        assert_eq!(created.status, 201);
        let broken = "UPDATE document SET content = '{\"a\":}'";
        file.shell().execute(broken, []).unwrap();
        let output = run(&["dump", "--store", &store]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let sentence =
            "ifmatch: the document 1 of `notes` cannot be read: The content must be JSON: ";
        assert!(stderr.starts_with(sentence), "{stderr}");
        assert_eq!(output.status.code(), Some(1));
    }

    /// With another member, the same tag would belong to another representation, and a document might
    /// have a member twice.
    #[test]
    fn a_store_records_which_member_holds_the_ids() {
        let file = File::default();
        let store = file.argument();
        let serve = |collection| {
            let mut command = program();
            command.args(["--listen", "127.0.0.1:0", "--store", &store]);
            Program::spawn(command.args(["--collection", collection]))
        };
        let server = serve("pages:slug");
        let page = r#"{"slug": "home", "id": [1, 2.0], "title": "x"}"#;
        assert_eq!(ask(&server, "POST /pages", "", page).status, 201);
        drop(server);
        let reason = "the ids of `pages` are in `slug`, and not in `id`";
        fails(
            &[
                "--listen",
                "127.0.0.1:0",
                "--store",
                &store,
                "--collection",
                "pages",
            ],
            1,
            &format!("cannot use the store {}: {reason}", file.path().display()),
        );
        let shown = get(&serve("pages:slug"), "/pages");
        let dumped = dump(&["dump", "--store", &store]);
        let end = r#""slug":"home","id":[1,2.0],"title":"x"}"#;
        assert!(dumped.contains(end), "{dumped}");
        let read: Value = serde_json::from_str(&dumped).unwrap();
        assert_eq!(read["pages"], shown);
        // The member is kept before the first document is created.
        drop(serve("notes:name"));
        let reason = "the ids of `notes` are in `name`, and not in `id`";
        fails(
            &[
                "--listen",
                "127.0.0.1:0",
                "--store",
                &store,
                "--collection",
                "notes",
            ],
            1,
            &format!("cannot use the store {}: {reason}", file.path().display()),
        );
    }

    /// A program that cannot start loads nothing, for any reason of the failure.
    #[test]
    fn a_start_that_fails_fills_nothing() {
        let directory = Directory::new("load");
        let load = file(&directory, r#"{"a": [{"id": "1"}]}"#);
        let none = directory.0.join("none").to_str().unwrap().to_owned();
        let missing =
            format!("cannot use the token file {none}: No such file or directory (os error 2)");
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap().to_string();
        let taken = format!(
            "another program is already listening on {address}; stop it, or use another address"
        );
        let free = "127.0.0.1:0".to_owned();
        for (flags, sentence) in [
            (["--listen", &free, "--token-file", &none], &missing),
            (["--listen", &address, "--access-log", "--strict"], &taken),
        ] {
            let place = File::default();
            // A store with documents in another collection.
            crate::conformance::create(&*crate::sqlite::open(&place.path()), "1");
            let store = place.argument();
            let fixed = ["--collection", "a", "--store", &store, "--load", &load];
            let before = place.contents();
            fails(&[&fixed[..], &flags].concat(), 1, sentence);
            assert!(place.contents() == before, "the file has changed");
            // Without the fault the collection is filled.
            let mut command = program();
            command.args(["--listen", "127.0.0.1:0"]).args(fixed);
            assert_eq!(ids(&get(&Program::spawn(&mut command), "/a")), ["1"]);
            // A new store has no documents. Its file may not exist.
            let place = File::default();
            let store = place.argument();
            let fixed = ["--collection", "a", "--store", &store, "--load", &load];
            fails(&[&fixed[..], &flags].concat(), 1, sentence);
            if place.path().exists() {
                assert_eq!(dump(&["dump", "--store", &store]), "{\n}\n");
            }
        }
    }
}

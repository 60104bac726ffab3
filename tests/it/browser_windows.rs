//! The page in a real browser, with one document in two windows.

use ifmatch::{Collection, Collections};
use serde_json::json;

use crate::nginx;
use crate::support::client::{Client, RawResponse, request};
use crate::support::proxy::skipped;
use crate::support::serving::{Program, Serving};
use crate::support::webdriver::{Browser, DOWN, ENTER, SPACE};

/// Numbers that JavaScript would change. The page must send them back as they are.
const NUMBERS: &str = r#""litres":1.0,"mass":1e400,"serial":12345678901234567890"#;

/// Sends a request without a check of the content, because `serde_json` cannot parse its numbers.
fn ask(program: &Program, line: &str, fields: &str, content: &str) -> RawResponse {
    let mut client = Client::connect(program.address);
    client.send(request(line, fields, content));
    client.receive()
}

fn create(program: &Program, id: &str, title: &str) {
    let text = "From the farm shop, please.";
    let content = format!(r#"{{"id":"{id}","text":"{text}","title":"{title}",{NUMBERS}}}"#);
    let created = ask(program, "POST /notes", "", &content);
    assert_eq!(created.status, 201, "{created:?}");
}

/// The JSON text of a note, without the members of the server.
fn note(program: &Program, id: &str) -> String {
    let got = ask(program, &format!("GET /notes/{id}"), "", "");
    assert_eq!(got.status, 200, "{got:?}");
    let start = got.content.find("\"id\":").unwrap();
    got.content[start..].trim_end().to_owned()
}

fn put(program: &Program, id: &str, content: &str) {
    let response = ask(
        program,
        &format!("PUT /notes/{id}"),
        "If-Match: *\r\n",
        content,
    );
    assert_eq!(response.status, 200, "{response:?}");
}

/// The selector of the form field of a member.
fn member(browser: &Browser, name: &str) -> String {
    let find = format!(
        "[...document.querySelectorAll('#editor .member label')].find((it) => it.textContent.split(' ')[0] === {})?.htmlFor",
        json!(name)
    );
    format!("#{}", browser.wait(&find).as_str().unwrap())
}

fn fill(browser: &Browser, name: &str, text: &str) {
    browser.fill(&member(browser, name), text);
}

fn shows(browser: &Browser, name: &str, value: &str) {
    let field = member(browser, name);
    let value = json!(value);
    browser.wait(&format!(
        "document.querySelector('{field}')?.value === {value}"
    ));
}

#[test]
fn two_windows_conflict_and_no_change_is_lost() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let program = Program::start(&[
        "--collection",
        "notes",
        "--collection",
        "persons",
        "--strict",
    ]);
    for (id, title) in [("1", "Milk"), ("2", "Bread"), ("3", "Tea")] {
        create(&program, id, title);
    }
    let before = note(&program, "1");
    let url = format!("http://{}/", program.address);
    browser.open(&url);
    let first = browser.window();
    browser.click("#open-1");
    shows(&browser, "title", "Milk");
    let second = browser.new_window(&format!("{url}#/notes/1"));
    shows(&browser, "title", "Milk");

    // A change is shown in the other window before anything is typed there.
    fill(&browser, "text", "Two bottles from the farm shop, please.");
    browser.click("#save");
    browser.reads("#notice", "Saved");
    let expected = before.replace("From the", "Two bottles from the");
    assert_eq!(note(&program, "1"), expected, "no other member is changed");
    browser.turn_to(&first);
    shows(&browser, "text", "Two bottles from the farm shop, please.");
    browser.reads("#notice", "You see the latest version");

    // Both windows change the title. When one saves, the other shows a notice at once and keeps its
    // text.
    fill(&browser, "title", "Oat milk");
    fill(
        &browser,
        "text",
        "Three bottles from the farm shop, please.",
    );
    browser.turn_to(&second);
    fill(&browser, "title", "Milk, fresh");
    browser.click("#save");
    browser.reads("#notice", "Saved");
    browser.turn_to(&first);
    browser.reads("#notice", "Somebody else has just saved it");
    shows(&browser, "title", "Oat milk");
    browser.click("#save");
    browser.reads("#row-0", "both changed it");
    browser.reads("#log", "412 Precondition Failed");
    for (scheme, width) in [("dark", 1360), ("light", 390), ("light", 1360)] {
        browser.look(width, 940, scheme);
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        browser.wait(fits);
        browser.screenshot(&format!("collision-{scheme}-{width}"));
    }
    for (row, texts) in [
        ("#row-0", ["Milk", "Milk, fresh", "Oat milk"]),
        ("#row-1", ["Two bottles", "Two bottles", "Three bottles"]),
    ] {
        for (column, text) in (1..).zip(texts) {
            browser.reads(&format!("{row} .choice:nth-child({column})"), text);
        }
    }

    // The user chooses a value for a member that both changed. If only one window changed a member,
    // its value is already chosen.
    browser.click("#save");
    browser.reads("#notice", "Both changed title");
    browser.click("#choice-0-mine");
    browser.click("#save");
    browser.reads("#notice", "Saved");
    let expected = expected.replace("Two", "Three").replace("Milk", "Oat milk");
    assert_eq!(note(&program, "1"), expected);
    browser.turn_to(&second);
    shows(&browser, "title", "Oat milk");
    shows(
        &browser,
        "text",
        "Three bottles from the farm shop, please.",
    );
    browser.reads("#open-1", "Oat milk");
    for window in [&first, &second] {
        browser.turn_to(window);
        browser.is_clean();
    }
}

#[test]
fn typed_text_is_kept_when_the_server_stops_and_after_a_reload() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let mut program = Program::start(&["--collection", "notes"]);
    create(&program, "a/b c", "Milk");
    let url = format!("http://{}/#/notes/a%2Fb%20c", program.address);
    browser.open(&url);
    fill(&browser, "title", "Milk, fresh");
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    browser.reads("#state", "cannot be reached");
    browser.click("#save");
    browser.reads("#notice", "What you typed is kept");
    shows(&browser, "title", "Milk, fresh");
    browser.screenshot("gone");

    // The next server at this address does not have the note.
    let address = program.address.to_string();
    let program = Program::start(&["--listen", &address, "--collection", "notes"]);
    browser.reads("#notice", "has deleted this document");
    browser.reload();
    browser.reads("#notice", "has deleted this document");
    shows(&browser, "title", "Milk, fresh");
    browser.click("#again");
    browser.reads("#notice", "Saved");
    let expected = format!(
        r#"{{"id":"a/b c",{NUMBERS},"text":"From the farm shop, please.","title":"Milk, fresh"}}"#
    );
    assert_eq!(format!("{{{}", note(&program, "a%2Fb%20c")), expected);

    // Another client deletes the note while it is open. Later this window deletes it, after the user
    // confirms.
    let removed = ask(&program, "DELETE /notes/a%2Fb%20c", "If-Match: *\r\n", "");
    assert_eq!(removed.status, 204);
    browser.reads("#notice", "has deleted this document");
    browser.click("#again");
    browser.reads("#notice", "Saved");
    browser.click("#delete-it");
    browser.accept();
    browser.reads("#list", "There is no document here yet");
    browser.is_clean();
}

#[test]
fn documents_are_created_as_form_and_as_json() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let program = Program::start(&["--collection", "notes:slug", "--collection", "persons"]);
    browser.open(&format!("http://{}/", program.address));
    browser.click("#new");
    browser.fill("#new-id", "tea");
    browser.fill("#member-0", "Tea \"of\" the\nday");
    browser.fill("#add-name", "colour");
    browser.press([ENTER]);
    browser.press("green".chars());
    browser.click("#save");
    browser.wait("location.hash === '#/notes/tea'");
    shows(&browser, "colour", "green");
    // The other members are edited as JSON, and stay as they were typed.
    browser.click("#as-json");
    browser.fill(
        "#json",
        r#"{"a": [1.0, {"b": 12345678901234567890}], "title": }"#,
    );
    browser.click("#save");
    browser.reads("#notice", "This is not JSON");
    let typed = r#"{"a": [1.0, {"b": 12345678901234567890}], "title": "x"}"#;
    browser.fill("#json", typed);
    browser.click("#save");
    browser.reads("#notice", "Saved");
    browser.click("#as-form");
    shows(&browser, "a", r#"[1.0,{"b":12345678901234567890}]"#);
    let got = ask(&program, "GET /notes/tea", "", "");
    let expected = r#""slug":"tea","a":[1.0,{"b":12345678901234567890}],"title":"x"}"#;
    assert!(got.content.trim_end().ends_with(expected), "{got:?}");
    // Without an id the server makes one. An id of an existing document is refused.
    browser.click("#new");
    browser.fill("#member-0", "Nameless");
    browser.click("#save");
    browser.wait("/^#.notes.[0-9a-z]{12}$/.test(location.hash)");
    browser.click("#new");
    browser.fill("#new-id", "tea");
    browser.click("#save");
    browser.reads("#notice", "There is a document with this id already");

    // A list of persons with a second page.
    let mut client = Client::connect(program.address);
    for number in 0..60 {
        let content = format!(r#"{{"person_id": "{number:02}", "person_name": "Wim {number}"}}"#);
        let created = client.ask(request("POST /persons", "", &content));
        assert_eq!(created.status, 201);
    }
    browser.click("#collections a:nth-child(2)");
    browser.reads("#documents", "Wim 49");
    browser.click("#next");
    browser.reads("#documents", "Wim 59");
    browser.click("#open-59");
    fill(&browser, "person_name", "Tim");
    browser.click("#save");
    browser.reads("#notice", "Saved");
    browser.reads("#documents", "Tim");
    browser.click("#first");
    browser.reads("#documents", "Wim 0");
    browser.is_clean();
}

#[test]
fn the_token_is_asked_for_once_in_each_window() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let directory = crate::support::directory::Directory::new("token");
    let file = directory.0.join("token");
    std::fs::write(&file, "secret\n").unwrap();
    let mut permissions = std::fs::metadata(&file).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    std::fs::set_permissions(&file, permissions).unwrap();
    let file = file.to_str().unwrap();
    // The server allows this host name, so pages of this name may write.
    let program = Program::start(&[
        "--collection",
        "notes",
        "--token-file",
        file,
        "--allow-host",
        "localhost",
    ]);
    let url = format!("http://localhost:{}/", program.address.port());
    browser.open(&url);
    browser.reads("#token", "asks for a token");
    browser.fill("#token-text", "wrong");
    browser.press([ENTER]);
    browser.reads("#token-message", "does not take this token");
    browser.screenshot("token");
    browser.fill("#token-text", "secret");
    browser.press([ENTER]);
    browser.reads("#list", "There is no document here yet");
    browser.click("#new");
    browser.fill("#new-id", "1");
    browser.fill("#member-0", "Milk");
    browser.click("#save");
    browser.wait("location.hash === '#/notes/1'");
    assert_eq!(
        browser.run("return document.body.textContent.includes('secret')"),
        false
    );
    browser.reads("#log", "201 Created");
    browser
        .wait("document.querySelector('#log details pre').textContent.includes('Bearer $TOKEN')");
    browser.reload();
    shows(&browser, "title", "Milk");
    browser.new_window(&url);
    browser.reads("#token", "asks for a token");
    browser.is_clean();
}

#[test]
fn the_keyboard_is_enough() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let program = Program::start(&["--collection", "notes"]);
    create(&program, "1", "Milk");
    browser.open(&format!("http://{}/", program.address));
    browser.wait("!!document.querySelector('#open-1')");
    browser.tab_to("#open-1");
    browser.press([ENTER]);
    let title = member(&browser, "title");
    browser.tab_to(&title);
    browser.press(" and honey".chars());
    put(&program, "1", r#"{"title": "Oat milk"}"#);
    browser.reads("#notice", "Somebody else has just saved it");
    browser.wait(&format!(
        "document.activeElement === document.querySelector('{title}')"
    ));
    browser.tab_to("#save");
    browser.press([ENTER]);
    browser.reads("#row-0", "both changed it");
    browser.tab_to("#row-0 input");
    browser.press([DOWN, DOWN, SPACE]);
    browser.wait("document.querySelector('#choice-0-mine').checked");
    browser.tab_to("#save");
    browser.press([SPACE]);
    browser.reads("#notice", "Saved");
    assert_eq!(note(&program, "1"), r#""id":"1","title":"Milk and honey"}"#);
    browser.is_clean();
}

/// The document changes again while the user resolves a conflict, and the user edits the chosen
/// members as JSON.
#[test]
fn the_document_can_change_again_during_a_conflict() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let program = Program::start(&["--collection", "notes"]);
    create(&program, "1", "Milk");
    browser.open(&format!("http://{}/#/notes/1", program.address));
    browser.click("#as-json");
    let typed = r#"{"title": "Oat milk", "litres": 2.50, "of": {"b": [1, 2]}}"#;
    browser.fill("#json", typed);
    put(&program, "1", r#"{"title": "Bread", "litres": 1.0}"#);
    browser.reads("#notice", "Somebody else has just saved it");
    browser.click("#compare");
    browser.reads("#row-0", "both changed it");
    put(&program, "1", r#"{"title": "Bread", "litres": 3}"#);
    browser.reads("#row-1", "both changed it");
    browser.reads("#collision", "3");
    for row in ["#row-0", "#row-1"] {
        browser.click(&format!("{row} .choice:nth-child(3)"));
    }
    browser.click("#further");
    let chosen = browser.wait("document.querySelector('#json')?.value");
    let chosen: serde_json::Value = serde_json::from_str(chosen.as_str().unwrap()).unwrap();
    assert_eq!(
        chosen,
        serde_json::from_str::<serde_json::Value>(typed).unwrap()
    );
    browser.click("#save");
    browser.reads("#notice", "Saved");
    let expected = r#""id":"1","litres":2.50,"of":{"b":[1,2]},"title":"Oat milk"}"#;
    assert_eq!(note(&program, "1"), expected);
    browser.is_clean();
}

/// Creates notes and changes one, so that the page follows every kind of link.
fn works_at(browser: &Browser, url: &str) {
    browser.open(url);
    for id in ["1", "2"] {
        browser.click("#new");
        browser.fill("#new-id", id);
        browser.fill("#member-0", "Milk");
        browser.click("#save");
        browser.wait(&format!("location.hash === '#/notes/{id}'"));
    }
    fill(browser, "title", "Tea");
    browser.click("#save");
    browser.reads("#notice", "Saved");
    browser.reads("#open-2", "Tea");
    browser.click("#new");
    browser.fill("#member-0", "Nameless");
    browser.click("#save");
    browser.wait("/^#.notes.[0-9a-z]{12}$/.test(location.hash)");
    shows(browser, "title", "Nameless");
    browser.is_clean();
}

#[test]
fn the_page_works_below_a_path() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let serving = Serving::configured(|options| {
        let notes = Collection::new("notes").unwrap();
        let served = Collections::new([notes]).unwrap();
        options.policy.collections = served.under("/api/v1").unwrap();
    });
    works_at(&browser, &format!("http://{}/api/v1/", serving.address));
    // The port of nginx is known only when nginx runs, so the server allows every origin.
    let program = Program::start(&["--collection", "notes", "--allow-origin", "*"]);
    let Some(nginx) = nginx::in_front_below("/data/", &[&program]) else {
        return skipped("nginx");
    };
    works_at(&browser, &format!("http://{}/data/", nginx.address));
}

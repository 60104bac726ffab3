//! Paging through the collection.

use crate::support::api::{Api, message, tag, text};

fn ids(content: &str) -> Vec<String> {
    let list: Vec<serde_json::Value> = serde_json::from_str(content).unwrap();
    list.iter()
        .map(|person| person["person_id"].as_str().unwrap().to_owned())
        .collect()
}

/// The target of the link with this relation.
fn link(field: &str, relation: &str) -> Option<String> {
    let found = field
        .split(", ")
        .find(|link| link.ends_with(&format!("; rel=\"{relation}\"")))?;
    Some(
        found
            .strip_prefix('<')
            .unwrap()
            .split_once('>')
            .unwrap()
            .0
            .to_owned(),
    )
}

/// Follows `next` from `target` on, and returns the ids of each page.
fn follow(api: &Api, target: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(target.to_owned());
    while let Some(target) = next {
        let response = api.ask(&format!("GET {target}"), &[], "");
        assert_eq!(response.status(), 200, "{target}");
        pages.push(ids(&text(&response)));
        let links = response.field("Link").unwrap();
        assert!(link(links, "first").is_some());
        next = link(links, "next");
        assert!(pages.len() < 100);
    }
    pages
}

#[test]
fn pages_of_any_size_list_every_person_once() {
    let api = Api::compatible();
    let mut all = vec![
        "a",
        "B",
        "b c",
        "ü",
        "名前",
        "😀",
        "&",
        "+",
        "%",
        "a&limit=1",
        "#",
        "?",
        "=",
        "<>\"",
        "/",
        "1",
        "10",
        "2",
    ];
    for id in &all {
        api.create(id, "x");
    }
    all.sort_unstable();
    for size in 1..=all.len() + 1 {
        let pages = follow(&api, &format!("/persons?limit={size}"));
        assert_eq!(pages.concat(), all, "{size}");
        let (last, full) = pages.split_last().unwrap();
        assert!(full.iter().all(|page| page.len() == size) && last.len() <= size);
        assert!(!last.is_empty(), "a next link leads to an empty page");
    }
    assert_eq!(follow(&api, "/persons"), [all]);
    assert_eq!(
        follow(&Api::compatible(), "/persons"),
        [Vec::<String>::new()]
    );
}

#[test]
fn rfc8288_links() {
    let api = Api::compatible();
    for id in ["1", "2", "3 &"] {
        api.create(id, "x");
    }
    for (query, expected) in [
        ("", "</persons?limit=1000>; rel=\"first\""),
        (
            "?limit=1",
            "</persons?limit=1>; rel=\"first\", </persons?limit=1&after=1>; rel=\"next\"",
        ),
        ("?after=1", "</persons?limit=1000>; rel=\"first\""),
        (
            "?after=0&limit=2",
            "</persons?limit=2>; rel=\"first\", </persons?limit=2&after=2>; rel=\"next\"",
        ),
        ("?limit=1&after=2", "</persons?limit=1>; rel=\"first\""),
        ("?limit=3", "</persons?limit=3>; rel=\"first\""),
    ] {
        let response = api.ask(&format!("GET /persons{query}"), &[], "");
        assert_eq!(response.field("Link"), Some(expected), "{query}");
        let head = api.ask(&format!("HEAD /persons{query}"), &[], "");
        assert_eq!(head.field("Link"), Some(expected));
    }
    api.create("3 &!", "x");
    let response = api.ask("GET /persons?limit=3", &[], "");
    let next = link(response.field("Link").unwrap(), "next");
    assert_eq!(next.as_deref(), Some("/persons?limit=3&after=3%20%26"));
}

#[test]
fn a_page_begins_after_any_text() {
    let api = Api::compatible();
    for id in ["a b", "a+b", "b"] {
        api.create(id, "x");
    }
    for (query, expected) in [
        ("after=a", &["a b", "a+b", "b"][..]),
        ("after=a%20b", &["a+b", "b"]),
        ("after=a+b", &["a+b", "b"]),
        ("after=a%2Bb", &["b"]),
        ("after=", &["a b", "a+b", "b"]),
        ("after=zzz", &[]),
        ("after=%00", &["a b", "a+b", "b"]),
        ("&&after=b&", &[]),
        ("%61fter=b", &[]),
    ] {
        let response = api.ask(&format!("GET /persons?{query}"), &[], "");
        assert_eq!(ids(&text(&response)), expected, "{query}");
    }
}

#[test]
fn a_page_has_at_most_a_thousand_persons() {
    let api = Api::compatible();
    for id in 0..1001 {
        api.create(&format!("{id:04}"), "x");
    }
    let pages = follow(&api, "/persons");
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1000, 1]);
    assert_eq!(follow(&api, "/persons?limit=1000").len(), 2);
}

#[test]
fn invalid_parameters_are_refused() {
    let api = Api::compatible();
    api.create("1", "x");
    let limit = |value: &str| {
        format!("The parameter `limit` must be a number from 1 to 1000, not `{value}`")
    };
    let unknown =
        |name: &str| format!("There is no parameter `{name}`; there are `limit` and `after`");
    let escape = "The target has a `%` without two hexadecimal digits after it";
    for (query, expected) in [
        ("limit=0", limit("0")),
        ("limit=1001", limit("1001")),
        ("limit=-1", limit("-1")),
        ("limit=+1", limit(" 1")),
        ("limit=%2B1", limit("+1")),
        ("limit=", limit("")),
        ("limit", limit("")),
        ("limit=ten", limit("ten")),
        ("limit=1.0", limit("1.0")),
        ("limit=99999999999999999999", limit("99999999999999999999")),
        (
            "limit=1&limit=1",
            "The parameter `limit` must come once only".into(),
        ),
        (
            "after=1&limit=1&after=2",
            "The parameter `after` must come once only".into(),
        ),
        ("page=2", unknown("page")),
        ("Limit=2", unknown("Limit")),
        ("limit=1&x", unknown("x")),
        ("=1", unknown("")),
        ("after=%zz", escape.into()),
        ("%zz=1", escape.into()),
    ] {
        // The query is checked before the preconditions are evaluated.
        for fields in [&[][..], &[("If-None-Match", "*")], &[("If-Match", "\"x\"")]] {
            let response = api.ask(&format!("GET /persons?{query}"), fields, "");
            assert_eq!(
                (response.status(), message(&response)),
                (400, expected.clone()),
                "{query}"
            );
        }
    }
    // The query of any other target is ignored.
    assert_eq!(api.ask("GET /persons/1?limit=x", &[], "").status(), 200);
}

/// Every page has the tag of the whole list, which changes with each write to the collection.
#[test]
fn s13_1_2_every_page_is_revalidated_by_the_tag_of_the_list() {
    let api = Api::compatible();
    for id in ["1", "2", "3"] {
        api.create(id, "x");
    }
    let first = api.ask("GET /persons?limit=1", &[], "");
    let later = api.ask("GET /persons?limit=1&after=2", &[], "");
    assert_eq!(tag(&first), tag(&later));
    for target in ["/persons?limit=1", "/persons?limit=1&after=2", "/persons"] {
        let response = api.ask(
            &format!("GET {target}"),
            &[("If-None-Match", &tag(&first))],
            "",
        );
        assert_eq!(response.status(), 304);
    }
    api.create("4", "x");
    let response = api.ask(
        "GET /persons?limit=1",
        &[("If-None-Match", &tag(&first))],
        "",
    );
    assert_eq!(response.status(), 200);
}

/// A page has fewer persons than `limit` if their names are long, so that its length is limited.
#[test]
fn a_page_ends_early_where_names_are_long() {
    let api = Api::compatible();
    let long = "x".repeat(60_000);
    for id in 10..40 {
        api.create(&id.to_string(), &long);
    }
    api.create("40", &"x".repeat(2_000_000));
    api.create("41", "short");
    let pages = follow(&api, "/persons");
    let lengths: Vec<_> = pages.iter().map(Vec::len).collect();
    assert_eq!(lengths, [8, 8, 8, 6, 1, 1]);
    let expected: Vec<_> = (10..42).map(|id| id.to_string()).collect();
    assert_eq!(pages.concat(), expected);
    assert_eq!(follow(&api, "/persons?limit=5").concat(), expected);
}

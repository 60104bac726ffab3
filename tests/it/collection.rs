//! The collections that a server can serve, and their names.

use ifmatch::{Collection, CollectionError, Collections};
use serde_json::json;

/// The message of each error.
const NAME: &str = "a collection is named by at most 64 letters and digits, with `-`, `_` and `.` \
                    inside, not `{}`";
const ID_MEMBER: &str =
    "an id member has a name such as `id`, and not one of the server's, not `{}`";
const RESERVED: &str = "no collection can be named `{}`: that is the server's";
const PERSONS: &str = "the ids of `persons` are in `person_id`, and no other member";
const REPEATED: &str = "the collection `{}` is there twice";
const PREFIX: &str = "a prefix is a path such as `/api/v1`, not `{}`";

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, CollectionError>, sentence: &str, text: &str) {
    let error = result.expect_err(text);
    assert_eq!(error.to_string(), sentence.replace("{}", text));
}

const NAMES: [&str; 13] = [
    "a",
    "1",
    "Z",
    "notes",
    "Notes",
    "42",
    "a-b",
    "a_b",
    "a.b",
    "v1.2",
    "a--b",
    "a-._.-b",
    "openapi.json2",
];

const INVALID_NAMES: [&str; 28] = [
    "", " ", "-", "_", ".", "..", "-a", "a-", "_a", "a_", ".a", "a.", "a b", " a", "a ", "a/b",
    "/a", "a%41", "a?b", "a#b", "a&b", "a+b", "a~b", "a*", "é", "名", "a\n", "a\0b",
];

#[test]
fn names() {
    let longest = "x".repeat(64);
    for name in NAMES.into_iter().chain([&*longest, "OpenAPI.json", "api"]) {
        let collection = Collection::new(name).unwrap();
        assert_eq!((collection.name(), collection.id_member()), (name, "id"));
        assert_eq!(collection.schema(), &json!({"type": "object"}));
    }
    let too_long = ["x".repeat(65), "x".repeat(10_000)];
    let too_long = too_long.iter().map(String::as_str);
    for name in INVALID_NAMES
        .into_iter()
        .chain(too_long)
        .chain(["a:b", ":"])
    {
        refused(Collection::new(name), NAME, name);
        let error = Collection::new(name).unwrap_err();
        assert_eq!(error, CollectionError::Name(name.to_owned()));
    }
    for name in ["openapi.json", "health", "metrics", "page.js", "page.css"] {
        refused(Collection::new(name), RESERVED, name);
    }
}

#[test]
fn id_members() {
    for name in [
        "id", "note_id", "Id", "_id", "_", "a b", " ", "a:b", "\"", "é", "_ETAG", "etag",
    ] {
        let collection = Collection::new("notes").unwrap();
        let collection = collection.with_id_member(name).unwrap();
        let named = (collection.name(), collection.id_member());
        assert_eq!(named, ("notes", name));
    }
    for name in [
        "",
        "_change_date",
        "_etag",
        "a\nb",
        "\0",
        "\u{7f}",
        "\u{85}",
    ] {
        let notes = Collection::new("notes").unwrap();
        refused(notes.with_id_member(name), ID_MEMBER, name);
        refused(Collection::persons().with_id_member(name), ID_MEMBER, name);
    }
    for name in ["id", "person_id", "x"] {
        refused(Collection::persons().with_id_member(name), PERSONS, "");
    }
}

#[test]
fn persons_have_a_schema_and_an_id_member() {
    let persons = Collection::persons();
    let named = (persons.name(), persons.id_member());
    assert_eq!(named, ("persons", "person_id"));
    assert_eq!(
        persons.schema(),
        &json!({
            "type": "object",
            "required": ["person_name"],
            "properties": {"person_name": {"type": "string", "minLength": 1}},
        })
    );
}

#[test]
fn a_collection_has_the_given_schema() {
    let schema = json!({"type": "object", "required": ["title"]});
    let notes = Collection::new("notes").unwrap();
    assert_eq!(notes.with_schema(schema.clone()).schema(), &schema);
}

/// `NAME` or `NAME:ID_MEMBER`
#[test]
fn collections_are_read_from_text() {
    for (text, name, id_member) in [
        ("notes", "notes", "id"),
        ("notes:id", "notes", "id"),
        ("notes:note_id", "notes", "note_id"),
        ("notes:a:b", "notes", "a:b"),
        ("notes: ", "notes", " "),
        ("a.b:_id", "a.b", "_id"),
        ("Persons:x", "Persons", "x"),
        ("persons", "persons", "person_id"),
    ] {
        let collection: Collection = text.parse().unwrap();
        let named = (collection.name(), collection.id_member());
        assert_eq!(named, (name, id_member), "{text}");
    }
    for name in NAMES {
        assert_eq!(name.parse::<Collection>().unwrap().name(), name);
    }
    let parse = str::parse::<Collection>;
    for name in INVALID_NAMES {
        refused(parse(name), NAME, name);
        refused(parse(&format!("{name}:id")), NAME, name);
    }
    for (text, sentence, part) in [
        (":", NAME, ""),
        (":id", NAME, ""),
        (" notes:id", NAME, " notes"),
        ("openapi.json", RESERVED, "openapi.json"),
        ("openapi.json:id", RESERVED, "openapi.json"),
        ("notes:", ID_MEMBER, ""),
        ("notes:_etag", ID_MEMBER, "_etag"),
        ("notes:_change_date", ID_MEMBER, "_change_date"),
        ("notes:\t", ID_MEMBER, "\t"),
        ("persons:", PERSONS, ""),
        ("persons:id", PERSONS, ""),
        ("persons:person_id", PERSONS, ""),
    ] {
        refused(parse(text), sentence, part);
    }
}

fn served(names: &[&str]) -> Result<Collections, CollectionError> {
    Collections::new(names.iter().map(|name| name.parse().unwrap()))
}

fn names_of(collections: &Collections) -> Vec<&str> {
    collections.iter().map(Collection::name).collect()
}

#[test]
fn two_collections_cannot_have_one_name() {
    for names in [
        &[][..],
        &["persons"],
        &["notes"],
        &["notes", "persons", "a"],
        &["notes", "Notes", "notes-1"],
    ] {
        let collections = served(names).unwrap();
        assert_eq!(names_of(&collections), names, "in the given order");
        for name in names {
            assert_eq!(collections.get(name).unwrap().name(), *name);
        }
        for name in ["", "other", "NOTES", "notes/"] {
            assert!(collections.get(name).is_none(), "{name}");
        }
    }
    for (names, repeated) in [
        (&["notes", "notes"][..], "notes"),
        (&["notes", "a", "notes:note_id"], "notes"),
        (&["a", "b", "c", "b"], "b"),
        (&["persons", "a", "persons"], "persons"),
    ] {
        refused(served(names), REPEATED, repeated);
        let error = served(names).unwrap_err();
        assert_eq!(error, CollectionError::Repeated(repeated.to_owned()));
    }
}

#[test]
fn persons_are_served_by_default() {
    let collections = Collections::default();
    assert_eq!(names_of(&collections), ["persons"]);
    assert_eq!(collections.prefix(), "");
    let persons = collections.get("persons").unwrap();
    assert_eq!(persons.id_member(), "person_id");
}

#[test]
fn a_prefix_is_a_path() {
    let collections = served(&["notes", "persons"]).unwrap();
    let long = format!("/{}/x", "x".repeat(64));
    for prefix in [
        "/a",
        "/api/v1",
        "/A/b/C",
        "/a-b/c_d/e.f",
        "/notes",
        "/openapi.json",
        &long,
    ] {
        let under = collections.clone().under(prefix).unwrap();
        assert_eq!(under.prefix(), prefix);
        assert_eq!(names_of(&under), ["notes", "persons"]);
        // The last prefix counts.
        let again = under.under("/again").unwrap();
        assert_eq!(again.prefix(), "/again");
        assert_eq!(collections.prefix(), "", "the original is unchanged");
    }
    let too_long = format!("/{}", "x".repeat(65));
    for prefix in [
        "",
        "/",
        "//",
        "a",
        "api/v1",
        "/a/",
        "a/",
        "//a",
        "/a//b",
        "/.",
        "/..",
        "/a/../b",
        "/-a",
        "/a b",
        "/%61",
        "/é",
        "/a?b",
        "/a#",
        "/:id",
        "/{id}",
        "http://x/a",
        "/a\n",
        &too_long,
    ] {
        refused(collections.clone().under(prefix), PREFIX, prefix);
    }
}

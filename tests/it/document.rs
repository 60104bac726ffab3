//! Documents and their ids: which texts are valid, and how they are kept.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ifmatch::{Document, Id, IdError, MAX_ID, Version};

#[track_caller]
fn reads(content: &str, expected: &str) {
    let document = Document::from_json(content.as_bytes()).unwrap();
    assert_eq!(document.as_str(), expected, "{content}");
    // The kept text can be parsed again, and stays the same.
    let again = Document::from_json(expected.as_bytes());
    assert_eq!(again.as_ref(), Ok(&document), "{content}");
    assert_eq!(Document::from_stored(expected), Some(document));
}

#[track_caller]
fn refuses(content: impl AsRef<[u8]>, expected: &str) {
    let content = content.as_ref();
    let error = Document::from_json(content).expect_err(expected);
    assert_eq!(error.to_string(), expected, "{}", content.escape_ascii());
}

#[test]
fn numbers_keep_their_text() {
    for number in [
        "0",
        "-0",
        "1",
        "1.0",
        "1.50000",
        "-0.0",
        "1E5",
        "1e5",
        "1e+5",
        "1E-05",
        "1e400",
        "-1e400",
        "1e-400",
        "9007199254740993",
        "18446744073709551616",
        "123456789012345678901234567890",
        "0.123456789012345678901234567890",
    ] {
        let text = format!("{{\"n\":{number}}}");
        reads(&text, &text);
        reads(&format!(" {{ \"n\" : {number} }} "), &text);
        let text = format!("{{\"n\":[{number},{{\"n\":{number}}}]}}");
        reads(&text, &text);
    }
}

#[test]
fn strings_keep_their_text() {
    for string in [
        r#""""#,
        r#"" ""#,
        r#""\u0000""#,
        r#""\u0010\u001F""#,
        r#""A\u0041""#,
        r#""/\/""#,
        r#""\"\\\b\f\n\r\t""#,
        r#""\ud83d\ude00😀""#,
        r#""\uD83D\uDE00""#,
        r#""\uffff\ufffe\ufeff""#,
        "\"\u{7f}\u{80}\u{2028}\u{feff}\u{ffff}\u{10ffff}\"",
        "\"e\u{301} é ﬁ עברית\"",
        r#""{\"a\": 1, \"a\": 2}""#,
    ] {
        let text = format!("{{\"s\":{string}}}");
        reads(&text, &text);
        let text = format!("{{\"s\":[[{string}],{{\"s\":{string}}}]}}");
        reads(&text, &text);
        // Names of members keep their text, too.
        let text = format!("{{{string}:{{{string}:null}}}}");
        reads(&text, &text);
    }
}

#[test]
fn white_space_is_removed_outside_strings() {
    for (content, expected) in [
        (" {} ", "{}"),
        ("\t\r\n{\t\r\n}\t\r\n", "{}"),
        (r#"{"a" : [ ] , "b" : { } }"#, r#"{"a":[],"b":{}}"#),
        (
            "{\n  \"a\": [\n    1,\n    true , false,\n    null\n  ]\n}\n",
            r#"{"a":[1,true,false,null]}"#,
        ),
        (
            "{ \" a \" : { \" b \" : \" : , \" } }",
            r#"{" a ":{" b ":" : , "}}"#,
        ),
    ] {
        reads(content, expected);
    }
}

/// Members of the document are sorted by the bytes of their decoded names. Members of nested objects
/// keep their order.
#[test]
fn members_are_sorted_by_name() {
    for (content, expected) in [
        (r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#),
        (r#"{"b":1,"":2,"a":3}"#, r#"{"":2,"a":3,"b":1}"#),
        (r#"{"a2":1,"a10":2,"a":3}"#, r#"{"a":3,"a10":2,"a2":1}"#),
        (r#"{"a":1,"B":2,"_":3}"#, r#"{"B":2,"_":3,"a":1}"#),
        (r#"{"b":1,"\u0061":2}"#, r#"{"\u0061":2,"b":1}"#),
        (r#"{"\\":1,"]":2,"[":3}"#, r#"{"[":3,"\\":1,"]":2}"#),
        (r#"{" ":1,"\u0000":2,"!":3}"#, r#"{"\u0000":2," ":1,"!":3}"#),
        (
            r#"{"😀":1,"名":2,"é":3,"e":4}"#,
            r#"{"e":4,"é":3,"名":2,"😀":1}"#,
        ),
        // In UTF-16 the order would be the reverse.
        (
            r#"{"\ud83d\ude00":1,"\uffee":2}"#,
            r#"{"\uffee":2,"\ud83d\ude00":1}"#,
        ),
        (
            r#"{"b":{"d":1,"c":2},"a":[{"f":3,"e":4}]}"#,
            r#"{"a":[{"f":3,"e":4}],"b":{"d":1,"c":2}}"#,
        ),
    ] {
        reads(content, expected);
    }
}

#[test]
fn no_object_has_a_member_twice() {
    for (content, name) in [
        (r#"{"a":1,"a":2}"#, "a"),
        (r#"{"a":1,"a":1}"#, "a"),
        (r#"{"a":1,"b":2,"a":3}"#, "a"),
        (r#"{"":1,"":2}"#, ""),
        // The name is written in two ways.
        (r#"{"a":1,"\u0061":2}"#, "a"),
        (r#"{"\u0061":1,"\u0061":2}"#, "a"),
        (r#"{"/":1,"\/":2}"#, "/"),
        (r#"{"😀":1,"\ud83d\ude00":2}"#, "😀"),
        (r#"{"\u00e9":1,"\u00E9":2}"#, "é"),
        // The object is nested.
        (r#"{"x":{"b":{},"b":1}}"#, "b"),
        (r#"{"x":[[{"b":1},{"b":1,"c":2,"\u0062":3}]]}"#, "b"),
        (r#"{"x":{"y":{"z":{"b":1,"b":1}}},"a":1}"#, "b"),
    ] {
        let expected = format!("The content must not have the member `{name}` twice in one object");
        refuses(content, &expected);
    }
    // The same name in two objects, and different names that only look alike.
    for text in [
        r#"{"a":{"a":{"a":[{"a":1},{"a":1}]}}}"#,
        "{\"e\u{301}\":1,\"é\":2}",
        r#"{"A":1,"a":2,"a ":3}"#,
        r#"{"\\u0061":1,"a":2}"#,
    ] {
        reads(text, text);
    }
}

#[test]
fn rfc7493_2_1_half_of_a_surrogate_pair_is_refused() {
    for string in [
        r#""\ud800""#,
        r#""\uDBFF""#,
        r#""\udc00""#,
        r#""\uDFFF""#,
        r#""\ude00\ud83d""#,
        r#""\ud83d\ud83d""#,
        r#""\ud83d\u0041""#,
        r#""\ud83dA""#,
        r#""\ud83d ""#,
        r#""\ud83d\\ude00""#,
        r#""\ud83d\n""#,
        r#""x\ud83d\ude00\ud83d""#,
    ] {
        let expected =
            format!("The string {string} has one half of a surrogate pair without the other");
        refuses(format!("{{\"a\":{string}}}"), &expected);
        refuses(format!("{{\"a\":[0,{{\"b\":[{string}]}}]}}"), &expected);
        refuses(format!("{{{string}:0}}"), &expected);
        refuses(format!("{{\"a\":{{{string}:0}}}}"), &expected);
    }
}

/// A level is an object or an array. The document itself is the first level.
#[test]
fn a_document_is_nested_a_hundred_levels_deep_at_most() {
    let arrays = |levels: usize, inside: &str| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        format!("{{\"a\":{open}{inside}{close}}}")
    };
    let objects = |levels: usize, inside: &str| {
        let (open, close) = ("{\"a\":".repeat(levels), "}".repeat(levels));
        format!("{open}{inside}{close}")
    };
    let expected = "The content must not be nested more than 100 levels deep";
    for inside in ["0", "\"x\"", "null"] {
        for text in [arrays(100, inside), objects(100, inside)] {
            reads(&text, &text);
        }
        for levels in [101, 102, 127, 128, 129, 1000] {
            refuses(arrays(levels, inside), expected);
            refuses(objects(levels, inside), expected);
        }
    }
    // An empty array or object is a level, too.
    for empty in ["[]", "{}"] {
        for text in [arrays(99, empty), objects(99, empty)] {
            reads(&text, &text);
        }
        refuses(arrays(100, empty), expected);
        refuses(objects(100, empty), expected);
    }
    refuses(objects(100, "{}").replace(":{}", ":[[],{}]"), expected);
    // A great depth does not overflow the stack.
    refuses(arrays(100_000, ""), expected);
    // The number of arrays at one level has no limit.
    let wide = format!("{{\"a\":[[]{}]}}", ",[]".repeat(10_000));
    reads(&wide, &wide);
}

#[test]
fn a_document_is_an_object() {
    for (content, found) in [
        ("[]", "an array"),
        ("[{}]", "an array"),
        ("\"\"", "a string"),
        (" \"{}\" ", "a string"),
        ("0", "a number"),
        ("-1.5", "a number"),
        ("1e400", "a number"),
        ("true", "a boolean"),
        ("false", "a boolean"),
        (" null ", "null"),
    ] {
        refuses(
            content,
            &format!("The content must be a JSON object, not {found}"),
        );
    }
}

#[test]
fn a_document_is_json() {
    for (content, detail) in [
        (&b""[..], "EOF while parsing a value at line 1 column 0"),
        (b"  ", "EOF while parsing a value at line 1 column 2"),
        (b"{", "EOF while parsing an object at line 1 column 1"),
        (b"x", "expected value at line 1 column 1"),
        (b"{'a':1}", "key must be a string at line 1 column 2"),
        (b"{a:1}", "key must be a string at line 1 column 2"),
        (b"{\"a\":1,}", "key must be a string at line 1 column 8"),
        (b"{\"a\":[1,]}", "expected value at line 1 column 9"),
        (b"{\"a\" 1}", "expected `:` at line 1 column 6"),
        (b"{\"a\":}", "expected value at line 1 column 6"),
        (b"{\"a\":01}", "invalid number at line 1 column 7"),
        (b"{\"a\":+1}", "expected value at line 1 column 6"),
        (b"{\"a\":.5}", "expected value at line 1 column 6"),
        (b"{\"a\":1.}", "invalid number at line 1 column 8"),
        (b"{\"a\":0x1}", "expected `,` or `}` at line 1 column 7"),
        (b"{\"a\":NaN}", "expected value at line 1 column 6"),
        (b"{\"a\":Infinity}", "expected value at line 1 column 6"),
        (b"{\"a\":nul}", "expected ident at line 1 column 9"),
        (b"{\"a\":\"\\x\"}", "invalid escape at line 1 column 8"),
        (b"{\"a\":\"\\u12\"}", "invalid escape at line 1 column 12"),
        (
            b"{\"a\":\"\n\"}",
            "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 6",
        ),
        (
            b"{\"a\":\"\0\"}",
            "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 6",
        ),
        // A byte order mark before the object, bytes that are not UTF-8, and text after the object.
        (b"\xef\xbb\xbf{}", "expected value at line 1 column 1"),
        (b"\xff\xfe{\0}\0", "expected value at line 1 column 1"),
        (b"{} {}", "trailing characters at line 1 column 4"),
        (b"{}x", "trailing characters at line 1 column 3"),
        (b"{}\0", "trailing characters at line 1 column 3"),
        (b"{} // no", "trailing characters at line 1 column 4"),
        (b"{}\xc2\xa0", "trailing characters at line 1 column 3"),
    ] {
        refuses(content, &format!("The content must be JSON: {detail}"));
    }
    for content in [
        &b"{\"a\":\"\xff\"}"[..],
        b"{\"a\":\"\xc3\x28\"}",
        b"{\"a\":\"\xed\xa0\x80\"}",
        b"{\"a\":\"\xc0\x80\"}",
        b"{\"a\":\"\xf5\x80\x80\x80\"}",
        b"{\"a\":[{\"\xff\":0}]}",
        b"{\"\xff\":0}",
    ] {
        let error = Document::from_json(content).unwrap_err().to_string();
        let expected = "The content must be JSON: invalid unicode code point at line 1";
        assert!(error.starts_with(expected), "{error}");
    }
}

/// Only the first and the last character of a stored text are checked.
#[test]
fn stored_text_is_taken_if_it_begins_and_ends_like_an_object() {
    for text in ["{}", r#"{"a":1}"#, "{not looked at}"] {
        let document = Document::from_stored(text).unwrap();
        assert_eq!(document.as_str(), text);
    }
    for text in ["", "{", "}", "[]", "null", " {}", "{} ", "{]"] {
        assert_eq!(Document::from_stored(text), None, "{text}");
    }
}

#[test]
fn ids_are_any_text_but_the_few_that_no_url_could_name() {
    let longest = ["x".repeat(1024), "é".repeat(512), "😀".repeat(256)];
    let others = [
        "1",
        " ",
        "  ",
        "a b",
        "/",
        "a/b",
        "...",
        ".a",
        "a.",
        "%",
        "%2F",
        "?",
        "#",
        "*",
        "\"",
        "\\",
        "{}",
        "null",
        "é",
        "e\u{301}",
        "名",
        "😀",
        "\u{a0}",
        "\u{2028}",
        "\u{feff}",
        "\u{ffff}",
        "\u{10ffff}",
    ];
    for text in longest.iter().map(String::as_str).chain(others) {
        let id = Id::new(text).unwrap();
        assert_eq!((id.as_str(), &*id.to_string()), (text, text));
    }
    assert_eq!(MAX_ID, 1024);
    let too_long = ["x".repeat(1025), "é".repeat(513), "\0".repeat(1025)];
    let controls: Vec<String> = (0..=0x1f)
        .chain(0x7f..=0x9f)
        .map(|byte| format!("a{}b", char::from(byte)))
        .collect();
    let texts = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    for (refused, error, sentence) in [
        (texts(&[""]), IdError::Empty, "must not be empty"),
        (
            too_long.to_vec(),
            IdError::TooLong,
            "must not be longer than 1024 bytes",
        ),
        (
            controls,
            IdError::Control,
            "must not contain control characters",
        ),
        (
            texts(&["\0", "\n", "\u{7f}", "\u{85}", ".\n"]),
            IdError::Control,
            "must not contain control characters",
        ),
        (
            texts(&[".", ".."]),
            IdError::Dots,
            "must not be `.` or `..`",
        ),
    ] {
        for text in refused {
            assert_eq!(Id::new(text.as_str()), Err(error), "{text:?}");
        }
        assert_eq!(error.to_string(), sentence);
    }
}

/// Stores and lists have this order.
#[test]
fn ids_are_ordered_by_their_bytes() {
    let mut ids = ["b", "a", "ü", "B", "10", "9", "a b", "名", "😀", "\u{ffff}"]
        .map(|text| Id::new(text).unwrap());
    ids.sort();
    let texts: Vec<&str> = ids.iter().map(Id::as_str).collect();
    assert_eq!(
        texts,
        ["10", "9", "B", "a", "a b", "b", "ü", "名", "\u{ffff}", "😀"]
    );
}

fn after_1970(microseconds: u64) -> Version {
    Version::from(UNIX_EPOCH + Duration::from_micros(microseconds))
}

#[test]
fn an_id_is_made_of_a_version() {
    let version = |text: &str| text.parse::<Version>().unwrap();
    for (version, expected) in [
        (Version::FIRST, "000000000000"),
        (after_1970(1), "000000000001"),
        (after_1970(9), "000000000009"),
        (after_1970(10), "00000000000a"),
        (after_1970(31), "00000000000z"),
        (after_1970(32), "000000000010"),
        (version("2020-12-24T10:11:52.200311"), "01dq6c4p4e3q"),
        (Version::LAST, "71241k676qzz"),
    ] {
        assert_eq!(Id::from(version).as_str(), expected);
        assert_eq!(Id::from(version.undated()).as_str(), expected);
        assert_eq!(Id::new(expected), Ok(Id::from(version)));
    }
}

/// Each digit at each of the twelve places, and the versions before and after every carry.
#[test]
fn ids_made_of_versions_sort_like_the_versions() {
    let last = SystemTime::from(Version::LAST);
    let last = last.duration_since(UNIX_EPOCH).unwrap().as_micros();
    let last = u64::try_from(last).unwrap();
    let mut moments: Vec<u64> = vec![0, last - 1, last];
    for place in 0..12 {
        for digit in 0..32_u64 {
            let moment = digit << (5 * place);
            moments.extend([moment.saturating_sub(1), moment, moment + 1]);
        }
    }
    // Moments of this century, every 1000003 seconds.
    moments.extend((0..4000).map(|step| 1_577_836_800_000_000 + step * 1_000_003_000_000));
    moments.retain(|moment| *moment <= last);
    moments.sort_unstable();
    moments.dedup();
    assert!(moments.len() > 4000);
    let ids: Vec<Id> = moments
        .iter()
        .map(|moment| Id::from(after_1970(*moment)))
        .collect();
    assert!(ids.is_sorted_by(|one, next| one < next));
    for (id, moment) in ids.iter().zip(moments) {
        let digits = id.as_str();
        assert_eq!(digits.len(), 12, "{id}");
        let value = |digit| "0123456789abcdefghjkmnpqrstvwxyz".find(digit).unwrap() as u64;
        let read = digits.chars().fold(0, |sum, it| sum * 32 + value(it));
        assert_eq!(read, moment, "{id}");
    }
}

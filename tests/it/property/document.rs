//! Documents: which content is one, and how its text is kept.

use ifmatch::Document;

use super::{Reached, json};

pub const EXAMPLES: [&str; 14] = [
    "{}",
    r#"{"title": "Milk", "litres": 1.0}"#,
    " {\r\n\t\"b\" : [ 1 , { \"d\" : 1 , \"c\" : 2 } ], \"\\u0061\":1 }\n",
    r#"{"n":[0,-0,1.50,1e400,-1E+5,0.1e-7,123456789012345678901234567890]}"#,
    r#"{"s":["","\"\\\/\b\f\n\r\t","\u00e9é","\ud83d\ude00😀","\u0000","\u2028"]}"#,
    r#"{"a":{"a":{"a":[{"a":1},{"a":{"b":null}}]}},"b":[true,false,null]}"#,
    r#"{"a":1,"\u0061":2}"#,
    r#"{"a":[{"b":1,"c":{},"b":2}]}"#,
    r#"{"a":"\ud800","\udc00x":1}"#,
    r#"{"é":1,"e":2,"":3,"😀":4,"A":5,"\uffee":6}"#,
    r#"{"":{"":{"":[[[[]]],{}]}}}"#,
    r#"[{"a":1}]"#,
    r#""{}""#,
    "-1.5e3",
];

/// The input is the content.
pub fn check(data: &[u8]) -> Reached {
    let strict = json::read(data).filter(serde_json::Value::is_object);
    let Some(strict) = strict else {
        assert!(Document::from_json(data).is_err());
        return vec!["refused"];
    };
    let document = Document::from_json(data).unwrap();
    let text = document.as_str();
    assert_eq!(json::read(text.as_bytes()), Some(strict), "{text}");
    assert_eq!(Document::from_json(text.as_bytes()), Ok(document.clone()));
    assert_eq!(Document::from_stored(text), Some(document.clone()));
    assert!(text.len() <= data.trim_ascii().len(), "{text}");
    vec!["accepted"]
}

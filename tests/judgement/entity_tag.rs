use ifmatch::EntityTag;

#[track_caller]
fn reads(text: &str, opaque: &str, weak: bool) {
    let tag: EntityTag = text.parse().unwrap();
    assert_eq!((tag.opaque(), tag.is_weak()), (opaque, weak), "{text}");
    assert_eq!(tag.to_string(), text, "parse, then print, is identity");
}

#[track_caller]
fn fails(text: &str, message: &str) {
    let error = text.parse::<EntityTag>().unwrap_err();
    assert_eq!(error.to_string(), message, "{text}");
    let position = message.rsplit("byte ").next().unwrap();
    assert!(
        position.starts_with(&error.position().to_string()),
        "{position}"
    );
}

#[test]
fn s8_8_3_entity_tag() {
    reads(r#""cur""#, "cur", false);
    reads(r#"W/"cur""#, "cur", true);
    reads(r#""""#, "", false);
    reads(r#"W/"""#, "", true);
    reads(r#""a,cur""#, "a,cur", false);
    reads(r#""*""#, "*", false);
    reads(r#""a\""#, r"a\", false);
    reads(r#""\\n""#, r"\\n", false);
    reads("\"\u{80}\u{ff}ü→\"", "\u{80}\u{ff}ü→", false);

    fails("", "expected a quoted tag at byte 0, found the end");
    fails("cur", "expected a quoted tag at byte 0, found 'c'");
    fails("*", "expected a quoted tag at byte 0, found '*'");
    fails("W/", "expected a quoted tag at byte 2, found the end");
    fails(r#"w/"cur""#, "expected a quoted tag at byte 0, found 'w'");
    fails(r#"W/ "cur""#, "expected a quoted tag at byte 2, found ' '");
    fails(r#"W"cur""#, "expected a quoted tag at byte 0, found 'W'");
    fails(r#""cur"#, "entity tag without a closing quote at byte 4");
    fails(r#"""#, "entity tag without a closing quote at byte 1");
    fails(r#""cur"x"#, "unexpected 'x' after the entity tag at byte 5");
    fails(
        r#"W/"cur" "#,
        "unexpected ' ' after the entity tag at byte 7",
    );
    fails(r#""c r""#, "unexpected ' ' in an entity tag at byte 2");
    fails("\"c\tr\"", "unexpected '\\t' in an entity tag at byte 2");
    fails(
        "\"\u{7f}\"",
        "unexpected '\\u{7f}' in an entity tag at byte 1",
    );
}

/// The grammar's characters, one by one: %x21 / %x23-7E / obs-text.
#[test]
fn s8_8_3_etagc() {
    for c in (0..0x300_u32).filter_map(char::from_u32) {
        let code = u32::from(c);
        let etagc = code == 0x21 || (0x23..=0x7e).contains(&code) || code >= 0x80;
        assert_eq!(EntityTag::strong(c).is_ok(), etagc, "{c:?}");
        assert_eq!(EntityTag::weak(c).is_ok(), etagc, "{c:?}");
        assert_eq!(
            format!("\"{c}\"").parse::<EntityTag>().is_ok(),
            etagc,
            "{c:?}"
        );
    }
}

#[test]
fn s8_8_3_2_comparison() {
    #[track_caller]
    fn check(a: &str, b: &str, strong: bool, weak: bool) {
        let (a, b): (EntityTag, EntityTag) = (a.parse().unwrap(), b.parse().unwrap());
        assert_eq!((a.strong_eq(&b), b.strong_eq(&a)), (strong, strong));
        assert_eq!((a.weak_eq(&b), b.weak_eq(&a)), (weak, weak));
    }
    check(r#"W/"1""#, r#"W/"1""#, false, true);
    check(r#"W/"1""#, r#"W/"2""#, false, false);
    check(r#"W/"1""#, r#""1""#, false, true);
    check(r#""1""#, r#""1""#, true, true);
    // The comparison is byte for byte.
    check(r#""a""#, r#""A""#, false, false);
    check(r#""""#, r#""""#, true, true);
}

#[test]
fn revisions_are_strong_tags() {
    assert_eq!(EntityTag::revision(0_u64).to_string(), r#""0""#);
    assert_eq!(
        EntityTag::revision(u64::MAX).to_string(),
        r#""18446744073709551615""#
    );
    assert_eq!(EntityTag::revision(-1_i64).to_string(), r#""-1""#);
}

#[test]
fn constructors_check_as_the_parser_does() {
    let error = EntityTag::strong("a\"b").unwrap_err();
    assert_eq!(
        error.to_string(),
        "unexpected '\"' in an entity tag at byte 1"
    );
    assert_eq!(EntityTag::weak("a").unwrap().to_string(), r#"W/"a""#);
}

//! The page for browsers: three files without data. The script reads and writes documents with the
//! same requests as any client.

use std::sync::OnceLock;

use crate::endpoint::Endpoint;
use crate::entity_tag::EntityTag;
use crate::field::{list_members, trim};
use crate::message::{Request, Response};
use crate::resource::{Handler, Unperformed};
use crate::target::Target;

/// A file of the page, and its fields. The tag is computed once.
pub(super) struct File {
    content_type: &'static str,
    content: &'static str,
    fields: &'static [(&'static str, &'static str)],
    entity_tag: OnceLock<EntityTag>,
}

static HTML: File = File {
    content_type: "text/html; charset=utf-8",
    content: include_str!("browser/index.html"),
    fields: &[
        NO_SNIFFING,
        ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
        ("Referrer-Policy", "no-referrer"),
    ],
    entity_tag: OnceLock::new(),
};

pub(super) static SCRIPT: File = File {
    content_type: "text/javascript; charset=utf-8",
    content: include_str!("browser/page.js"),
    fields: &[NO_SNIFFING],
    entity_tag: OnceLock::new(),
};

pub(super) static STYLE: File = File {
    content_type: "text/css; charset=utf-8",
    content: include_str!("browser/page.css"),
    fields: &[NO_SNIFFING],
    entity_tag: OnceLock::new(),
};

const NO_SNIFFING: (&str, &str) = ("X-Content-Type-Options", "nosniff");

/// The page may load its script and its style, and send requests to this server. It may load nothing
/// else, and no other site may frame it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

impl Handler<'_> {
    /// Whether this target is the page or a part of it.
    pub(super) fn is_browser_page(&self, target: &Target<'_>) -> bool {
        self.policy.browser_page
            && match target {
                Target::Root => prefers_html(self.request),
                Target::Endpoint(endpoint) => {
                    matches!(endpoint, Endpoint::Script | Endpoint::Style)
                }
                _ => false,
            }
    }

    /// Reads `/`: the page, or the service document. Vary tells caches that this depends on Accept.
    pub(super) fn read_root(&self) -> Result<Response, Unperformed> {
        if !self.policy.browser_page {
            return self.read_service();
        }
        let read = if prefers_html(self.request) {
            self.read_file(&HTML)
        } else {
            self.read_service()
        };
        let vary = |response: Response| response.with_vary("Accept");
        match read {
            Ok(response) => Ok(vary(response)),
            Err(Unperformed::Response(unchanged)) => Err(Unperformed::Response(vary(unchanged))),
            problem => problem,
        }
    }

    pub(super) fn read_file(&self, file: &File) -> Result<Response, Unperformed> {
        let content = file.content.as_bytes();
        let entity_tag = file.entity_tag.get_or_init(|| EntityTag::digest(content));
        let mut response = self.read_fixed(file.content_type, content, entity_tag.clone())?;
        for (name, value) in file.fields {
            response = response.with_field(name, *value);
        }
        Ok(response)
    }
}

/// Whether the client prefers HTML to JSON: Accept gives `text/html` a higher weight.
///
/// Browsers name `text/html`. Programs send `*/*` or no Accept, and get JSON.
///
/// [RFC 9110 section 12.5.1](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1)
fn prefers_html(request: &Request<'_>) -> bool {
    weight(request, "text", "html") > weight(request, "application", "json")
}

/// The weight of a media type in thousandths: that of the most specific range which includes it, or
/// 0.
fn weight(request: &Request<'_>, kind: &str, subtype: &str) -> u16 {
    let (full, group) = (format!("{kind}/{subtype}"), format!("{kind}/*"));
    let ranges = request.field_lines("Accept").flat_map(list_members);
    let weights = ranges.filter_map(|member| {
        let mut parts = member.split(|byte| *byte == b';').map(trim);
        let range = parts.next()?;
        let names = |known: &str| range.eq_ignore_ascii_case(known.as_bytes());
        let specific = if names(&full) {
            2
        } else if names(&group) {
            1
        } else if names("*/*") {
            0
        } else {
            return None;
        };
        Some((specific, parts.find_map(quality).unwrap_or(1000)))
    });
    weights.max().map_or(0, |(_, weight)| weight)
}

/// The value of the parameter `q` in thousandths; 0 if it is malformed.
fn quality(parameter: &[u8]) -> Option<u16> {
    let value = match parameter {
        [b'q' | b'Q', b'=', value @ ..] => String::from_utf8_lossy(value),
        _ => return None,
    };
    let (whole, fraction) = value.split_once('.').unwrap_or((&value, ""));
    let thousandths = format!("{fraction:0<3}").parse().ok();
    Some(match (whole, thousandths) {
        ("1", Some(0)) => 1000,
        ("0", Some(thousandths @ 0..1000)) => thousandths,
        _ => 0,
    })
}

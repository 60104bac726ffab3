//! The resources of the server itself, beside the collections.

/// A resource of the server at a path of one segment below the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The description of the API.
    OpenApi,
    /// Whether the store answers.
    Health,
    /// The counters of the server.
    Metrics,
    /// The script of the page for browsers.
    Script,
    /// The style of the page for browsers.
    Style,
}

impl Endpoint {
    const ALL: [Self; 5] = [
        Self::OpenApi,
        Self::Health,
        Self::Metrics,
        Self::Script,
        Self::Style,
    ];

    /// The endpoint with this path segment. A collection cannot have the same name.
    pub(crate) fn from_segment(segment: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.segment() == segment)
    }

    /// The path segment.
    pub(crate) fn segment(self) -> &'static str {
        match self {
            Self::OpenApi => "openapi.json",
            Self::Health => "health",
            Self::Metrics => "metrics",
            Self::Script => "page.js",
            Self::Style => "page.css",
        }
    }
}

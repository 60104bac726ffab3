//! Reading and discarding content.

use std::error::Error;
use std::io;

use ::hyper::body::{Bytes, Incoming};
use http_body_util::BodyExt;

use crate::framing::{MAX_DRAINED_FOR_REUSE, Refusal};

/// Reads content of at most `limit` bytes. Content in one frame is not copied.
pub(super) async fn read(body: &mut Incoming, limit: u64) -> Result<Bytes, Refusal> {
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| refusal(&error))?;
        // The other kind of frame has trailer fields, which have no effect.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if (first.len() + all.len() + data.len()) as u64 > limit {
            return Err(Refusal::ContentTooLong { limit });
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.into() })
}

/// Why content could not be read to its end.
fn refusal(error: &::hyper::Error) -> Refusal {
    let cause = error.source().and_then(|it| it.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Refusal::ContentMalformed,
        _ => Refusal::ContentTruncated,
    }
}

/// Reads and discards the rest of the content, up to [`MAX_DRAINED_FOR_REUSE`]. If more is left, hyper closes
/// the connection.
pub(super) async fn drain(mut body: Incoming) {
    let mut left = MAX_DRAINED_FOR_REUSE;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

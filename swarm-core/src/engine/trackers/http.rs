//! One HTTP announce over one address family (BEP 3).
//!
//! Not here: the query and the reply (`wire::tracker_http`), redirects and where they may lead
//! (`web`), the limit on the whole.

use super::AnnounceError;
use crate::engine::web::{Errand, Web, WebError};
use crate::wire::tracker_http::{self, AnnounceReply, ReplyError};

/// Sends the announce that is in the errand's URL and reads the answer.
///
/// A refusal counts under any status, since trackers are not of one mind.
pub(super) async fn announce(
    web: &Web,
    errand: Errand<'_>,
) -> Result<AnnounceReply, AnnounceError> {
    let answer = web.get(errand).await.map_err(|error| match error {
        WebError::TooLong(length) => ReplyError::TooLong(length).into(),
        error => AnnounceError::Web(error),
    })?;
    match tracker_http::decode_announce_reply(&answer.body) {
        Err(refused @ ReplyError::Refused(_)) => Err(refused.into()),
        _ if !(200..300).contains(&answer.status) => Err(WebError::Status(answer.status).into()),
        decoded => Ok(decoded?),
    }
}

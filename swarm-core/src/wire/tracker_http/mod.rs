//! The HTTP tracker protocol (BEP 3, 7, 21, 23, 24, 31, 48): queries and bencoded replies.
//!
//! Queries are bytes, never text: an info hash is twenty arbitrary bytes behind percent signs,
//! and clients disagree about which of them to escape.
//!
//! Not here: HTTP itself, when to announce, whom to hand out.

mod query;
mod reply;

pub use query::{
    AnnounceQuery, PeerForm, QueryError, SCRAPE_HASHES_MAX, announce_url, parse_announce,
    parse_scrape, scrape_url,
};
pub use reply::{
    AnnounceReply, REPLY_MAX, Refusal, ReplyError, Retry, decode_announce_reply,
    decode_scrape_reply, encode_announce_reply, encode_refusal, encode_scrape_reply,
};

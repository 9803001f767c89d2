//! stub
/// h
pub fn content_hash(_l: &crate::Listing, _s: u64) -> u64 {
    0
}

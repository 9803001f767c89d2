//! What the tests of serving share: event documents, and a naive scan that is obviously right.

#![allow(dead_code, reason = "every test uses a part of it")]

pub mod documents;
pub mod extract;
pub mod http;
pub mod naive;
pub mod sse;

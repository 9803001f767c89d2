//! stub
use serde::{Deserialize, Serialize};
/// w
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Remembered {}

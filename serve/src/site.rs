//! All that requests are answered from.

use std::sync::Arc;

use axum::extract::FromRef;

use crate::access::Access;
use crate::admin::Admin;
use crate::pipeline::Pipeline;
use crate::stream::Hub;

/// All that requests are answered from.
#[derive(Clone)]
pub struct Site {
    /// What is served, and to whom it is passed on.
    pub hub: Arc<Hub>,
    /// Who may ask for what.
    pub access: Arc<Access>,
    /// What operators and editors do; `None` where only events are served.
    pub admin: Option<Arc<Admin>>,
    /// How the topology is doing.
    pub pipeline: Arc<Pipeline>,
}

impl Site {
    /// The events of `hub` alone, to everybody.
    pub fn of(hub: Arc<Hub>) -> Self {
        Self { hub, access: Arc::new(Access::open()), admin: None, pipeline: Arc::new(Pipeline::default()) }
    }
}

impl FromRef<Site> for Arc<Hub> {
    fn from_ref(site: &Site) -> Self {
        Self::clone(&site.hub)
    }
}

impl FromRef<Site> for Arc<Access> {
    fn from_ref(site: &Site) -> Self {
        Self::clone(&site.access)
    }
}

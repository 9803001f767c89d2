//! How the topology is doing, and what records would give.

use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use headwater::admin::Phase;
use headwater_operators::raw::{Origin, RawRecord};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Small, admin, blocking, fresh, invalid, json as body_json};
use super::endpoints::{OF_METRICS, OF_PIPELINE, OF_STREAM};
use super::problem::Problem;
use super::query::Query;
use super::request;
use crate::document::Attribute;
use crate::filter::Filter;
use crate::site::Site;

/// Records that are validated at once.
const MOST_EVENTS: usize = 100;

/// Status, health or metrics, as the parameter `action` says.
pub(super) async fn pipeline(State(site): State<Site>, RawQuery(text): RawQuery) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, OF_PIPELINE)?;
    let action = query.word("action");
    let timeframe = timeframe(&mut query);
    query.finish()?;
    match action.as_deref() {
        Some("metrics") => fresh(&site.pipeline.series(timeframe)),
        Some("health") => health(State(site)).await,
        _ => status(State(site)).await,
    }
}

fn timeframe(query: &mut Query<'_>) -> Duration {
    let minutes = match query.word("timeframe").as_deref() {
        Some("5m") => 5,
        Some("15m") => 15,
        _ => 60,
    };
    Duration::from_secs(minutes * 60)
}

/// How it is doing now.
pub(super) async fn status(State(site): State<Site>) -> Result<Response, Problem> {
    let live = site.hub.live();
    let (events, listings, sources, ready, commit) = {
        let served = live.read();
        let (index, everything) = (&served.index, served.index.select(&Filter::default()));
        let sources = index.facet(&everything, Attribute::Source, usize::MAX).values.len();
        (index.len(), served.listings.len(), sources, served.ready, index.commit())
    };
    let committed_at = live.committed_ms().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    fresh(&json!({
        "topology": site.hub.topology(),
        "version": env!("CARGO_PKG_VERSION"),
        "log": site.admin.as_ref().map(|admin| admin.log.describe()),
        "ready": ready,
        "position": live.position(commit).to_string(),
        "committedAt": committed_at,
        "engine": site.pipeline.engine(),
        "sources": sources,
        "listings": listings,
        "events": events,
        "streams": site.hub.streams(),
    }))
}

/// Whether it does its work.
pub(super) async fn health(State(site): State<Site>) -> Result<Response, Problem> {
    let ready = site.hub.live().read().ready;
    let phase = site.pipeline.phase();
    let healthy = ready && phase.as_ref().is_none_or(|phase| *phase == Phase::Running);
    let mut response = fresh(&json!({ "healthy": healthy, "serving": ready, "engine": phase }))?;
    if !healthy {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response.into_response())
}

/// Its figures.
pub(super) async fn metrics(State(site): State<Site>, RawQuery(text): RawQuery) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, OF_METRICS)?;
    let timeframe = timeframe(&mut query);
    query.finish()?;
    fresh(&site.pipeline.series(timeframe))
}

/// The body of a request to do something.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "action", deny_unknown_fields)]
pub(super) enum Action {
    /// What records would give.
    Validate {
        source: Option<String>,
        content_type: Option<String>,
        /// Texts as they would be sent, or JSON.
        events: Vec<Value>,
    },
    /// A live stream under an address that can be kept.
    Subscribe {
        /// The query of a live stream.
        #[serde(default)]
        filter: String,
    },
}

/// Validates records, or saves a subscription.
pub(super) async fn act(State(site): State<Site>, headers: HeaderMap, Small(body): Small) -> Result<Response, Problem> {
    match body_json::<Action>(&headers, &body)? {
        Action::Validate { source, content_type, events } => validate(&site, source, content_type, events).await,
        Action::Subscribe { filter } => subscribe(&site, &filter),
    }
}

async fn validate(
    site: &Site,
    source: Option<String>,
    content_type: Option<String>,
    events: Vec<Value>,
) -> Result<Response, Problem> {
    if events.is_empty() || events.len() > MOST_EVENTS {
        return Err(invalid(format!("`events` has to hold 1 to {MOST_EVENTS} records.")));
    }
    let admin = admin(site)?;
    let hub = site.hub.clone();
    let results = blocking(move || {
        let Some(preview) = &admin.preview else {
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "This topology has no preview."));
        };
        let input = admin.config.inputs.first();
        let topic = input.map_or_else(String::new, |input| admin.config.full_name(&input.topic));
        let usual = |event: &Value| (!event.is_string()).then(|| "application/json".to_owned());
        let record = |event: Value| RawRecord {
            origin: Origin {
                topic: topic.as_str().into(),
                partition: 0,
                offset: 0,
                timestamp_ms: Timestamp::now().as_millisecond(),
                order_ms: Timestamp::now().as_millisecond(),
            },
            source: source.clone().or_else(|| input?.source.clone()).map(Into::into),
            content_type: content_type
                .clone()
                .or_else(|| input?.content_type.clone())
                .or_else(|| usual(&event))
                .map(Into::into),
            key: None,
            value: Some(match event {
                Value::String(text) => text.into_bytes(),
                other => other.to_string().into_bytes(),
            }),
            headers: Vec::new(),
        };
        let results = events.into_iter().map(|event| preview.preview(hub.live(), record(event)));
        Ok(results.collect::<Vec<Value>>())
    })
    .await?;
    fresh(&json!({ "events": results }))
}

fn subscribe(site: &Site, filter: &str) -> Result<Response, Problem> {
    let mut query = Query::new(filter, OF_STREAM)?;
    let (read, _) = request::filter(&mut query, site.hub.live().lineage());
    let kept = query.without(&["lastEventId", "ticket"]);
    query.finish()?;
    let id = format!("{:016x}", read.digest());
    let joint = if kept.is_empty() { "" } else { "?" };
    fresh(&json!({ "id": id, "filter": kept, "url": format!("/api/events/live{joint}{kept}") }))
}

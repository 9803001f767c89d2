//! What operators look at: sources, topics, records, and pairs to be reviewed.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use headwater::config::topic;
use headwater::tools::dead_letters::{self, parse_time};
use serde_json::{Value, json};

use super::body::{admin, blocking, fresh};
use super::endpoints::{OF_RECORDS, OF_REVIEW};
use super::problem::Problem;
use super::query::Query;
use crate::admin::records::{self, Wanted};
use crate::admin::sources::SourceReport;
use crate::admin::{Admin, review};
use crate::site::Site;

/// Records and pairs of an answer unless told otherwise.
const LIMIT: usize = 50;

/// What each source gives.
pub(super) async fn sources(State(site): State<Site>) -> Result<Response, Problem> {
    let admin = admin(&site)?;
    let records = site.pipeline.records_by_source();
    let hub = site.hub.clone();
    let sources = blocking(move || {
        let reports = admin.sources.get(hub.live()).map_err(|error| Problem::internal(&error))?;
        let letters = letters_by_source(&admin)?;
        let known = |source: &&String| !reports.iter().any(|report| report.source == **source);
        let silent: BTreeSet<&String> =
            letters.keys().chain(records.iter().flat_map(BTreeMap::keys)).filter(known).collect();
        let silent: Vec<SourceReport> = silent.into_iter().map(|source| SourceReport::of(source.clone())).collect();
        let rows = reports.iter().chain(&silent).map(|report| {
            let mut row = serde_json::to_value(report).unwrap_or_default();
            let (all, new) = letters.get(&report.source).copied().unwrap_or_default();
            row["deadLetters"] = all.into();
            row["newDeadLetters"] = new.into();
            row["records"] = records
                .as_ref()
                .map_or(Value::Null, |records| records.get(&report.source).copied().unwrap_or(0.0).into());
            row
        });
        Ok(rows.collect::<Vec<Value>>())
    })
    .await?;
    fresh(&json!({ "sources": sources }))
}

/// All dead letters, and the new ones, by source.
fn letters_by_source(admin: &Admin) -> Result<BTreeMap<String, (u64, u64)>, Problem> {
    let mut by_source = BTreeMap::<String, (u64, u64)>::new();
    for tally in tallies(admin)? {
        let Some(source) = tally.source else { continue };
        let count = by_source.entry(source).or_default();
        count.0 += tally.letters;
        count.1 += tally.new;
    }
    Ok(by_source)
}

/// The dead letters by code and source; none where there is no such topic yet.
pub(super) fn tallies(admin: &Admin) -> Result<Vec<dead_letters::Tally>, Problem> {
    let topic = admin.config.full_name(topic::DEAD_LETTERS);
    if admin.log.watermarks(&topic).map_err(|error| Problem::fault(&error))?.is_none() {
        return Ok(Vec::new());
    }
    let all = dead_letters::Filter::default();
    dead_letters::tallies(&*admin.log, &admin.config, &all).map_err(|error| Problem::fault(&error))
}

/// The topics.
pub(super) async fn topics(State(site): State<Site>) -> Result<Response, Problem> {
    let admin = admin(&site)?;
    let topics =
        blocking(move || admin.log.topics(&admin.config.prefix).map_err(|error| Problem::fault(&error))).await?;
    fresh(&json!({ "topics": topics }))
}

/// Records of a topic.
pub(super) async fn records(
    State(site): State<Site>,
    Path(topic): Path<String>,
    RawQuery(text): RawQuery,
) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, OF_RECORDS)?;
    let wanted = Wanted {
        partition: query.integer("partition").and_then(|number| i32::try_from(number).ok()),
        offset: offset(&mut query),
        key: query.text("key"),
        contains: query.text("contains"),
        since_ms: since(&mut query),
        limit: query.integer("limit").unwrap_or(LIMIT),
    };
    query.finish()?;
    let admin = admin(&site)?;
    let topic = admin.config.full_name(&topic);
    let found = blocking(move || {
        let found = if topic.starts_with(&admin.config.prefix) {
            records::find(&*admin.log, &topic, &wanted).map_err(|error| Problem::fault(&error))?
        } else {
            None
        };
        found.ok_or_else(|| Problem::not_found(format!("There is no topic {topic:?}, or not that partition of it.")))
    })
    .await?;
    fresh(&found)
}

fn offset(query: &mut Query<'_>) -> Option<i64> {
    let text = query.text("offset")?;
    let offset = text.parse();
    if offset.is_err() {
        query.refuse("offset", "not-a-number", format!("{text:?} is no whole number."));
    }
    offset.ok()
}

/// A time, or how long ago.
pub(super) fn since(query: &mut Query<'_>) -> Option<i64> {
    let text = query.text("since")?;
    let since = parse_time(&text);
    if let Err(reason) = &since {
        query.refuse("since", "not-a-time", format!("{text:?}: {reason}."));
    }
    since.ok()
}

/// Pairs that a person should look at.
pub(super) async fn review(State(site): State<Site>, RawQuery(text): RawQuery) -> Result<Response, Problem> {
    let text = text.unwrap_or_default();
    let mut query = Query::new(&text, OF_REVIEW)?;
    let limit = query.integer("limit").unwrap_or(LIMIT);
    query.finish()?;
    let hub = site.hub.clone();
    let admin = admin(&site)?;
    let threshold = admin.preview.as_ref().map_or(review::USUAL_THRESHOLD, |preview| preview.threshold());
    let found =
        blocking(move || admin.review.get(hub.live(), threshold).map_err(|error| Problem::internal(&error))).await?;
    let pairs = found.pairs.get(..limit).unwrap_or(&found.pairs);
    fresh(&json!({ "pairs": pairs, "total": found.total, "threshold": found.threshold, "below": found.below }))
}

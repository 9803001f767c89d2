//! Configuration that changes while the topology runs: the gates.

use std::sync::PoisonError;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use headwater_operators::score::GatesPatch;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Small, admin, blocking, fresh, invalid, json as body_json, unknown, writing};
use super::problem::Problem;
use crate::access::Identity;
use crate::admin::{Act, control};
use crate::site::Site;

/// The longest key of a record, in bytes.
const LONGEST_KEY: usize = 256;

/// What the topic holds, and which gates are in force.
pub(super) async fn list(State(site): State<Site>) -> Result<Response, Problem> {
    let admin = admin(&site)?;
    let controls = blocking(move || {
        let configured = admin.preview.as_ref().map(|preview| preview.gates());
        control::controls(&*admin.log, &admin.config, configured).map_err(|error| Problem::fault(&error))
    })
    .await?;
    fresh(&controls)
}

/// The body of a change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    key: String,
    /// What is to be set; `null` takes the record of the key back. It has to be there: what is forgotten is no wish.
    #[serde(deserialize_with = "Option::deserialize")]
    gates: Option<GatesPatch>,
}

/// Sets gates, or takes back what a record sets.
pub(super) async fn change(
    State(site): State<Site>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    Small(body): Small,
) -> Result<Response, Problem> {
    // What is written is what was asked for, once it is known to be right: a patch would name all that it does not set.
    let request: Value = body_json(&headers, &body)?;
    let Change { key, gates } = body_json(&headers, &body)?;
    if key.trim().is_empty() || key.len() > LONGEST_KEY {
        return Err(invalid(format!("`key` has to be a text of 1 to {LONGEST_KEY} bytes.")));
    }
    let after = gates.map(|_| json!({ "gates": request["gates"] }));
    let admin = admin(&site)?;
    let changed = writing(&admin.clone(), move || {
        let _changing = admin.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = |error| Problem::fault(&error);
        control::ensure_topic(&*admin.log, &admin.config).map_err(fault)?;
        let before = control::said(&*admin.log, &admin.config, &key).map_err(fault)?;
        if before.is_none() && after.is_none() {
            return Err(Problem::not_found(format!("There is no record {key:?}.")));
        }
        let record = control::record(&admin.config, &key, after.as_ref());
        let told = json!({ "key": key, "before": before, "after": after });
        let act = Act { who: identity.who(), action: "control", request, before: json!(before), after: json!(after) };
        admin.write(vec![record], &act).map_err(|error| unknown(&error))?;
        Ok(told)
    })
    .await?;
    fresh(&changed)
}

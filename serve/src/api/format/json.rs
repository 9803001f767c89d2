//! Lists as JSON. Documents are passed on as they are, not read and written again.

use std::collections::BTreeMap;

use super::super::found::Found;
use super::super::request::ListRequest;
use crate::projection::{project, with_distance};

/// `{"events", "total", "hasMore", "nextCursor", "facets"?, "removed"?, "removedComplete"?}`
pub(super) fn write(found: &Found, request: &ListRequest, next: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(found.events.iter().map(|event| event.document.len() + 32).sum::<usize>() + 256);
    out.extend_from_slice(b"{\"events\":[");
    for (event, number) in found.events.iter().zip(0..) {
        if number > 0 {
            out.push(b',');
        }
        let projected = request.fields.as_ref().map(|fields| project(&event.document, fields));
        let document = projected.as_ref().unwrap_or(&event.document);
        out.extend_from_slice(with_distance(document, event.distance_m).as_bytes());
    }
    out.extend_from_slice(b"],\"total\":");
    out.extend_from_slice(found.total.to_string().as_bytes());
    out.extend_from_slice(if next.is_some() { b",\"hasMore\":true" } else { b",\"hasMore\":false" });
    member(&mut out, "nextCursor", &next);
    if !found.facets.is_empty() {
        let facets: BTreeMap<_, _> = found.facets.iter().map(|facet| (facet.attribute.name(), &facet.values)).collect();
        member(&mut out, "facets", &facets);
    }
    if let Some(removed) = &found.removed {
        member(&mut out, "removed", &removed.ids.iter().map(|id| &**id).collect::<Vec<_>>());
        member(&mut out, "removedComplete", &removed.complete);
    }
    out.push(b'}');
    out
}

fn member(out: &mut Vec<u8>, name: &str, value: &impl serde::Serialize) {
    out.extend_from_slice(format!(",\"{name}\":").as_bytes());
    // Plain values in memory: it cannot fail.
    out.extend_from_slice(&serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec()));
}

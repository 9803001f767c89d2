//! Endpoints as they are described, of any topology: the OpenAPI document and the page at `/docs` are made of them.

use axum::http::Method;
use serde_json::{Value, json};

use super::parameters::{Kind, Parameter};
use crate::access::guard::COOKIE;
use crate::access::keys::Scope;

/// An endpoint as it is described.
#[derive(Debug, Clone)]
pub struct Described {
    /// How it is asked.
    pub method: Method,
    /// Its path, with placeholders such as `{id}`.
    pub path: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// What a client has to be allowed to do; `None` where everybody is answered, or where the endpoint looks itself.
    pub scope: Option<Scope>,
    /// What stands for the parts of its path: name and meaning of each placeholder.
    pub placeholders: Vec<(&'static str, &'static str)>,
    /// Its query parameters.
    pub parameters: Vec<Parameter>,
    /// Whether a client names the last event that it has, and gets those after it.
    pub resumes: bool,
    /// The body of its requests (OpenAPI's Request Body Object), if they have one.
    pub body: Option<Value>,
    /// What it answers (OpenAPI's Responses Object).
    pub responses: Value,
}

/// An API as it is described.
#[derive(Debug, Clone)]
pub struct Api {
    /// What it is about.
    pub about: &'static str,
    /// All endpoints.
    pub endpoints: Vec<Described>,
    /// Schemas that they refer to.
    pub schemas: Value,
    /// Headers that they refer to.
    pub headers: Value,
}

impl Api {
    /// The OpenAPI document (3.1).
    pub fn document(&self) -> Value {
        let mut paths = serde_json::Map::new();
        for endpoint in &self.endpoints {
            let path = paths.entry(endpoint.path.clone()).or_insert_with(|| json!({}));
            path[endpoint.method.as_str().to_lowercase()] = endpoint.operation();
        }
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Headwater",
                "version": env!("CARGO_PKG_VERSION"),
                "description": self.about,
                "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
            },
            "paths": paths,
            "components": { "schemas": self.schemas, "headers": self.headers, "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "A key, as `headwater key` makes it, or a token (JWT) of the issuer that is configured." },
                "apiKey": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
                "session": { "type": "apiKey", "in": "cookie", "name": COOKIE },
            } },
        })
    }
}

impl Described {
    fn operation(&self) -> Value {
        let mut parameters: Vec<Value> = Vec::new();
        for (name, about) in &self.placeholders {
            parameters.push(json!({
                "name": name, "in": "path", "required": true, "description": about, "schema": { "type": "string" },
            }));
        }
        parameters.extend(self.parameters.iter().map(parameter));
        if self.resumes {
            parameters.push(json!({
                "name": "Last-Event-ID", "in": "header", "schema": { "type": "string" },
                "description": "Go on after this position. It takes precedence over lastEventId.",
            }));
        }
        let mut described = json!({ "summary": self.summary, "parameters": parameters, "responses": self.responses });
        if let Some(scope) = self.scope {
            let scope = scope.to_string();
            described["description"] = format!("Needs the scope `{scope}`.").into();
            described["security"] = json!([{ "bearer": [scope] }, { "apiKey": [scope] }, { "session": [scope] }]);
        }
        if let Some(body) = &self.body {
            described["requestBody"] = body.clone();
        }
        described
    }
}

/// A body in JSON that has to be there.
pub fn json_body(schema: &Value) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

fn parameter(parameter: &Parameter) -> Value {
    let mut described = json!({
        "name": parameter.name, "in": "query", "description": parameter.about, "schema": schema(parameter.kind),
    });
    if matches!(parameter.kind, Kind::AnyOf | Kind::SomeOf(_)) {
        described["style"] = "form".into();
        described["explode"] = true.into();
    }
    described
}

fn schema(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::OneOf(words) => json!({ "type": "string", "enum": words }),
        Kind::AnyOf => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::SomeOf(words) => json!({ "type": "array", "items": { "type": "string", "enum": words } }),
        Kind::Number { least, most } => json!({ "type": "number", "minimum": least, "maximum": most }),
        Kind::Integer { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Time => json!({ "type": "string", "examples": ["2026-12-01", "2026-12-01T20:00:00Z"] }),
        Kind::Position => json!({ "type": "string", "pattern": "^[0-9a-f]{8}-[0-9]+$" }),
        Kind::Bounds => json!({ "type": "string", "examples": ["-122.6,37.6,-122.2,38.0"] }),
    }
}

//! The WebSocket: many live streams on one connection.
//!
//! ```text
//!  client: {"type":"subscribe","subscription":"napa","filter":"city=Napa"}   {"type":"unsubscribe",…}
//!  server: {"type":"changes","subscription":"napa","id":"5f3a09c1-4711","changes":[{"event":"enter","data":{…}}]}
//!          {"type":"ended",…}   {"type":"refused","subscription":"napa","problem":{…}}
//! ```
//!
//! A filter is the query of `/api/events/live`, and so are its parameters `snapshot`, `fields` and `lastEventId`. A
//! message holds whole changes, and at most 1 MiB of them: once one with an `id` is applied the client has that commit.
//!
//! A connection ends with what it was opened with: the session, the token, the key.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use super::problem::Problem;
use super::stream_of;
use crate::access::guard::{Held, Peer, client_of, too_many};
use crate::access::limits::Client;
use crate::access::{Basis, Identity};
use crate::site::Site;
use crate::stream::{Subscriptions, ended};

/// A message of a client holds a query, and little else.
const LONGEST_MESSAGE: usize = 16 << 10;

/// What is read, and written, at a time. The usual 128 KiB would be most of what a connection costs.
const BUFFER: usize = 4 << 10;

/// Streams on one connection.
const MOST_SUBSCRIPTIONS: usize = 64;

/// Bytes of the name of a subscription.
const LONGEST_NAME: usize = 64;

/// How long a client may take to answer that a connection is closed.
const FAREWELL: Duration = Duration::from_millis(200);

/// How long a client may take to read a message, and how long a connection may have no subscription.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client asks for.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
enum Asked {
    Subscribe {
        subscription: String,
        #[serde(default)]
        filter: String,
    },
    Unsubscribe {
        subscription: String,
    },
}

/// Opens a WebSocket.
pub(super) async fn open(
    State(site): State<Site>,
    Extension(identity): Extension<Identity>,
    peer: Option<Extension<Peer>>,
    held: Option<Extension<Held>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return no_socket(&rejection),
    };
    let client = client_of(&identity, peer.as_deref());
    let conversation = Conversation {
        client,
        subscriptions: Subscriptions::default(),
        busy: Instant::now(),
        // At once for the first time.
        lasts: Box::pin(sleep(Duration::ZERO)),
        changes: site.access.changes(),
        ending: site.hub.ending(),
        identity,
        site,
    };
    upgrade
        .max_message_size(LONGEST_MESSAGE)
        .max_frame_size(LONGEST_MESSAGE)
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .on_upgrade(|socket| async move {
            conversation.hold(socket).await;
            drop(held);
        })
}

fn no_socket(rejection: &WebSocketUpgradeRejection) -> Response {
    let detail = format!("Only WebSockets (RFC 6455) are answered here: {rejection}.");
    let mut response = Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade-required", detail).into_response();
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response
}

/// A connection.
struct Conversation {
    site: Site,
    identity: Identity,
    client: Option<Client>,
    subscriptions: Subscriptions,
    /// When it had a subscription last.
    busy: Instant,
    /// Until the identity has to be looked at again.
    lasts: Pin<Box<Sleep>>,
    /// Told when it has to be before.
    changes: watch::Receiver<()>,
    /// Whether the server stops.
    ending: watch::Receiver<bool>,
}

/// What happens next on a connection.
enum Happened {
    Heard(Message),
    Told(String),
    Idle,
    /// What the client was let in by may have ended.
    Doubtful,
    Stopping,
    Gone,
}

impl Conversation {
    async fn hold(mut self, mut socket: WebSocket) {
        loop {
            let message = match self.next(&mut socket).await {
                Happened::Heard(Message::Close(_)) => {
                    // The answer is sent by the next reading.
                    let _ = timeout(PATIENCE, socket.recv()).await;
                    return;
                }
                Happened::Gone => return,
                Happened::Heard(Message::Ping(_) | Message::Pong(_)) => continue,
                Happened::Heard(message) => self.hear(&message),
                Happened::Told(message) => Some(message),
                Happened::Idle => return close(&mut socket, close_code::NORMAL, "nothing is subscribed to").await,
                Happened::Stopping => return close(&mut socket, close_code::RESTART, "the server stops").await,
                Happened::Doubtful if self.still_holds() => continue,
                Happened::Doubtful => {
                    return close(&mut socket, close_code::POLICY, ended_with(&self.identity.basis)).await;
                }
            };
            let Some(message) = message else { continue };
            match timeout(PATIENCE, socket.send(Message::text(message))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a WebSocket has ended");
                    return;
                }
                Err(_) => {
                    tracing::debug!("a client of a WebSocket does not read");
                    return;
                }
            }
        }
    }

    /// Whether what the client was let in by still holds, and until when.
    fn still_holds(&mut self) -> bool {
        let until = self.site.access.lasts(&self.identity);
        until.map(|until| self.lasts.as_mut().reset(until.into())).is_some()
    }

    async fn next(&mut self, socket: &mut WebSocket) -> Happened {
        let is_idle = self.subscriptions.len() == 0;
        if !is_idle {
            self.busy = Instant::now();
        }
        let until = self.busy + PATIENCE;
        // What brings a client up to date may be large, so that is done for one subscription at a time.
        let is_catching_up = self.subscriptions.is_catching_up();
        tokio::select! {
            heard = socket.recv(), if !is_catching_up => match heard {
                Some(Ok(message)) => Happened::Heard(message),
                Some(Err(error)) => {
                    tracing::debug!(%error, "a WebSocket has ended");
                    Happened::Gone
                }
                None => Happened::Gone,
            },
            told = poll_fn(|context| self.subscriptions.poll_next(context)) => Happened::Told(told),
            () = sleep_until(until), if is_idle => Happened::Idle,
            () = stopped(&mut self.ending), if is_idle => Happened::Stopping,
            () = self.lasts.as_mut() => Happened::Doubtful,
            _ = self.changes.changed() => Happened::Doubtful,
        }
    }

    /// Does what a message asks for; gives what is to be answered at once.
    fn hear(&mut self, message: &Message) -> Option<String> {
        if let Err(problem) = self.count() {
            return Some(json!({ "type": "refused", "subscription": null, "problem": problem }).to_string());
        }
        let asked = serde_json::from_slice::<Asked>(&message.clone().into_data());
        let (name, refused) = match asked {
            Ok(Asked::Subscribe { subscription, filter }) => {
                let refused = self.subscribe(&subscription, &filter).err();
                (subscription, refused)
            }
            Ok(Asked::Unsubscribe { subscription }) => {
                if self.subscriptions.remove(&subscription) {
                    return Some(ended(&subscription));
                }
                let problem = Problem::not_found(format!("There is no subscription {subscription:?}."));
                (subscription, Some(problem))
            }
            Err(error) => (String::new(), Some(invalid(format!("A message has to be JSON of a known type: {error}.")))),
        };
        let problem = refused?;
        let name = (!name.is_empty()).then_some(name);
        Some(json!({ "type": "refused", "subscription": name, "problem": problem }).to_string())
    }

    fn subscribe(&mut self, name: &str, filter: &str) -> Result<(), Problem> {
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(invalid(format!("The name of a subscription has 1 to {LONGEST_NAME} bytes.")));
        }
        if self.subscriptions.len() >= MOST_SUBSCRIPTIONS && !self.subscriptions.contains(name) {
            let detail = format!("A connection has at most {MOST_SUBSCRIPTIONS} subscriptions.");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", detail));
        }
        let stream = stream_of(&self.site.hub, filter, &HeaderMap::new())?;
        self.subscriptions.put(name.to_owned(), stream);
        Ok(())
    }

    /// A message is a request like any other.
    fn count(&self) -> Result<(), Problem> {
        self.site.access.is_used_by(&self.identity);
        let limiter = self.site.access.limiter.as_ref().zip(self.client.clone());
        let wait = limiter.map(|(limiter, client)| limiter.take(client).wait).unwrap_or_default();
        if wait.is_zero() { Ok(()) } else { Err(too_many(wait)) }
    }
}

/// Why a client is not let in any longer.
fn ended_with(basis: &Basis) -> &'static str {
    match basis {
        Basis::Session(_) => "the session has ended",
        Basis::Token { .. } => "the token is not valid any more",
        Basis::Key(_) | Basis::Nothing => "the key is not valid any more",
    }
}

/// Returns once the server stops.
async fn stopped(ending: &mut watch::Receiver<bool>) {
    // Without a hub there is nothing to wait for.
    let _ = ending.wait_for(|ending| *ending).await;
}

fn invalid(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid-body", detail)
}

async fn close(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame { code, reason: reason.into() };
    // The client may have gone already.
    if let Ok(Ok(())) = timeout(PATIENCE, socket.send(Message::Close(Some(frame)))).await {
        // What is left unread would make the system throw the connection away, and the reason with it.
        let _ = timeout(FAREWELL, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
    }
}

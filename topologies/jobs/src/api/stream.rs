//! Streams of server-sent events (HTML standard, 9.2).
//!
//! A stream is a task that waits for its bell, reads the store, and sends what is new. While its client is slow it
//! waits, and then sends what is so by then: no queue grows.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use headwater_serve::access::Identity;
use http_body::Frame;
use tokio::sync::mpsc;

use super::site::Site;

/// How often a stream says that it lives, and whether its client may still read.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Frames on their way to a connection.
const FRAMES: usize = 2;

/// Clients come back after one to three seconds, not all at once.
const RETRY_MS: (u64, u64) = (1_000, 2_000);

/// Where a stream sends to.
#[derive(Clone)]
pub(super) struct Out(mpsc::Sender<Bytes>);

/// The client has gone.
#[derive(Debug)]
pub(super) struct Gone;

impl Out {
    /// Sends an event. Its data is JSON, in which a line can only end between values.
    pub(super) async fn event(&self, name: &str, id: impl std::fmt::Display, data: &[u8]) -> Result<(), Gone> {
        let mut frame = format!("id: {id}\nevent: {name}\ndata: ").into_bytes();
        frame.extend(data.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        frame.extend(b"\n\n");
        self.send(frame.into()).await
    }

    /// Sends a position without an event: the client comes back with it.
    pub(super) async fn position(&self, id: impl std::fmt::Display) -> Result<(), Gone> {
        self.send(format!("id: {id}\n\n").into()).await
    }

    async fn send(&self, frame: Bytes) -> Result<(), Gone> {
        self.0.send(frame).await.map_err(|_| Gone)
    }
}

/// The answer that is a stream, of what `work` sends until it ends.
pub(super) fn stream<W>(site: &Site, identity: Identity, work: impl FnOnce(Out) -> W) -> Response
where
    W: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (sender, frames) = mpsc::channel(FRAMES);
    let out = Out(sender);
    let work = work(out.clone());
    let (site, mut stopping) = (site.clone(), site.stopping());
    tokio::spawn(async move {
        let retry = RETRY_MS.0 + RandomState::new().hash_one(0) % RETRY_MS.1;
        if out.send(format!("retry: {retry}\n\n").into()).await.is_err() {
            return;
        }
        // Whatever ends first ends the stream.
        tokio::select! {
            _ = work => {}
            () = beat(&site, &identity, &out) => {}
            () = out.0.closed() => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        // Proxies of nginx's kind hold answers back otherwise.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::new(Frames(frames))).into_response()
}

/// Beats for as long as the client may read.
async fn beat(site: &Site, identity: &Identity, out: &Out) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        if site.access.lasts(identity).is_none() || out.send(Bytes::from_static(b": \n\n")).await.is_err() {
            return;
        }
    }
}

struct Frames(mpsc::Receiver<Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|frame| frame.map(|frame| Ok(Frame::data(frame))))
    }
}

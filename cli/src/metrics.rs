//! What the engine counts, for Prometheus: the recorder of the `metrics` facade, and an endpoint on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tiny_http::{Header, Response, Server};

use crate::failure::{Failure, Outcome};

/// The upper bounds of the histograms' buckets in seconds: from a buffered append to a large round.
const BUCKETS: [f64; 13] = [
    1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0,
];
/// How often what was recorded is folded into the buckets while nobody asks, which does so too.
const UPKEEP: Duration = Duration::from_secs(5);

/// Answers `GET /metrics` until it is dropped.
pub(crate) struct Endpoint {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Installs the recorder, which must be before a store is opened, and listens.
    pub(crate) fn start(address: SocketAddr) -> Outcome<Self> {
        if !address.ip().is_loopback() {
            return Err(Failure::new(format!(
                "metrics are served on loopback only, and {address} is not; listen on 127.0.0.1 and put a proxy in front"
            )));
        }
        let recorder = PrometheusBuilder::new().set_buckets(&BUCKETS);
        let handle = recorder.and_then(PrometheusBuilder::install_recorder);
        let handle = handle.map_err(|error| Failure::new(format!("cannot count: {error}")))?;
        let server = Server::http(address)
            .map_err(|error| Failure::new(format!("cannot serve metrics on {address}: {error}")))?;
        let server = Arc::new(server);
        let listening = Arc::clone(&server);
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || serve(&listening, &handle))
            .map_err(|error| Failure::of("cannot serve metrics", &error))?;
        Ok(Self {
            server,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.server.server_addr().to_string()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers until it is unblocked.
fn serve(server: &Server, handle: &PrometheusHandle) {
    loop {
        let begun = Instant::now();
        let request = match server.recv_timeout(UPKEEP) {
            Ok(Some(request)) => request,
            // Nothing came, or the end did: only the end comes early.
            Ok(None) if begun.elapsed() >= UPKEEP => {
                handle.run_upkeep();
                continue;
            }
            Ok(None) | Err(_) => return,
        };
        let response = match request.url() {
            "/metrics" => Response::from_string(handle.render()),
            _ => Response::from_string("see /metrics\n").with_status_code(404),
        };
        let kind = Header::from_bytes("Content-Type", "text/plain; version=0.0.4");
        let response = kind.into_iter().fold(response, Response::with_header);
        if let Err(error) = request.respond(response) {
            tracing::debug!(%error, "metrics were asked for and not taken");
        }
    }
}

//! Checks whether the hub can be reached, for `heirloom doctor`.

use std::time::{Duration, Instant};

use super::fetch::{HUGGING_FACE, is_offline, token, variable};
use super::request::Client;

/// Longest wait for a connection, and for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The result of a request to the hub.
#[derive(Debug)]
pub enum HubAccess {
    /// `HF_HUB_OFFLINE` is set.
    Offline,
    Reached {
        endpoint: String,
        /// Whether an access token was found.
        token: bool,
        millis: u128,
    },
    Unreachable {
        endpoint: String,
        why: String,
    },
    /// `HF_ENDPOINT` is not an address.
    BadEndpoint(String),
}

/// Sends one request to the hub, without a token. Any answer, even a refusal, shows that the network works.
pub fn hub_access() -> HubAccess {
    if is_offline() {
        return HubAccess::Offline;
    }
    let endpoint = variable("HF_ENDPOINT");
    let endpoint = endpoint.as_deref().unwrap_or(HUGGING_FACE);
    let client = match Client::patient(endpoint, None, PATIENCE, PATIENCE) {
        Ok(client) => client,
        Err(what) => return HubAccess::BadEndpoint(what),
    };
    let begin = Instant::now();
    let endpoint = client.endpoint.clone();
    match client.reach() {
        Ok(()) => HubAccess::Reached {
            endpoint,
            token: token().is_some(),
            millis: begin.elapsed().as_millis(),
        },
        Err(why) => HubAccess::Unreachable { endpoint, why },
    }
}

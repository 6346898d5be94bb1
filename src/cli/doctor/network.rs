//! Checks access to the Hugging Face hub.

use super::finding::Finding;

/// Requests the hub's front page, unless access is disabled.
#[cfg(feature = "hub")]
pub fn check() -> Vec<Finding> {
    use crate::locate::{HubAccess, hub_access};
    let cached = "models in the cache, files and runs work without it";
    vec![match hub_access() {
        HubAccess::Offline => Finding::ok("hub", "not asked: HF_HUB_OFFLINE is set"),
        HubAccess::Reached {
            endpoint,
            token,
            millis,
        } => {
            let token = if token {
                "with a token"
            } else {
                "without a token"
            };
            Finding::ok("hub", format!("{endpoint} answers in {millis} ms, {token}"))
        }
        HubAccess::Unreachable { endpoint, why } => Finding::warn(
            "hub",
            format!("{endpoint} cannot be reached ({why})"),
            format!("check the network, HF_ENDPOINT and HTTPS_PROXY; {cached}"),
        ),
        HubAccess::BadEndpoint(what) => Finding::warn(
            "hub",
            format!("HF_ENDPOINT cannot be used: {what}"),
            "an example is https://huggingface.co",
        ),
    }]
}

#[cfg(not(feature = "hub"))]
pub fn check() -> Vec<Finding> {
    vec![Finding::ok(
        "hub",
        "this program was built without the feature `hub`",
    )]
}

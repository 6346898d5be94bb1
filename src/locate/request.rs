//! Requests to a hub. The token is sent only to the hub itself: redirections are followed here, and their targets
//! receive the token only if scheme, host and port are the hub's.

use std::time::Duration;

use ureq::http::{Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

use crate::text;

/// Timeouts of a request, for networks that drop packets silently.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);
/// Connections slower than this, in bytes a second, are treated as dead.
const SLOWEST: u64 = 16 << 10;
/// Most redirections that are followed.
const MOST_REDIRECTS: usize = 10;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum RequestError {
    Http(Box<ureq::Error>),
    /// The answer is malformed, or redirects to a place that must not be followed.
    Answer(&'static str),
}

impl From<ureq::Error> for RequestError {
    fn from(error: ureq::Error) -> Self {
        Self::Http(Box::new(error))
    }
}

/// The server of an address: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn of(uri: &Uri) -> Option<Self> {
        let https = match uri.scheme_str()?.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        // `host:` and `host:99999` have invalid ports.
        let authority = uri.authority()?.as_str();
        let written = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let port = match written.strip_prefix(host)? {
            "" => None,
            port => Some(port.strip_prefix(':')?.parse().ok()?),
        };
        Some(Self {
            https,
            host: host.trim_end_matches('.').to_ascii_lowercase(),
            port: port.unwrap_or(if https { 443 } else { 80 }),
        })
    }
}

fn has_credentials(uri: &Uri) -> bool {
    uri.authority().is_some_and(|a| a.as_str().contains('@'))
}

/// Metadata of a file, as the hub reports it.
#[derive(Debug)]
pub(super) struct Metadata {
    pub etag: String,
    pub commit: String,
    pub size: u64,
}

/// A hub that requests are sent to.
pub(super) struct Client {
    agent: Agent,
    origin: Origin,
    /// Its address without a slash at the end.
    pub endpoint: String,
    token: Option<String>,
}

impl Client {
    /// Makes a client of the hub at this address.
    ///
    /// # Errors
    /// When the address is not valid; the error does not show a password in it.
    pub fn new(endpoint: &str, token: Option<String>) -> Result<Self, String> {
        Self::patient(endpoint, token, CONNECT, ANSWER)
    }

    /// Makes a client with the longest waits for a connection and for an answer.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn patient(
        endpoint: &str,
        token: Option<String>,
        connect: Duration,
        answer: Duration,
    ) -> Result<Self, String> {
        let endpoint = endpoint.trim_end_matches('/');
        let shown = || match endpoint.contains(['@', '?']) {
            // The text before or after these may be a secret.
            true => "it".to_string(),
            false => format!("\"{}\"", text::cut(&text::clean(endpoint), 200)),
        };
        let uri: Uri = endpoint
            .parse()
            .map_err(|_| format!("{} is not an address", shown()))?;
        let origin = Origin::of(&uri)
            .ok_or_else(|| format!("{} is not an address of http or https", shown()))?;
        if has_credentials(&uri) {
            return Err(
                "it holds a user name or password; give an access token as HF_TOKEN".into(),
            );
        }
        if uri.query().is_some() {
            return Err("it has a question mark, after which nothing can be added".into());
        }
        let config = Agent::config_builder()
            .max_redirects(0)
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .timeout_recv_response(Some(answer))
            .build();
        Ok(Self {
            agent: config.into(),
            origin,
            endpoint: endpoint.to_string(),
            token,
        })
    }

    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Makes a text that may quote an address or a header safe to show: without the token, and without the credentials
    /// of addresses.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text::clean(text).into_owned();
        if let Some(token) = self.token.as_deref().filter(|token| !token.is_empty()) {
            text = text.replace(token, "(token)");
        }
        without_credentials(&text)
    }

    /// Sends one request, without following redirections. About `bytes` are expected, and the time limit allows for
    /// them.
    fn ask(
        &self,
        uri: &Uri,
        range: Option<&str>,
        bytes: u64,
    ) -> Result<Response<Body>, RequestError> {
        let agent = concat!("heirloom/", env!("CARGO_PKG_VERSION"));
        let mut request = self
            .agent
            .get(uri.clone())
            .header(header::USER_AGENT, agent);
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        if let Some(token) = &self.token
            && Origin::of(uri).as_ref() == Some(&self.origin)
        {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let most = ANSWER + Duration::from_secs(bytes / SLOWEST);
        let request = request.config().timeout_recv_body(Some(most)).build();
        Ok(request.call()?)
    }

    /// Returns the target of an answer that is a redirection.
    fn leads_to(from: &Uri, answer: &Response<Body>) -> Result<Option<Uri>, RequestError> {
        let redirects = [
            StatusCode::MOVED_PERMANENTLY,
            StatusCode::FOUND,
            StatusCode::SEE_OTHER,
            StatusCode::TEMPORARY_REDIRECT,
            StatusCode::PERMANENT_REDIRECT,
        ];
        if !redirects.contains(&answer.status()) {
            return Ok(None);
        }
        let location = answer.headers().get(header::LOCATION);
        let location = location.and_then(|location| location.to_str().ok());
        let to = location.and_then(|location| joined(from, location));
        let to = to.ok_or(RequestError::Answer("it redirects without an address"))?;
        if has_credentials(&to) {
            return Err(RequestError::Answer(
                "it redirects to an address with a password in it",
            ));
        }
        let is_secure = |uri: &Uri| Origin::of(uri).is_some_and(|origin| origin.https);
        if is_secure(from) && !is_secure(&to) {
            return Err(RequestError::Answer("it redirects from https to http"));
        }
        Ok(Some(to))
    }

    /// Requests an address of the hub, following redirections. `bytes` is the expected size, which sets the time limit: 30 s
    /// plus the time of a slow connection.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub fn get(
        &self,
        url: &str,
        range: Option<&str>,
        bytes: u64,
    ) -> Result<Response<Body>, RequestError> {
        let mut uri = parsed(url)?;
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.ask(&uri, range, bytes)?;
            match Self::leads_to(&uri, &answer)? {
                None => return Ok(answer),
                Some(to) => uri = to,
            }
        }
        Err(RequestError::Answer("too many redirects"))
    }

    /// Sends a request to the hub itself; any answer counts.
    ///
    /// # Errors
    /// Describes why there was no answer.
    pub fn reach(&self) -> Result<(), String> {
        let uri = self.endpoint.parse::<Uri>().map_err(|e| e.to_string())?;
        match self.ask(&uri, None, 0) {
            Ok(_) => Ok(()),
            Err(RequestError::Http(error)) => match *error {
                ureq::Error::StatusCode(_) => Ok(()),
                error => Err(self.clean(&error.to_string())),
            },
            Err(RequestError::Answer(what)) => Err(what.into()),
        }
    }

    /// Returns a file's metadata. ETag and commit are taken from the hub's own last answer, the size from the server that
    /// holds the file.
    ///
    /// # Errors
    /// When the server does not answer, or a header is missing.
    pub fn metadata(&self, url: &str) -> Result<Metadata, RequestError> {
        let first_byte = Some("bytes=0-0");
        let mut uri = parsed(url)?;
        let mut named: Option<(String, String)> = None;
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.ask(&uri, first_byte, 1)?;
            let header = |name: &str| {
                let value = answer.headers().get(name)?.to_str().ok()?;
                Some(value.to_string())
            };
            let to = Self::leads_to(&uri, &answer)?;
            let leaves = |to: &Uri| Origin::of(to).as_ref() != Some(&self.origin);
            if named.is_none() && to.as_ref().is_none_or(leaves) {
                let etag = header("x-linked-etag").or_else(|| header("etag"));
                let etag = etag.ok_or(RequestError::Answer("it has no ETag"))?;
                let etag = etag.trim_start_matches("W/").replace('"', "");
                let commit = header("x-repo-commit");
                let commit = commit.ok_or(RequestError::Answer("it names no commit"))?;
                named = Some((etag, commit));
            }
            if let Some(to) = to {
                uri = to;
                continue;
            }
            let length = header("content-range")
                .and_then(|range| range.rsplit_once('/')?.1.parse().ok())
                .ok_or(RequestError::Answer("it does not give the file's length"))?;
            let Some((etag, commit)) = named else {
                break;
            };
            return Ok(Metadata {
                etag,
                commit,
                size: length,
            });
        }
        Err(RequestError::Answer("too many redirects"))
    }
}

fn parsed(url: &str) -> Result<Uri, RequestError> {
    url.parse()
        .map_err(|_| RequestError::Answer("its address cannot be read"))
}

/// Returns the target of a redirection from `from`: an absolute address, or a path on the same host.
fn joined(from: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with('/') && !location.starts_with("//") {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(location.parse().ok()?);
        return Uri::from_parts(parts).ok();
    }
    let to: Uri = location.parse().ok()?;
    Origin::of(&to).is_some().then_some(to)
}

/// Cuts `USER:PASSWORD@` out of every address in a text.
fn without_credentials(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | ')'));
        let (authority, _) = after.split_at(end.unwrap_or(after.len()));
        rest = match authority.rfind('@') {
            Some(at) => &after[at + 1..],
            None => after,
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &str) -> Option<Origin> {
        Origin::of(&uri.parse().ok()?)
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let hub = origin("https://hub.co").unwrap();
        for same in [
            "https://hub.co:443/x",
            "HTTPS://HUB.CO/",
            "https://hub.co./a?b=c",
        ] {
            assert_eq!(origin(same).as_ref(), Some(&hub), "{same}");
        }
        for other in [
            "http://hub.co",
            "http://hub.co:443",
            "https://hub.co:8443",
            "https://www.hub.co",
            "https://hub.co.evil.org",
            "https://hub.co@evil.org",
            "https://hub.co:443@evil.org",
        ] {
            let other_origin = origin(other).unwrap_or_else(|| panic!("{other}"));
            assert_ne!(other_origin, hub, "{other}");
        }
        for none in ["ftp://hub.co", "/path", "https://hub.co:99999/", "hub.co"] {
            assert_eq!(origin(none), None, "{none}");
        }
    }

    #[test]
    fn redirections_lead_to_paths_and_whole_addresses() {
        let from: Uri = "http://hub.co:1/a/b?c".parse().unwrap();
        let to = |location| joined(&from, location).map(|uri| uri.to_string());
        assert_eq!(to("/x?y").as_deref(), Some("http://hub.co:1/x?y"));
        assert_eq!(to("https://cdn.co/x").as_deref(), Some("https://cdn.co/x"));
        for none in ["//evil.org/x", "x", "", "file:///etc/passwd"] {
            assert_eq!(to(none), None, "{none}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let client = Client::new("https://hub.co/", Some("hf_secret".into())).unwrap();
        assert_eq!(client.endpoint, "https://hub.co");
        assert_eq!(
            client.clean("bad header: Bearer hf_secret at http://me:pw@proxy:8080/x, http://a/b@c"),
            "bad header: Bearer (token) at http://proxy:8080/x, http://a/b@c"
        );
        for (endpoint, wanted) in [
            ("https://me:hf_secret@hub.co", "user name or password"),
            ("https://hf_secret@hub.co/x", "user name or password"),
            ("https://hub.co?token=hf_secret", "question mark"),
            ("no address @hf_secret", "it is not an address"),
            ("ftp://hub.co", "\"ftp://hub.co\" is not an address of http"),
            ("not an address", "\"not an address\" is not an address"),
        ] {
            let told = Client::new(endpoint, None).err().unwrap();
            assert!(
                told.contains(wanted) && !told.contains("hf_secret"),
                "{told}"
            );
        }
    }
}

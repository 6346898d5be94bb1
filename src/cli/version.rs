//! The version of this program.

/// The version, with the commit of a release build from a repository.
pub const VERSION: &str = env!("HEIRLOOM_VERSION");

//! `[dist]`: runs of several ranks.

use crate::config::declare::section;
use crate::config::key::OnResume::Free;
use crate::config::rules::count;

section! {
    /// Runs that several processes train.
    "dist" DistConfig: Default {
        /// Seconds that ranks wait for one that lives but does not come; then the run ends and names it.
        timeout_s: u64 = default(120), Free, check count(1, 86_400);
    }
}

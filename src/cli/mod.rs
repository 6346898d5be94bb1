//! One file per subcommand; thin: arguments in, a call into the library, text out.

pub mod ls;
pub mod show;

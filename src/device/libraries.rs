//! Shared libraries of this machine.

use libloading::Library;

/// Returns the first of these libraries that the dynamic linker can open.
pub fn first_library<'n>(names: &[&'n str]) -> Option<&'n str> {
    // SAFETY: opening a library runs its initialisers. Those of NVIDIA's libraries and of MPI's have no conditions: they
    // are loaded in this way by every program that is linked with them. No function is called.
    let opens = |name: &&&str| unsafe { Library::new(**name) }.is_ok();
    names.iter().find(opens).copied()
}

#[cfg(test)]
mod tests {
    use super::first_library;

    #[test]
    fn the_first_library_that_opens_is_found() {
        assert_eq!(
            first_library(&["libno-such.so.1", "libc.so.6"]),
            Some("libc.so.6")
        );
        assert_eq!(first_library(&["libno-such.so.1"]), None);
    }
}

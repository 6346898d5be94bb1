// The version of PTX that a driver is asked to read, used by `build.rs` and checked by `tests/kernels_suit_old_drivers.rs`.

/// Version of the kernels that run on every card: that of CUDA 11.4. Each of them assembles as 7.0 too.
pub const GENERAL: Version = (7, 4);

/// Version of the kernels for compute capability 9.0: that of CUDA 12.0, the first with `wgmma`.
pub const HOPPER: Version = (8, 0);

/// Major and minor.
pub type Version = (u32, u32);

/// Whether the kernels of this file are made for compute capability 9.0 alone.
pub fn is_hopper(stem: &str) -> bool {
    stem.ends_with("_hopper")
}

/// Version of the kernels of the file `stem`.
pub fn version_of(stem: &str) -> Version {
    match is_hopper(stem) {
        true => HOPPER,
        false => GENERAL,
    }
}

/// Returns PTX with its version lowered to `wanted`. A compiler writes its own version, whatever the instructions need, and a
/// driver refuses one that is later than itself. An earlier version stays.
///
/// # Errors
/// When there is not exactly one line with a version.
pub fn lowered(ptx: &str, wanted: Version) -> Result<String, String> {
    let mut found = Vec::new();
    let mut lines = Vec::new();
    for line in ptx.lines() {
        match line.strip_prefix(".version ") {
            Some(version) => {
                let version =
                    parsed(version).ok_or_else(|| format!("{line:?} is not a version"))?;
                found.push(version);
                let (major, minor) = version.min(wanted);
                lines.push(format!(".version {major}.{minor}"));
            }
            None => lines.push(line.to_string()),
        }
    }
    match found.len() {
        1 => Ok(lines.join("\n") + "\n"),
        n => Err(format!("{n} lines with a version, expected one")),
    }
}

fn parsed(version: &str) -> Option<Version> {
    let (major, minor) = version.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

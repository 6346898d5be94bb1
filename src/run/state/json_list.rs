//! Lists of measurements inside a format without field names: written as JSON, because the journal's types leave out
//! absent fields, which such a format cannot express.

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes a list as the bytes of its JSON.
///
/// # Errors
/// Those of the format.
pub fn write<T: Serialize, S: Serializer>(list: &[T], s: S) -> Result<S::Ok, S::Error> {
    let json = serde_json::to_vec(list).map_err(S::Error::custom)?;
    s.serialize_bytes(&json)
}

/// Reads a list of at most `N` elements.
///
/// # Errors
/// When it has more, or is not the JSON of such a list.
pub fn read<'de, const N: usize, T, D>(d: D) -> Result<Vec<T>, D::Error>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    let json = Vec::<u8>::deserialize(d)?;
    let list: Vec<T> = serde_json::from_slice(&json).map_err(D::Error::custom)?;
    match list.len() <= N {
        true => Ok(list),
        false => Err(D::Error::invalid_length(list.len(), &"a shorter list")),
    }
}

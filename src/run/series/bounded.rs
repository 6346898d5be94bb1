//! Lists that are read back with a bound on their length.

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads a list that must not have more than `N` elements.
///
/// # Errors
/// When it has more.
pub fn at_most<'de, const N: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct List<T, const N: usize>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for List<T, N> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a list of at most {N}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let told = seq.size_hint().unwrap_or(0);
            if told > N {
                return Err(A::Error::invalid_length(told, &self));
            }
            // The announced length may be false: the list grows as its elements are read.
            let mut list = Vec::with_capacity(told.min(4096));
            while let Some(item) = seq.next_element()? {
                if list.len() == N {
                    return Err(A::Error::invalid_length(N + 1, &self));
                }
                list.push(item);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_seq(List::<T, N>(std::marker::PhantomData))
}

//! The declaration of a section, with everything about each of its keys.
//!
//! A key needs a field with its default for serde, a row in the table for documents, completions, suggestions and the
//! rules of a resume, and a check of its value. Written separately they would repeat each other and diverge; a
//! declaration contains each fact once, and [`section!`] generates the three:
//!
//! ```text
//! section! {
//!     /// What the section is about.
//!     "grow" GrowConfig: Default {
//!         /// What the key is for.
//!         step: usize = default(2), FreeUntil(Controls), check count(1, 1000);
//!     }
//! }
//! ```
//!
//! After the type, which determines the [kind](super::kind) of the key, follow
//! - what an absent key means: `default(VALUE)`, `required("EXAMPLE")` with an example in TOML, or for an `Option`
//!   `absent("WORDS")` with the meaning in words,
//! - what a [resume](super::key::OnResume) does with another value,
//! - any number of checks of the value alone ([`rules`](super::rules)). How values fit each other is checked in
//!   [`check`](super::check).
//!
//! `: Default` marks a section that may be absent, in which case each of its keys may be absent. `holds NAME:
//! Option<TYPE>` names a section below the declared one.

/// Declares a section; see [the module](self).
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $section:literal $name:ident: Default { $($keys:tt)* }
    ) => {
        section! { $(#[doc = $about])+ $section $name { $($keys)* } }
        section! { @default $name { $($keys)* } }
    };

    (
        $(#[doc = $about:literal])+
        $section:literal $name:ident $(, holds $below:ident: $below_type:ty)? {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $type:ty = $need:ident($need_value:expr), $on_resume:expr $(, check $check:expr)*;
            )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[serde(skip_serializing_if = "crate::config::kind::is_absent")]
                pub $key: $type,
            )*
            $(
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $below: $below_type,
            )?
        }

        impl $name {
            pub(in crate::config) const SECTION: $crate::config::key::Section = $crate::config::key::Section {
                name: $section,
                // Each line of a doc comment begins with a space.
                doc: concat!($($about),+).trim_ascii_start(),
                keys: &[$(
                    $crate::config::key::Key {
                        path: concat!($section, ".", stringify!($key)),
                        on_resume: $on_resume,
                        kind: <$type as $crate::config::kind::KeyType>::KIND,
                        need: section!(@need $need($need_value), $type),
                        doc: concat!($($doc),+).trim_ascii_start(),
                    },
                )*],
            };

            /// Checks each value alone. Problems are reported with the path of their key.
            #[allow(unused_variables, reason = "a section may have no checks")]
            pub(in crate::config) fn check_each(&self, report: &mut dyn FnMut(&'static str, Vec<String>)) {
                $($(
                    let path = concat!($section, ".", stringify!($key));
                    report(path, $check(path, &self.$key));
                )*)*
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Given {
                    $($key: Option<$type>,)*
                    $($below: $below_type,)?
                }
                let given = Given::deserialize(deserializer)?;
                Ok(Self {
                    $($key: section!(@given $need($need_value), given.$key, stringify!($key)),)*
                    $($below: given.$below,)?
                })
            }
        }
    };

    (@default $name:ident {
        $(
            $(#[doc = $doc:literal])+
            $key:ident: $type:ty = $need:ident($need_value:expr), $on_resume:expr $(, check $check:expr)*;
        )*
    }) => {
        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($key: section!(@value $need($need_value)),)*
                }
            }
        }
    };

    // The table's entry for an absent key.
    (@need required($example:expr), $type:ty) => { $crate::config::key::Need::Required($example) };
    (@need absent($words:expr), $type:ty) => { $crate::config::key::Need::Unless($words) };
    (@need default($value:expr), $type:ty) => {
        $crate::config::key::Need::Default(|| {
            let value: $type = $value;
            $crate::config::key::toml_text(&value)
        })
    };

    // The value of a key that may be absent.
    (@given required($example:expr), $given:expr, $key:expr) => {
        $given.ok_or_else(|| serde::de::Error::missing_field($key))?
    };
    (@given absent($words:expr), $given:expr, $key:expr) => { $given.flatten() };
    (@given default($value:expr), $given:expr, $key:expr) => { $given.unwrap_or_else(|| $value) };

    // The value of a key in an absent section.
    (@value absent($words:expr)) => { None };
    (@value default($value:expr)) => { $value };
}

pub(in crate::config) use section;

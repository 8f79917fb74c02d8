//! The compile-time bound on what a priority message may hold.

use crate::identity::{ContainerId, Epoch, Incarnation, NodeId, SiteId};

/// A type whose encoding never exceeds a fixed number of bytes.
///
/// Only such types may stand in a priority message. [`Value`](crate::Value) is
/// not one of them, so a message that would put an object's data into the
/// priority class does not compile:
///
/// ```compile_fail
/// fn may_be_sent_first<T: vivace_core::Bounded>() {}
/// may_be_sent_first::<vivace_core::Value>();
/// ```
pub trait Bounded {
    /// The longest encoding, in bytes.
    const BYTES_MAX: usize;
}

impl Bounded for bool {
    const BYTES_MAX: usize = 1;
}

// Bincode's variable-length integers take a marker byte before the widest form.
impl Bounded for u64 {
    const BYTES_MAX: usize = 9;
}

impl Bounded for u32 {
    const BYTES_MAX: usize = 5;
}

impl Bounded for u16 {
    const BYTES_MAX: usize = 3;
}

impl<T: Bounded> Bounded for Option<T> {
    const BYTES_MAX: usize = 1 + T::BYTES_MAX;
}

impl Bounded for NodeId {
    const BYTES_MAX: usize = u16::BYTES_MAX;
}

impl Bounded for SiteId {
    const BYTES_MAX: usize = u16::BYTES_MAX;
}

impl Bounded for Incarnation {
    const BYTES_MAX: usize = u16::BYTES_MAX;
}

impl Bounded for ContainerId {
    const BYTES_MAX: usize = u32::BYTES_MAX;
}

impl Bounded for Epoch {
    const BYTES_MAX: usize = u32::BYTES_MAX;
}

/// The largest of `sizes`; a `const` stand-in for `Iterator::max`.
pub const fn largest(sizes: &[usize]) -> usize {
    let mut max = 0;
    let mut i = 0;
    while i < sizes.len() {
        if sizes[i] > max {
            max = sizes[i];
        }
        i += 1;
    }
    max
}

/// Declares a wire enum whose every field is [`Bounded`], and computes its bound.
///
/// Layout: the variant's tag as one byte, then its fields in order. A tag is
/// never given to another variant.
macro_rules! bounded_enum {
    (
        $(#[$outer:meta])*
        pub enum $name:ident {
            $(
                $(#[$inner:meta])*
                $tag:literal => $variant:ident {
                    $( $(#[$field_doc:meta])* $field:ident: $type:ty, )*
                },
            )*
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[$inner])* $variant { $( $(#[$field_doc])* $field: $type, )* }, )*
        }

        impl $crate::bounded::Bounded for $name {
            const BYTES_MAX: usize = 1 + $crate::bounded::largest(&[
                $( 0 $( + <$type as $crate::bounded::Bounded>::BYTES_MAX )*, )*
            ]);
        }

        impl bincode::Encode for $name {
            fn encode<E: bincode::enc::Encoder>(
                &self,
                encoder: &mut E,
            ) -> Result<(), bincode::error::EncodeError> {
                match self {
                    $( Self::$variant { $( $field, )* } => {
                        bincode::Encode::encode(&($tag as u8), encoder)?;
                        $( bincode::Encode::encode($field, encoder)?; )*
                    } )*
                }
                Ok(())
            }
        }

        impl<Context> bincode::Decode<Context> for $name {
            fn decode<D: bincode::de::Decoder<Context = Context>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                match <u8 as bincode::Decode<Context>>::decode(decoder)? {
                    $( $tag => Ok(Self::$variant {
                        $( $field: bincode::Decode::decode(decoder)?, )*
                    }), )*
                    _ => Err(bincode::error::DecodeError::Other(
                        concat!(stringify!($name), ": its tag names no variant"),
                    )),
                }
            }
        }

        impl<'de, Context> bincode::BorrowDecode<'de, Context> for $name {
            fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = Context>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                <Self as bincode::Decode<Context>>::decode(decoder)
            }
        }
    };
}

pub(crate) use bounded_enum;

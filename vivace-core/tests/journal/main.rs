//! The journal over a disk that fails: what was acknowledged comes back, or the journal
//! refuses with the reason; it is never silently less.

#![allow(clippy::unwrap_used)]

#[path = "../corpus/mod.rs"]
mod corpus;
mod crashes;
mod damage;
mod folding;
mod layout;
mod life;
mod space;

//! The places where a mutant breaks the protocol (feature `sim`; see `Mutant`).

/// Whether a mutant is at work here: `mutant!(env, Name)`, or, where a further
/// condition is the mutant's own, `mutant!(env, Name && condition)`.
///
/// `mutant!(env, Name => statement)` runs what only the mutant does. Without the
/// feature the conditions are `false`, and the mutant's own code is not compiled.
#[cfg(feature = "sim")]
macro_rules! mutant {
    ($env:expr, $name:ident) => {
        $env.mutants.contains($crate::mutant::Mutant::$name)
    };
    ($env:expr, $name:ident && $condition:expr) => {
        (mutant!($env, $name) && $condition)
    };
    ($env:expr, $name:ident => $statement:expr) => {
        if mutant!($env, $name) {
            $statement;
        }
    };
    ($env:expr, $name:ident && $condition:expr => $statement:expr) => {
        if mutant!($env, $name && $condition) {
            $statement;
        }
    };
}

#[cfg(not(feature = "sim"))]
macro_rules! mutant {
    ($env:expr, $name:ident $(&& $condition:expr)?) => {
        false
    };
    ($env:expr, $name:ident $(&& $condition:expr)? => $statement:expr) => {};
}

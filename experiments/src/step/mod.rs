//! Steps: what experiments are cut into, so that a run that is interrupted goes on
//! where it stopped. A step's [`spec`] says all that it depends on; its [`record`] is
//! what it measured; [`disk`] keeps records.

pub mod bench;
pub mod disk;
pub mod record;
pub mod spec;

pub use bench::{BenchData, BenchLoad, BenchRow, BenchStore, BenchWork, Objects};
pub use disk::{Found, StepStore};
pub use record::{LinkUse, MessageUse, StepRecord, WindowRecord};
pub use spec::{
    Containers, Operation, Sites, Step, StoreKind, StoreWork, Traffic, WanSpec, WindowSpec, Work,
};

//! Stores as processes on the hosts of a WAN: Vivace, and what it is compared with.

mod etcd;
mod etcd_tls;
mod loopback;
mod processes;
mod vivace;

pub use etcd::{ETCD_MISSING, MEMBERS, NFT_MISSING, start_etcd, timing_ms};
pub use etcd_tls::EtcdCertificates;
pub use loopback::{
    EtcdMember, LoopbackEtcd, LoopbackVivace, start_loopback_etcd, start_loopback_vivace,
};
pub use processes::Processes;
pub use vivace::{NodeProgram, VivaceFiles, start_vivace};

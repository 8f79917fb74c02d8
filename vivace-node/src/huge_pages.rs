//! Memory in small pages.

/// Has this process do without transparent huge pages. For a program's beginning: it counts for
/// all of its threads, and for programs that it starts.
///
/// The kernel clears a huge page when it is first touched, and keeps who touched it waiting for
/// 2 MiB: 4 to 7 ms on a virtual machine, once in a few hundred operations on a node that is
/// otherwise idle, where the network adds less than that. 4 KiB take a few µs.
pub fn avoid_huge_pages() {
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        tracing::warn!("transparent huge pages stay: {error}; some operations take ms longer");
    }
}

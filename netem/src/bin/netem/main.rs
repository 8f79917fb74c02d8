//! `netem`: a WAN on one machine, and the paper's priority queues on real gateways.

#[cfg(target_os = "linux")]
mod cli;
#[cfg(target_os = "linux")]
mod commands;
#[cfg(target_os = "linux")]
mod control;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod interruption;
#[cfg(target_os = "linux")]
mod marked_socket;
#[cfg(target_os = "linux")]
mod namespaces;
#[cfg(target_os = "linux")]
mod output;
#[cfg(target_os = "linux")]
mod realtime;
mod router;
#[cfg(target_os = "linux")]
mod server;
#[cfg(target_os = "linux")]
mod state;
#[cfg(target_os = "linux")]
mod tcp_flows;
#[cfg(target_os = "linux")]
mod two_hosts;
#[cfg(target_os = "linux")]
mod units;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    cli::run()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!(
        "netem: namespaces and TUN devices are Linux's; run it there or in a virtual machine"
    );
    std::process::ExitCode::FAILURE
}

//! Scripts for gateways: what they contain, and which are not written.
#![cfg(feature = "tool")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use netem::gateway::{Gateway, GatewayError};

fn gateway() -> Gateway {
    Gateway {
        device: "eth0".to_owned(),
        uplink_bits_per_second: 20_000_000,
        share: 0.95,
        dscps: vec![46, 48],
        buffer_bytes: 250_000,
        mtu: 1500,
        lan_devices: vec!["eth1".to_owned()],
        delay: None,
    }
}

#[test]
fn rates_bursts_and_classes_are_those_that_keep_the_wait_short() {
    let script = gateway().script().expect("written");
    let line = |name: &str| {
        let start = format!("{name}='");
        let line = script.lines().find_map(|line| line.strip_prefix(&start));
        line.and_then(|line| line.split('\'').next())
            .expect(name)
            .to_owned()
    };
    assert_eq!(line("RATE"), "19000000");
    assert_eq!(
        (line("PRIORITY_RATE"), line("BULK_RATE")),
        ("18620000".into(), "380000".into())
    );
    assert_eq!(
        (line("FRAME"), line("BURST")),
        ("1514".into(), "1514".into())
    );
    assert_eq!(line("CLASSES"), "0xb8 0xc0");
    assert_eq!(line("DELAY_DEV"), "");
}

#[test]
fn a_fast_uplink_gets_a_burst_that_a_timer_can_keep_up_with() {
    let fast = Gateway {
        uplink_bits_per_second: 10_000_000_000,
        share: 1.0,
        ..gateway()
    };
    assert!(fast.script().expect("written").contains("BURST='125000'"));
}

#[test]
fn the_script_is_a_shells() {
    let with_delay = Gateway {
        delay: Some(("eth2".to_owned(), Duration::from_millis(50))),
        ..gateway()
    };
    for gateway in [gateway(), with_delay] {
        let script = gateway.script().expect("written");
        let mut shell = Command::new("sh")
            .arg("-n")
            .stdin(Stdio::piped())
            .spawn()
            .expect("every machine has sh");
        let mut input = shell.stdin.take().expect("piped");
        input.write_all(script.as_bytes()).expect("sh reads");
        drop(input);
        assert!(shell.wait().expect("ends").success());
    }
}

#[test]
fn every_wrong_option_is_refused_by_name() {
    let name = |name: &str| name.to_owned();
    let cases = [
        (
            Gateway {
                device: name("eth0; reboot"),
                ..gateway()
            },
            "--dev",
        ),
        (
            Gateway {
                device: name(""),
                ..gateway()
            },
            "--dev",
        ),
        (
            Gateway {
                device: name("-x"),
                ..gateway()
            },
            "--dev",
        ),
        (
            Gateway {
                lan_devices: vec![name("$(id)")],
                ..gateway()
            },
            "--lan-dev",
        ),
        (
            Gateway {
                uplink_bits_per_second: 1,
                ..gateway()
            },
            "--uplink",
        ),
        (
            Gateway {
                share: 0.0,
                ..gateway()
            },
            "--share",
        ),
        (
            Gateway {
                share: f64::NAN,
                ..gateway()
            },
            "--share",
        ),
        (
            Gateway {
                dscps: vec![],
                ..gateway()
            },
            "--dscp",
        ),
        (
            Gateway {
                dscps: vec![0],
                ..gateway()
            },
            "--dscp",
        ),
        (
            Gateway {
                dscps: vec![64],
                ..gateway()
            },
            "--dscp",
        ),
        (
            Gateway {
                buffer_bytes: 1499,
                ..gateway()
            },
            "--buffer",
        ),
        (
            Gateway {
                buffer_bytes: 11_875_000_000,
                ..gateway()
            },
            "--buffer must be at most 4294967295 bytes",
        ),
        (
            Gateway {
                mtu: 100,
                ..gateway()
            },
            "--mtu",
        ),
        (
            Gateway {
                delay: Some((name("a b"), Duration::ZERO)),
                ..gateway()
            },
            "--delay-dev",
        ),
        (
            Gateway {
                delay: Some((name("eth1"), Duration::MAX)),
                ..gateway()
            },
            "--delay",
        ),
    ];
    for (wrong, field) in cases {
        let refused = wrong.script().expect_err(field).to_string();
        assert!(refused.contains(field), "{field}: {refused}");
    }
    let in_shaper = Gateway {
        delay: Some((name("eth0"), Duration::ZERO)),
        ..gateway()
    };
    assert_eq!(
        in_shaper.script(),
        Err(GatewayError::DelayInShaper(name("eth0")))
    );
}

/// A bare 0 is also a time, and times are at least two packets.
#[cfg(target_os = "linux")]
#[test]
fn no_buffer_at_all_is_refused_without_a_unit_too() {
    for nothing in ["0", "0B", "1B"] {
        let options = ["tc", "script", "--dev", "eth0", "--uplink", "20Mbit"];
        let output = Command::new(env!("CARGO_BIN_EXE_netem"))
            .args(options)
            .args(["--buffer", nothing])
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("--buffer must hold"), "{nothing}: {said}");
    }
}

//! The words of `netem set`, one a line, and the quantities in them.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use netem::topology_file::{Depth, LinkChange, Load, Mark, PoliceRate, Rate, Share, Time};
use netem::{DELAY_MAX, Link, LinkConfig, Packet, RATE_MAX_BITS_PER_SECOND, Remark};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

fn check_quantities(text: &str) {
    if let Ok(Rate(rate)) = text.parse() {
        assert!((1000..=RATE_MAX_BITS_PER_SECOND).contains(&rate), "{text}");
    }
    if let Ok(Time(time)) = text.parse() {
        assert!(time <= DELAY_MAX, "{text}");
        assert_eq!(text.parse(), Ok(Depth::Time(time)));
        let again = format!("{}us", time.as_micros());
        assert_eq!(again.parse(), Ok(Time(time)), "{text}");
    }
    if let Ok(Share(share)) = text.parse() {
        assert!((0.0..=1.0).contains(&share), "{text}");
    }
    if let Ok(Load(load)) = text.parse() {
        assert!(load.is_finite() && load >= 0.0, "{text}");
    }
    if let Ok(Mark(mark)) = text.parse() {
        assert!(mark < 64, "{text}");
        assert_eq!(mark.to_string().parse(), Ok(Mark(mark)));
    }
    if let Ok(PoliceRate::Absolute(rate)) = text.parse() {
        assert!((1..=RATE_MAX_BITS_PER_SECOND).contains(&rate), "{text}");
    }
}

/// A link that was accepted carries packets, of both classes, to their ends.
fn run(config: LinkConfig) {
    let far = config.delay + config.jitter + Duration::from_secs(3600);
    let mut link = Link::new(config).expect("it was checked");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for dscp in [0, 46, 0, 46, 10] {
        let packet = Packet {
            bytes: 1500,
            dscp,
            payload: (),
        };
        let _ = link.enqueue(Duration::ZERO, packet, &mut rng);
    }
    while let Some(delivery) = link.poll(far) {
        assert!(delivery.arrival <= far);
    }
    assert_eq!(link.next_delivery(), None);
}

fuzz_target!(|text: &str| {
    let words: Vec<&str> = text.lines().collect();
    for word in &words {
        check_quantities(word);
        if let Some((_, value)) = word.split_once('=') {
            check_quantities(value);
        }
    }
    let change = match LinkChange::parse(&words) {
        Ok(change) => change,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let base = LinkConfig::default();
    let Ok((config, remark)) = change.settings.apply(&base, &Remark::default()) else {
        return;
    };
    if config.check().is_err() {
        return;
    }
    let again = change.settings.apply(&config, &remark);
    assert_eq!(
        again,
        Ok((config.clone(), remark)),
        "a second time changes nothing"
    );
    run(config);
});

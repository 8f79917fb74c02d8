//! Topology files: what they mean, and that every wrong field is refused by name.
#![cfg(feature = "tool")]

use std::time::Duration;

use netem::topology_file::{LinkChange, Plan, TopologyFile};
use netem::{DscpSet, LinkConfig, RateLimit, Remark};

const TWO_SITES: &str = r#"
[[site]]
name = "west"
hosts = 2
[[site]]
name = "east"
hosts = ["db", "client"]
"#;

const RTT: &str = "[rtt]\nwest = { east = \"100ms\" }\n";

fn plan(text: &str) -> Result<Plan, String> {
    let file = TopologyFile::parse(text).map_err(whole)?;
    Plan::new(&file, "test").map_err(whole)
}

/// An error as `netem` prints it.
fn whole(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

/// Whether a refusal doesn't end with what it said just before.
fn says_it_once(refused: &str) -> bool {
    let mut ends = refused.match_indices(": ").map(|(place, _)| place);
    ends.all(|place| !refused[..place].ends_with(&refused[place + 2..]))
}

/// The link of that name in two sites with `more` in the file.
fn link(more: &str, name: &str) -> (LinkConfig, Remark) {
    let plan = plan(&format!("{TWO_SITES}{RTT}{more}")).expect("accepted");
    let link = &plan.links[plan.link_named(name).expect("there is one")];
    (link.config.clone(), link.remark.clone())
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_shipped_examples_are_accepted() {
    let paper = plan(include_str!("../examples/paper.toml")).expect("accepted");
    assert_eq!(paper.name, "paper");
    assert_eq!(paper.sites[1].hosts[1].ipv4.to_string(), "10.77.2.2");
    assert_eq!(paper.sites[1].hosts[1].ipv6.to_string(), "fd77::2:2");
    let link = &paper.links[paper.link_named("local:ireland").expect("there")];
    assert_eq!(link.config.delay, Duration::from_micros(54_500));
    assert_eq!(link.config.buffer_bytes, 256_000);
    assert_eq!(link.config.priority_dscps, DscpSet::EXPEDITED);

    let three = plan(include_str!("../examples/three-sites.toml")).expect("accepted");
    let ireland_to_virginia: Vec<_> = three
        .path(2, 1)
        .iter()
        .map(|&link| (&*three.links[link].name, three.links[link].config.delay))
        .collect();
    let own = Duration::from_micros(44_500);
    assert_eq!(
        ireland_to_virginia,
        [("ireland-uplink", ms(2)), ("ireland:virginia", own)]
    );
}

#[test]
fn what_a_file_leaves_out_is_the_models_default() {
    let (config, remark) = link("", "west:east");
    assert_eq!(config, LinkConfig::default());
    assert_eq!(remark, Remark::default());
    assert_eq!(link("", "east:east").0, LinkConfig::local());
}

#[test]
fn single_links_override_what_all_have_in_common() {
    let more = r#"
[wan]
rate = "10Mbit"
buffer = "100ms"
loss = 0.01
police = "5%"
bleach = true
[link."west:east"]
rate = "40Mbit"
remark = { EF = 0, 0 = "CS1" }
police_burst = "3KB"
"#;
    let (east, remark) = link(more, "west:east");
    assert_eq!(
        (east.rate_bits_per_second, east.buffer_bytes),
        (40_000_000, 500_000)
    );
    assert_eq!(east.loss, 0.01);
    let limit = RateLimit {
        rate_bits_per_second: 2_000_000,
        burst_bytes: 3_000,
    };
    assert_eq!(east.priority_limit, Some(limit));
    assert_eq!(remark.changes().collect::<Vec<_>>(), [(0, 8), (46, 0)]);
    let (west, remark) = link(more, "east:west");
    assert_eq!(
        (west.rate_bits_per_second, west.buffer_bytes),
        (10_000_000, 125_000)
    );
    assert_eq!(remark, Remark::bleach());
}

#[test]
fn a_way_without_a_delay_takes_what_the_other_leaves_of_the_round_trip() {
    let more = "[link.\"west:east\"]\ndelay = \"70ms\"\n";
    assert_eq!(link(more, "west:east").0.delay, ms(70));
    assert_eq!(link(more, "east:west").0.delay, ms(30));
}

#[test]
fn delays_on_both_links_need_no_round_trip() {
    let more = "[link.\"west:east\"]\ndelay = \"70ms\"\n[link.\"east:west\"]\ndelay = \"20ms\"\n";
    let plan = plan(&format!("{TWO_SITES}{more}")).expect("accepted");
    assert_eq!(plan.links[plan.path(1, 0)[0]].config.delay, ms(20));
}

/// What is wrong with a file, and words that its refusal must have.
#[test]
fn every_wrong_field_is_refused_by_name_and_told_what_would_be_right() {
    let cases = [
        (
            "[wan]\nrate = \"20 apples\"",
            &["rate", "20 apples", "20Mbit"][..],
        ),
        ("[wan]\nrate = 20", &["rate", "20Mbit"]),
        ("[wan]\nrate = \"1bit\"", &["rate", "1 kbit/s to 1 Tbit/s"]),
        (
            "[wan]\nrate = [1]",
            &["rate", "a number or a text with a unit"],
        ),
        ("[wan]\nbuffer = \"1B\"", &["west:east", "buffer", "1500"]),
        ("[wan]\nmtu = \"9000B\"", &["mtu"]),
        (
            "[wan]\nbuffer = \"10 parsecs\"",
            &["buffer", "256KB", "100ms"],
        ),
        ("[wan]\ndelay = \"2h\"", &["delay", "50ms", "an hour"]),
        ("[wan]\njitter = \"-1ms\"", &["jitter", "50ms"]),
        ("[wan]\nloss = \"101%\"", &["loss", "0 to 1"]),
        ("[wan]\npriority = [64]", &["priority", "0 to 63", "EF"]),
        (
            "[wan]\npriority = []\npolice = \"5%\"",
            &["west:east", "police", "priority class"],
        ),
        (
            "[wan]\npolice_burst = \"6KB\"",
            &["west:east", "police_burst needs police"],
        ),
        (
            "[wan]\npolice = \"5%\"\npolice_burst = \"6B\"",
            &["police_burst", "1500"],
        ),
        ("[wan]\npolice = \"0%\"", &["police", "5%"]),
        (
            "[wan]\nrate = \"20Mbit\"\npolice = \"20Mbit\"",
            &["west:east", "police = 20000000 bit/s", "5%"],
        ),
        (
            "[wan]\npolice = \"100%\"",
            &["west:east", "police = 20000000 bit/s", "5%"],
        ),
        (
            "[wan]\npolice = \"0.00000001%\"",
            &["west:east", "police = 0 bit/s", "at least 1000 bit/s"],
        ),
        (
            "[wan]\npolice = \"1bit\"",
            &["west:east", "police = 1 bit/s", "at least 1000 bit/s"],
        ),
        ("[wan]\nremark = { EF = 64 }", &["remark", "0 to 63"]),
        ("[wan]\nremark = { XX = 0 }", &["remark", "0 to 63"]),
        (
            "[wan]\nremark = { EF = 0, 46 = 1 }",
            &["remark", "mark 46 twice"],
        ),
        ("[wan]\nremark = [46]", &["remark", "{ EF = 0 }"]),
        (
            "[wan]\nbuffer = \"99999999999GB\"",
            &["west:east", "buffer", "at most 16 GB"],
        ),
        (
            "[wan]\nrate = \"1Tbit\"\nbuffer = \"1s\"",
            &["west:east", "buffer", "at most 16 GB", "125000000000"],
        ),
        (
            "[wan]\nbleach = true\nremark = { EF = 0 }",
            &["remark", "bleach", "leave one out"],
        ),
        ("[wan]\nspeed = \"20Mbit\"", &["speed", "rate"]),
        (
            "[link.\"west:mars\"]\nloss = 0",
            &["west:mars", "mars", "west, east"],
        ),
        ("[link.spare]\nloss = 0", &["spare", "no path takes it"]),
        ("[link.Spare]\nloss = 0", &["Spare", "lower-case"]),
        (
            "[path]\n\"west:mars\" = [\"west:mars\"]",
            &["path", "mars", "west, east"],
        ),
        (
            "[path]\n\"west\" = [\"west:east\"]",
            &["path", "\"west\"", "FROM:TO"],
        ),
        (
            "[path]\n\"west:west\" = [\"west:west\"]",
            &["path", "west:west", "two different"],
        ),
        ("[path]\n\"west:east\" = []", &["path", "1 to 16"]),
        (
            "[path]\n\"west:east\" = [\"nowhere\"]",
            &["path", "nowhere", "[link.nowhere]"],
        ),
        (
            "[path]\n\"west:east\" = [\"east:west\"]",
            &["path", "east:west", "own link", "names of their own"],
        ),
        (
            "[link.a]\nloss = 0\n[path]\n\"west:east\" = [\"a\", \"a\"]",
            &["path", "\"a\"", "twice"],
        ),
        (
            "[link.\"west:east\"]\ndelay = \"150ms\"",
            &["rtt.west.east", "100ms", "150ms"],
        ),
        (
            "[wan]\ndelay = \"20ms\"",
            &["rtt.west.east", "100ms", "40ms"],
        ),
    ];
    for (more, words) in cases {
        let refused = plan(&format!("{TWO_SITES}{RTT}{more}\n")).expect_err(more);
        assert!(says_it_once(&refused), "{more}: {refused}");
        for word in words {
            assert!(
                refused.contains(word),
                "{more}: {word:?} is not in {refused}"
            );
        }
    }
}

#[test]
fn sites_and_round_trips_that_leave_a_doubt_are_refused() {
    let site = |name: &str| format!("[[site]]\nname = \"{name}\"\n");
    let cases = [
        (String::new(), &["site"][..]),
        ("site = []".to_owned(), &["1 to 64"]),
        (site("West"), &["West", "lower-case"]),
        (site("west") + &site("west"), &["west", "twice"]),
        (site("west") + "hosts = 0\n", &["west", "hosts", "1 to 250"]),
        (
            site("west") + "hosts = 4000000000\n",
            &["west", "hosts", "1 to 250"],
        ),
        (
            site("west") + "hosts = \"two\"\n",
            &["hosts", "number of hosts"],
        ),
        (
            site("west") + "hosts = [\"a\", \"a\"]\n",
            &["host", "\"a\"", "twice"],
        ),
        (
            site("west") + "hosts = [\"a.b\"]\n",
            &["host", "a.b", "lower-case"],
        ),
        (TWO_SITES.to_owned(), &["rtt.west.east is missing"]),
        (
            format!(
                "{TWO_SITES}[rtt]\nwest = {{ east = \"100ms\" }}\neast = {{ west = \"90ms\" }}"
            ),
            &["rtt.west.east", "rtt.east.west", "100ms", "90ms", "delay"],
        ),
        (
            format!("{TWO_SITES}[rtt]\nwest = {{ west = \"1ms\" }}"),
            &["rtt.west.west", "[lan]"],
        ),
        (
            format!("{TWO_SITES}[rtt]\nwest = {{ mars = \"1ms\" }}"),
            &["rtt.west.mars", "mars", "west, east"],
        ),
        (
            format!("{TWO_SITES}[rtt]\nmars = {{}}"),
            &["rtt.mars", "west, east"],
        ),
        (
            format!("name = \"../x\"\n{TWO_SITES}{RTT}"),
            &["name", "../x"],
        ),
    ];
    for (text, words) in cases {
        let refused = plan(&text).expect_err(&text);
        for word in words {
            assert!(
                refused.contains(word),
                "{text}: {word:?} is not in {refused}"
            );
        }
    }
}

#[test]
fn the_same_round_trip_from_both_ends_is_no_contradiction() {
    let text = format!("{TWO_SITES}{RTT}east = {{ west = \"100ms\" }}\n");
    assert!(plan(&text).is_ok());
}

#[test]
fn a_change_sets_what_it_names_and_nothing_else() {
    let words = ["rate=10Mbit", "priority=none", "bleach=on", "down"];
    let change = LinkChange::parse(&words).expect("understood");
    assert_eq!(change.up, Some(false));
    let base = LinkConfig {
        loss: 0.5,
        ..LinkConfig::default()
    };
    let (config, remark) = change
        .settings
        .apply(&base, &Remark::default())
        .expect("fits");
    let expected = LinkConfig {
        rate_bits_per_second: 10_000_000,
        priority_dscps: DscpSet::EMPTY,
        ..base
    };
    assert_eq!((config, remark), (expected, Remark::bleach()));
}

/// A slower link made its limit one that never drops anything.
#[test]
fn whichever_of_rate_and_limit_changes_the_limit_stays_below_the_rate() {
    let set = |words: &[&str], base: &LinkConfig| {
        let change = LinkChange::parse(words).expect("understood");
        let applied = change.settings.apply(base, &Remark::default());
        applied.map(|(config, _)| config).map_err(whole)
    };
    let policed = set(&["police=10Mbit"], &LinkConfig::default()).expect("half of it");
    for rate in ["rate=10Mbit", "rate=5Mbit"] {
        let refused = set(&[rate], &policed).expect_err("no less than the rate");
        assert!(
            refused.contains("police = 10000000 bit/s") && refused.contains("set police too"),
            "{refused}"
        );
    }
    let slower = set(&["rate=5Mbit", "police=5%"], &policed).expect("both at once");
    let limit = slower.priority_limit.expect("there is one");
    assert_eq!(limit.rate_bits_per_second, 250_000);
    assert!(set(&["rate=5Mbit", "police=none"], &policed).is_ok());
    assert!(set(&["rate=11Mbit"], &policed).is_ok());
}

#[test]
fn to_bleach_without_any_remark_is_no_contradiction() {
    let change = LinkChange::parse(&["remark=none", "bleach=on"]).expect("understood");
    let base = LinkConfig::default();
    let (_, remark) = change
        .settings
        .apply(&base, &Remark::default())
        .expect("none is leaving it out");
    assert_eq!(remark, Remark::bleach());
}

#[test]
fn a_wrong_change_is_refused_by_name() {
    let cases = [
        ("rate=fast", "rate: "),
        ("speed=1", "\"speed=1\" is no setting"),
        ("sideways", "\"sideways\" is no setting"),
        ("bleach=perhaps", "on or off"),
        ("remark=46", "FROM:TO"),
        ("remark=46:0,EF:1", "mark 46 twice"),
        ("priority=EF,64", "priority: "),
    ];
    for (word, expected) in cases {
        let refused = whole(LinkChange::parse(&[word]).expect_err(word));
        assert!(refused.contains(expected), "{word}: {refused}");
        assert!(says_it_once(&refused), "{word}: {refused}");
    }
    let refused = LinkChange::parse(&["up", "down"]).expect_err("contradiction");
    assert!(refused.to_string().contains("twice"), "{refused}");
}

#[test]
fn an_mtu_holds_for_every_link_and_has_a_range() {
    let links = |mtu: &str| {
        let text = format!(
            "mtu = {mtu:?}\n[[site]]\nname = \"west\"\n[[site]]\nname = \"east\"\n\
             [rtt]\nwest = {{ east = \"10ms\" }}\n[wan]\nbuffer = \"8KB\"\n"
        );
        let file = TopologyFile::parse(&text).expect("it is TOML");
        Plan::new(&file, "wan")
    };
    let plan = links("8000B").expect("a buffer of one packet");
    assert_eq!(plan.mtu_bytes, 8000);
    assert!(plan.links.iter().all(|link| link.config.mtu_bytes == 8000));
    for (mtu, expected) in [
        ("1499B", "mtu must be 1500 to 9216 bytes, not 1499"),
        ("9217B", "mtu must be 1500 to 9216 bytes, not 9217"),
        (
            "9000B",
            "link west:east: buffer must hold at least one packet of 9000 bytes, not 8000 bytes",
        ),
    ] {
        let error = links(mtu).expect_err("out of range");
        assert_eq!(error.to_string(), expected);
    }
}

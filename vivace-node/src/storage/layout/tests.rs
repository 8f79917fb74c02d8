//! Configurations that a directory's state can serve, and those that it can't.

use super::*;
use crate::config::ClusterConfig;
use crate::init;

const MINE: DirectoryId = DirectoryId([7; 16]);

/// Two sites of three nodes; the containers' replicas are 1, 2 and 4.
fn text() -> String {
    let layout = init::Layout {
        cluster: "test".into(),
        sites: 2,
        nodes_per_site: 3,
        base_port: 7000,
    };
    layout.cluster_file()
}

fn layout_of(text: &str) -> Layout {
    let config = ClusterConfig::from_text(text, Path::new("cluster.toml"));
    Layout::of(&config.expect("is right").cluster)
}

fn changed(from: &str, to: &str) -> Layout {
    let text = text();
    assert!(text.contains(from), "{from:?} in {text}");
    layout_of(&text.replacen(from, to, 1))
}

/// The field of a refusal, what was, and what is.
fn refused(configured: &Layout) -> [String; 3] {
    let was = layout_of(&text());
    let error = was.check(Path::new("data"), configured);
    let error = error.expect_err("is refused");
    assert_eq!(error.exit_code(), 28);
    match error {
        LayoutError::Changed {
            field,
            remembered,
            configured,
            ..
        } => [field, remembered, configured],
        other => panic!("{other}"),
    }
}

#[test]
fn a_container_that_is_not_what_it_was_is_refused_by_field() {
    for (from, to, expected) in [
        (
            "[1, 2, 4]",
            "[1, 2, 5]",
            ["containers.kv.replicas", "[1, 2, 4]", "[1, 2, 5]"],
        ),
        (
            "[1, 2, 4]",
            "[1, 2, 4, 5, 3]",
            ["containers.kv.replicas", "[1, 2, 4]", "[1, 2, 3, 4, 5]"],
        ),
        (
            "a = [1, 2, 3]",
            "a = [1]",
            ["containers.kv.local_sets.a", "[1, 2, 3]", "[1]"],
        ),
        (
            "kind = \"rw\"",
            "kind = \"abd\"",
            ["containers.kv.kind", "\"rw\"", "\"abd\""],
        ),
        (
            "name = \"kv\"",
            "name = \"store\"",
            ["containers.kv.name", "\"kv\"", "\"store\""],
        ),
        (
            "id = 1\nname",
            "id = 9\nname",
            ["containers.kv.id", "1", "9"],
        ),
    ] {
        assert_eq!(refused(&changed(from, to)), expected);
    }
}

#[test]
fn a_container_that_is_gone_is_refused() {
    let text = text();
    let last = text.rfind("\n[[containers]]").expect("has containers");
    let expected = ["containers.objects-lan.id", "4", "nothing of it"];
    assert_eq!(refused(&layout_of(&text[..last])), expected);
}

#[test]
fn order_and_what_nothing_acknowledged_rests_on_are_no_difference() {
    let was = layout_of(&text());
    for (from, to) in [
        ("[1, 2, 4]", "[4, 1, 2]"),
        ("a = [1, 2, 3]", "a = [3, 2, 1]"),
        ("epoch = 1", "epoch = 2"),
        ("127.0.0.1:7011", "127.0.0.2:7999"),
        ("priority = 46", "priority = 34"),
        ("durability = \"local\"", "durability = \"majority\""),
        ("sites = [\"a\", \"b\"]", "sites = [\"b\", \"a\"]"),
    ] {
        assert_eq!(changed(from, to), was, "{to}");
    }
}

#[test]
fn a_new_container_and_a_new_site_are_no_difference() {
    let was = layout_of(&text());
    let more =
        "\n[[containers]]\nid = 5\nname = \"new\"\nkind = \"abd\"\nepoch = 1\nreplicas = [1]\n";
    let more = layout_of(&(text() + more));
    assert_ne!(more, was);
    was.check(Path::new("data"), &more).expect("fits");
    let site = "\n[[nodes]]\nid = 7\nsite = \"c\"\npriority = \"127.0.0.1:8001\"\n\
        bulk = \"127.0.0.1:8002\"\nclient = \"127.0.0.1:8003\"\n\n[[containers]]";
    let text = text()
        .replacen("\"b\"]", "\"b\", \"c\"]", 1)
        .replacen("\n[[containers]]", site, 1)
        .replace("b = [4, 5, 6]", "b = [4, 5, 6]\nc = [7]");
    let more = layout_of(&text);
    assert_ne!(more, was);
    was.check(Path::new("data"), &more).expect("fits");
    more.check(Path::new("data"), &was).expect_err("c is gone");
}

#[test]
fn what_is_written_is_remembered() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let layout = changed("name = \"kv\"", "name = \"k\\\"v\\nchecksum \"");
    let remembered = || Layout::remembered(home.path(), MINE).expect("is whole");
    assert_eq!(remembered(), None);
    for layout in [layout, Layout::default()] {
        let prepared = layout.prepare_in(home.path(), MINE).expect("prepares");
        prepared.put().expect("puts");
        assert_eq!(remembered(), Some(layout));
    }
}

#[test]
fn any_other_bytes_are_refused() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let text = layout_of(&text()).encode(MINE);
    let code = |bytes: &[u8]| {
        std::fs::write(home.path().join(FILE), bytes).expect("writes");
        let refused = Layout::remembered(home.path(), MINE).expect_err("is refused");
        refused.exit_code()
    };
    for cut in 0..text.len() {
        assert_eq!(code(&text.as_bytes()[..cut]), 21, "cut at {cut}");
    }
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        // A format may look like a newer one.
        assert!([14, 21].contains(&code(&bytes)), "changed at {at}");
    }
    assert_eq!(code((text.clone() + "\n").as_bytes()), 21);
    let newer = text.replacen("layout 1", "layout 2", 1);
    assert_eq!(code(newer.as_bytes()), 14);
    let other = Layout::default().encode(DirectoryId([8; 16]));
    assert_eq!(code(other.as_bytes()), 12);
}

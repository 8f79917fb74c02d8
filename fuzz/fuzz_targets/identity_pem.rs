//! The three PEM files of a node, with some of their bytes changed: four bytes of the
//! input name a file, a place and the byte to put there.

#![no_main]

use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use vivace_core::{NodeId, SiteId};
use vivace_node::transport::identity::{ClusterName, DevelopmentCa, Identity, Role};

const VALID_FOR: Duration = Duration::from_secs(365 * 24 * 3600);

fn role() -> Role {
    Role::Node {
        cluster: ClusterName::new("fuzz").expect("a label"),
        node: NodeId(7),
        site: SiteId(1),
    }
}

fn files() -> &'static [Vec<u8>; 3] {
    static FILES: OnceLock<[Vec<u8>; 3]> = OnceLock::new();
    FILES.get_or_init(|| {
        let role = role();
        let ca = DevelopmentCa::generate(role.cluster(), VALID_FOR).expect("a CA can be made");
        let pair = ca.issue(&role, VALID_FOR).expect("it issues certificates");
        [&ca.pem().certificate, &pair.certificate, &pair.key].map(|pem| pem.clone().into_bytes())
    })
}

fuzz_target!(|edits: &[u8]| {
    let mut pems = files().clone();
    for edit in edits.chunks_exact(4) {
        let pem = &mut pems[usize::from(edit[0] % 3)];
        let at = usize::from(u16::from_le_bytes([edit[1], edit[2]])) % pem.len();
        pem[at] = edit[3];
    }
    let is_changed = pems != *files();
    let [ca, certificate, key] = &pems;
    match Identity::from_pem(ca, certificate, key) {
        Ok(identity) => assert!(is_changed || *identity.role() == role()),
        Err(error) => {
            assert!(is_changed, "{error}");
            let text = error.to_string();
            let fields = ["CA certificate", "certificate", "private key"];
            assert!(fields.iter().any(|field| text.starts_with(field)), "{text}");
        }
    }
});

//! Whom a certificate speaks for: DER as TLS hands it on, and the URI in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_node::transport::identity::Role;

fn is_one_spelling(role: &Role) -> String {
    let uri = role.to_uri();
    assert_eq!(Role::parse_uri(&uri).as_ref(), Ok(role));
    uri
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        match Role::parse_uri(text) {
            Ok(role) => assert_eq!(is_one_spelling(&role), text),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    match Role::from_certificate(bytes) {
        Ok(role) => {
            let uri = is_one_spelling(&role);
            let mut windows = bytes.windows(uri.len());
            assert!(windows.any(|part| part == uri.as_bytes()), "{uri}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

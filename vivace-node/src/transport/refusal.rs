//! Why a connection is refused or closed: named causes, their codes on the wire,
//! their counts, and a warning for each that can't flood the log.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use quinn::{ConnectionError, TransportErrorCode, VarInt};

use super::lock::lock;

/// Between two warnings about the same cause.
const WARNING_INTERVAL: Duration = Duration::from_secs(5);

/// Application error codes of refusals start here; below are orderly ends.
const REFUSAL_CODE_BASE: u32 = 0x100;

/// A QUIC error code in this range carries a TLS alert in its low byte (RFC 9001 §4.8).
const CRYPTO_ERROR_CODES: std::ops::Range<u64> = 0x100..0x200;

/// Ends of a connection that are nobody's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrderlyEnd {
    ShuttingDown,
    Replaced,
    PeerRestarted,
    SessionEnded,
}

impl OrderlyEnd {
    pub(super) const fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::ShuttingDown => 0,
            Self::Replaced => 1,
            Self::PeerRestarted => 2,
            Self::SessionEnded => 3,
        })
    }

    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::ShuttingDown => "the node is shutting down",
            Self::Replaced => "a newer connection took this one's place",
            Self::PeerRestarted => "the peer has restarted since",
            Self::SessionEnded => "the session has ended",
        }
    }
}

macro_rules! causes {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// Why a connection was refused, or closed for what it carried. The order
        /// is the wire code's: new causes go to the end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum RefusalCause { $($(#[doc = $doc])* $variant,)* }

        impl RefusalCause {
            /// Every cause, by wire code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The cause's name in status and logs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

causes! {
    /// The certificate doesn't lead to our cluster's CA.
    UntrustedCertificate = "untrusted_certificate",
    /// The certificate is expired or not yet valid.
    ExpiredCertificate = "expired_certificate",
    /// No certificate was sent.
    NoCertificate = "no_certificate",
    /// The certificate is from our CA and still not usable here (name, purpose, signature).
    UnusableCertificate = "unusable_certificate",
    /// The other side doesn't offer the peer protocol (ALPN).
    NoCommonProtocol = "no_common_protocol",
    /// TLS failed in another way; the detail has the alert.
    TlsFailed = "tls_failed",
    /// The certificate has no role that we can read.
    NoRole = "no_role",
    /// The certificate is a client's; clients never speak the peer protocol.
    NotANode = "not_a_node",
    /// The certificate or the hello names another cluster.
    WrongCluster = "wrong_cluster",
    /// The certificate is another node's than the hello, or the address book, says.
    WrongNode = "wrong_node",
    /// The certificate, the hello and the address book disagree about the site.
    WrongSite = "wrong_site",
    /// The node is not in the address book.
    UnknownNode = "unknown_node",
    /// The hello came over the other class's port.
    WrongClass = "wrong_class",
    /// The lower node dials; this one should have waited for us.
    WrongDirection = "wrong_direction",
    /// Another version of the peer protocol.
    WrongVersion = "wrong_version",
    /// The hello is truncated, oversized or not a hello.
    MalformedHello = "malformed_hello",
    /// No complete hello in time.
    HelloTimedOut = "hello_timed_out",
    /// As many handshakes as we allow are already under way.
    TooManyHandshakes = "too_many_handshakes",
    /// A priority datagram that is neither a message nor a probe.
    MalformedDatagram = "malformed_datagram",
    /// A bulk stream that names no lane.
    UnknownLane = "unknown_lane",
    /// A second stream for a lane.
    DuplicateLane = "duplicate_lane",
    /// A bulk frame above the size limit.
    FrameTooLarge = "frame_too_large",
    /// A bulk stream that ends inside a frame, or ends at all.
    TruncatedFrame = "truncated_frame",
    /// The peer stopped reading a bulk stream.
    StoppedLane = "stopped_lane",
    /// A container's configuration is another there, under the same epoch.
    OtherLayout = "other_layout",
    /// The peer's state is older than what it had when it was seen last.
    EarlierState = "earlier_state",
    /// Nobody can tell whether the peer's state follows what it had when it was seen last.
    UnknownState = "unknown_state",
    /// Our own state is older than what the peer met us with.
    OwnState = "own_state",
    /// Either side has met the other with what that does not have behind it.
    Contradiction = "contradiction",
}

impl RefusalCause {
    /// The application error code that closes a connection for this cause.
    pub const fn code(self) -> VarInt {
        VarInt::from_u32(REFUSAL_CODE_BASE + self as u32)
    }

    pub(super) fn from_code(code: VarInt) -> Option<Self> {
        let index = code
            .into_inner()
            .checked_sub(u64::from(REFUSAL_CODE_BASE))?;
        Self::ALL.get(usize::try_from(index).ok()?).copied()
    }

    fn from_tls(code: TransportErrorCode) -> Option<Self> {
        let code = u64::from(code);
        if !CRYPTO_ERROR_CODES.contains(&code) {
            return None;
        }
        // Alert numbers of RFC 8446 §6.
        Some(match code & 0xff {
            // Unknown CA; or one of the same name with another key (decrypt_error).
            48 | 51 => Self::UntrustedCertificate,
            45 => Self::ExpiredCertificate,
            116 => Self::NoCertificate,
            42 | 43 | 44 | 46 => Self::UnusableCertificate,
            120 => Self::NoCommonProtocol,
            _ => Self::TlsFailed,
        })
    }
}

/// A refusal: its cause, and what exactly was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) cause: RefusalCause,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn new(cause: RefusalCause, detail: impl Into<String>) -> Self {
        Self {
            cause,
            detail: detail.into(),
        }
    }

    /// Closes `connection` with the cause's code and the detail as reason.
    pub(super) fn close(&self, connection: &quinn::Connection) {
        connection.close(self.cause.code(), self.detail.as_bytes());
    }
}

/// How a connection, or the attempt at one, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// We refused the peer, or what it sent.
    Refused(Refusal),
    /// The peer refused us, or what we sent.
    RefusedByPeer(Refusal),
    /// Timeout, reset, orderly close.
    Lost(String),
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ConnectionError> for Ending {
    fn from(error: ConnectionError) -> Self {
        match &error {
            ConnectionError::TransportError(local) => match RefusalCause::from_tls(local.code) {
                Some(cause) => Self::Refused(Refusal::new(cause, local.reason.clone())),
                None => Self::Lost(error.to_string()),
            },
            ConnectionError::ConnectionClosed(close) => {
                match RefusalCause::from_tls(close.error_code) {
                    Some(cause) => Self::RefusedByPeer(Refusal::new(
                        cause,
                        String::from_utf8_lossy(&close.reason),
                    )),
                    None => Self::Lost(error.to_string()),
                }
            }
            ConnectionError::ApplicationClosed(close) => {
                match RefusalCause::from_code(close.error_code) {
                    Some(cause) => Self::RefusedByPeer(Refusal::new(
                        cause,
                        String::from_utf8_lossy(&close.reason),
                    )),
                    None => Self::Lost(error.to_string()),
                }
            }
            _ => Self::Lost(error.to_string()),
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(r) => write!(f, "refused: {}: {}", r.cause.name(), r.detail),
            Self::RefusedByPeer(r) => {
                write!(f, "refused by the peer: {}: {}", r.cause.name(), r.detail)
            }
            Self::Lost(why) => write!(f, "lost: {why}"),
        }
    }
}

#[derive(Default)]
struct CauseRecord {
    count: u64,
    warned: Option<Instant>,
    unreported: u64,
}

/// Counts per cause; a warning per cause at most every [`WARNING_INTERVAL`].
pub(super) struct RefusalLog {
    direction: &'static str,
    records: Mutex<Vec<CauseRecord>>,
}

impl RefusalLog {
    /// `direction` begins the warning: "refused", "refused by peer".
    pub(super) fn new(direction: &'static str) -> Self {
        let records = RefusalCause::ALL
            .iter()
            .map(|_| CauseRecord::default())
            .collect();
        Self {
            direction,
            records: Mutex::new(records),
        }
    }

    pub(super) fn record(&self, refusal: &Refusal, remote: std::net::SocketAddr) {
        let now = Instant::now();
        let mut records = lock(&self.records);
        let Some(record) = records.get_mut(refusal.cause as usize) else {
            return;
        };
        record.count += 1;
        if record
            .warned
            .is_some_and(|at| now.duration_since(at) < WARNING_INTERVAL)
        {
            record.unreported += 1;
            return;
        }
        record.warned = Some(now);
        let unreported = std::mem::take(&mut record.unreported);
        drop(records);
        tracing::warn!(
            %remote,
            cause = refusal.cause.name(),
            detail = %refusal.detail,
            unreported,
            "{}",
            self.direction
        );
    }

    /// Causes that happened at least once.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let records = lock(&self.records);
        let named = RefusalCause::ALL.iter().zip(records.iter());
        named
            .filter(|(_, record)| record.count > 0)
            .map(|(cause, record)| (cause.name(), record.count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_survives_the_trip_through_its_code() {
        for cause in RefusalCause::ALL {
            assert_eq!(RefusalCause::from_code(cause.code()), Some(*cause));
        }
        assert_eq!(RefusalCause::from_code(OrderlyEnd::Replaced.code()), None);
        assert_eq!(RefusalCause::from_code(VarInt::from_u32(0xffff)), None);
    }
}

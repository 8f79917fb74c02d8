//! The first exchange on a connection between nodes. TLS has shown that a
//! certificate leads to our CA; the hello shows that it is the right one.
//!
//! `connect().await` is Ok although the server refuses our certificate (TLS 1.3:
//! the client is done first), so only an answered hello makes a peer. On one
//! bidirectional stream the dialer sends its hello, the acceptor checks it and
//! sends its own, and a last byte of the dialer says that it agrees too.
//!
//! A hello on the wire, integers little-endian:
//! ```text
//! length of the rest: u8 | "VIVA" | version: u16 | class: u8 (0 priority, 1 bulk)
//! | node: u16 | site: u16 | incarnation: u16 | cluster: the remaining 1 to 63 bytes
//! the cluster's id: 16 bytes, zeros where its file has none
//! data directory: its id's 16 bytes, zeros where state is in memory only
//! its latest starts: u8, 1 to 64, the present one last; 0 in memory; of each: u64
//! what it met the other with when that was there last: u8, 0 for nothing or 1; then
//! data directory: 16 bytes | number of the last start: u16 | which start that was: u64
//! containers: u16, up to 1,024, and of each, ids ascending:
//! id: u32 | epoch: u32 | checksum of what nodes must agree on: u32 ([`Agreement`])
//! ```
//! What comes before the data directory is the same in all versions, so that nodes of different
//! ones tell each other what is wrong.

use quinn::{Connection, WriteError};
use tokio::io::AsyncRead;
use vivace_core::agreement::Agreement;
use vivace_core::cluster::CONTAINERS_MAX;
use vivace_core::{ContainerId, Epoch, Incarnation, NodeId, SiteId};

use super::event::TrafficClass;
use super::identity::{ClusterName, LABEL_BYTES_MAX, Role};
use super::peer_stream::{CutShort, read_exact};
use super::refusal::{Ending, Refusal, RefusalCause};
use super::state::{AddressBook, LocalNode, Peer};
use crate::storage::identity::{ClusterId, DirectoryId, MetState, StartId, StateHistory, TOLD_MAX};

/// Version of the peer protocol; nodes of different versions refuse each other.
pub(super) const PROTOCOL_VERSION: u16 = 7;

const MAGIC: &[u8; 4] = b"VIVA";
const FIXED_BYTES: usize = 13;
const BODY_BYTES_MAX: usize = FIXED_BYTES + LABEL_BYTES_MAX;
const AGREEMENT_BYTES: usize = 12;

/// What the dialer says last.
const AGREED: [u8; 1] = [1];

/// What stands for none; no directory draws it.
const NO_DIRECTORY: DirectoryId = DirectoryId([0; 16]);

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) version: u16,
    pub(super) class: TrafficClass,
    pub(super) node: NodeId,
    pub(super) site: SiteId,
    pub(super) incarnation: Incarnation,
    pub(super) cluster: ClusterName,
    /// Which cluster of this name, as far as its file says.
    pub(super) cluster_id: Option<ClusterId>,
    /// Its state, which outlives its lives, with its latest starts; none where that is in memory
    /// only, or of another version.
    pub(super) state: Option<StateHistory>,
    /// What it met the other one with.
    pub(super) met: Option<MetState>,
    /// By ascending container; none of another version's.
    pub(super) agreements: Vec<Agreement>,
}

impl Hello {
    /// What `local` says to one that it has `met` before.
    pub(super) fn of(local: &LocalNode, class: TrafficClass, met: Option<MetState>) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            class,
            node: local.node,
            site: local.site,
            incarnation: local.incarnation,
            cluster: local.cluster.clone(),
            cluster_id: local.cluster_id,
            state: local.state.as_ref().map(StateHistory::latest),
            met,
            agreements: local
                .agreements
                .values()
                .map(|(_, agreed)| *agreed)
                .collect(),
        }
    }

    /// What whoever hears this has met its sender with; none where that keeps nothing.
    pub(super) fn as_met(&self) -> Option<MetState> {
        let state = self.state.as_ref()?;
        Some(MetState {
            directory: state.directory,
            life: self.incarnation,
            start: *state.starts.last()?,
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = MAGIC.to_vec();
        body.extend(self.version.to_le_bytes());
        body.push(self.class as u8);
        for number in [self.node.0, self.site.0, self.incarnation.0] {
            body.extend(number.to_le_bytes());
        }
        body.extend(self.cluster.as_str().as_bytes());
        // A cluster's name is at most 63 bytes, so the length fits.
        body.insert(0, body.len() as u8);
        if self.version == PROTOCOL_VERSION {
            body.extend(self.cluster_id.map_or([0; 16], |id| id.0));
            let state = self.state.as_ref();
            body.extend(state.map_or(NO_DIRECTORY, |state| state.directory).0);
            let starts = state.map_or(&[][..], |state| &state.starts);
            // At most TOLD_MAX, so the count fits.
            body.push(starts.len() as u8);
            body.extend(starts.iter().flat_map(|start| start.0.to_le_bytes()));
            body.push(u8::from(self.met.is_some()));
            if let Some(met) = &self.met {
                body.extend(met.directory.0);
                body.extend(met.life.0.to_le_bytes());
                body.extend(met.start.0.to_le_bytes());
            }
            // A cluster has at most CONTAINERS_MAX, so the count fits.
            body.extend((self.agreements.len() as u16).to_le_bytes());
            for agreed in &self.agreements {
                for number in [agreed.container.0, agreed.epoch.0, agreed.checksum] {
                    body.extend(number.to_le_bytes());
                }
            }
        }
        body
    }

    /// Reads a body (without its length, and what follows it); every byte must belong to it.
    pub(super) fn decode(body: &[u8]) -> Result<Self, Refusal> {
        let malformed = |what: &str| Refusal::new(RefusalCause::MalformedHello, what);
        let Some((fixed, cluster)) = body.split_first_chunk::<FIXED_BYTES>() else {
            return Err(malformed("the hello is shorter than its fixed fields"));
        };
        let [m0, m1, m2, m3, v0, v1, class, n0, n1, s0, s1, i0, i1] = *fixed;
        if [m0, m1, m2, m3] != *MAGIC {
            return Err(malformed("the hello doesn't begin with VIVA"));
        }
        let class = match class {
            0 => TrafficClass::Priority,
            1 => TrafficClass::Bulk,
            _ => return Err(malformed("the hello names no traffic class")),
        };
        let cluster = std::str::from_utf8(cluster)
            .ok()
            .and_then(|c| ClusterName::new(c).ok());
        Ok(Self {
            version: u16::from_le_bytes([v0, v1]),
            class,
            node: NodeId(u16::from_le_bytes([n0, n1])),
            site: SiteId(u16::from_le_bytes([s0, s1])),
            incarnation: Incarnation(u16::from_le_bytes([i0, i1])),
            cluster: cluster.ok_or_else(|| malformed("the hello's cluster is no DNS label"))?,
            cluster_id: None,
            state: None,
            met: None,
            agreements: Vec::new(),
        })
    }
}

/// Greets `peer`, whom we dialed; its hello if both sides agree.
pub(super) async fn greet_as_dialer(
    connection: &Connection,
    local: &LocalNode,
    class: TrafficClass,
    peer: &Peer,
) -> Result<Hello, Ending> {
    let role = node_role(connection, local)?;
    let expected = (peer.address.node, peer.address.site);
    if role.0 != expected.0 {
        let detail = format!(
            "dialed {}, whose port has the certificate of {}",
            expected.0, role.0
        );
        return Err(Refusal::new(RefusalCause::WrongNode, detail).into());
    }
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(&Hello::of(local, class, peer.met()).encode())
        .await
        .map_err(write_ending)?;
    let hello = read_hello(&mut recv).await?;
    check(&hello, role, local, class, expected)?;
    // It has answered: what we met it with is behind it, so there is no contradiction.
    local.check_met(&hello).map_err(Refusal::from)?;
    peer.recognize(&hello).await?;
    // Fails only where the peer has reset the stream or the connection, which the session
    // will hear.
    let _ = send.write_all(&AGREED).await;
    let _ = send.finish();
    Ok(hello)
}

/// Greets whoever dialed us; its hello if both sides agree.
pub(super) async fn greet_as_acceptor(
    connection: &Connection,
    local: &LocalNode,
    class: TrafficClass,
    book: &AddressBook,
) -> Result<Hello, Ending> {
    let role = node_role(connection, local)?;
    let (mut send, mut recv) = connection.accept_bi().await?;
    let hello = read_hello(&mut recv).await?;
    let Some(peer) = book.get(&role.0) else {
        let detail = format!("{} is not in the address book", role.0);
        return Err(Refusal::new(RefusalCause::UnknownNode, detail).into());
    };
    check(
        &hello,
        role,
        local,
        class,
        (peer.address.node, peer.address.site),
    )?;
    if hello.node >= local.node {
        let detail = format!("{} must wait for {} to dial", hello.node, local.node);
        return Err(Refusal::new(RefusalCause::WrongDirection, detail).into());
    }
    peer.weigh(local.check_met(&hello), &hello)
        .map_err(Refusal::from)?;
    send.write_all(&Hello::of(local, class, peer.met()).encode())
        .await
        .map_err(write_ending)?;
    let _ = send.finish();
    let mut agreed = [0];
    match read_exact(&mut recv, &mut agreed).await {
        Ok(()) if agreed == AGREED => {
            peer.recognize(&hello).await?;
            Ok(hello)
        }
        Ok(()) => {
            let detail = "bytes after the hello";
            Err(Refusal::new(RefusalCause::MalformedHello, detail).into())
        }
        // It says why it does not agree when it closes the connection.
        Err(CutShort::Finished | CutShort::Reset) => Err(connection.closed().await.into()),
        Err(CutShort::Ended(ending)) => Err(ending),
    }
}

/// The node that the peer's certificate speaks for.
fn node_role(connection: &Connection, local: &LocalNode) -> Result<(NodeId, SiteId), Refusal> {
    let role = Role::of_peer(connection)
        .map_err(|error| Refusal::new(RefusalCause::NoRole, error.to_string()))?;
    if *role.cluster() != local.cluster {
        return Err(Refusal::new(
            RefusalCause::WrongCluster,
            format!("the certificate is {role}"),
        ));
    }
    match role {
        Role::Node { node, site, .. } => Ok((node, site)),
        Role::Client { .. } => {
            let detail = format!("{role} may not use a port between nodes");
            Err(Refusal::new(RefusalCause::NotANode, detail))
        }
    }
}

/// Whether certificate, hello and address book say the same.
fn check(
    hello: &Hello,
    certified: (NodeId, SiteId),
    local: &LocalNode,
    class: TrafficClass,
    expected: (NodeId, SiteId),
) -> Result<(), Refusal> {
    let refuse = |cause, detail: String| Err(Refusal::new(cause, detail));
    if hello.version != PROTOCOL_VERSION {
        let detail = format!("version {} here, {} there", PROTOCOL_VERSION, hello.version);
        return refuse(RefusalCause::WrongVersion, detail);
    }
    if hello.class != class {
        let detail = format!("a {} hello on a {} port", hello.class.name(), class.name());
        return refuse(RefusalCause::WrongClass, detail);
    }
    if hello.cluster != local.cluster {
        let detail = format!("cluster {} here, {} there", local.cluster, hello.cluster);
        return refuse(RefusalCause::WrongCluster, detail);
    }
    if let Some((here, there)) = local.cluster_id.zip(hello.cluster_id)
        && here != there
    {
        let detail = format!(
            "cluster {} has id {here} in the file here, {there} there: give all nodes the same file",
            local.cluster
        );
        return refuse(RefusalCause::WrongCluster, detail);
    }
    if hello.node != certified.0 || certified.0 != expected.0 {
        let detail = format!(
            "the hello says {}, the certificate {}, the address book {}",
            hello.node, certified.0, expected.0
        );
        return refuse(RefusalCause::WrongNode, detail);
    }
    if hello.site != certified.1 || certified.1 != expected.1 {
        let detail = format!(
            "{}: the hello says {}, the certificate {}, the address book {}",
            hello.node, hello.site, certified.1, expected.1
        );
        return refuse(RefusalCause::WrongSite, detail);
    }
    for theirs in &hello.agreements {
        let ours = local.agreements.get(&theirs.container);
        if let Some((name, _)) = ours.filter(|(_, ours)| !ours.allows(theirs)) {
            let detail = format!(
                "container {name:?}, epoch {}: the configurations of {} and {} differ in its {}; \
                 make them equal",
                theirs.epoch.0,
                local.node,
                hello.node,
                Agreement::FIELDS
            );
            return refuse(RefusalCause::OtherLayout, detail);
        }
    }
    Ok(())
}

/// Reads the hello that begins a peer's stream.
pub(super) async fn read_hello(stream: &mut (impl AsyncRead + Unpin)) -> Result<Hello, Ending> {
    let mut length = [0];
    read_exact(stream, &mut length).await.map_err(cut_short)?;
    let length = usize::from(length[0]);
    if length > BODY_BYTES_MAX {
        let detail = format!("a hello of {length} bytes; at most {BODY_BYTES_MAX}");
        return Err(Refusal::new(RefusalCause::MalformedHello, detail).into());
    }
    let mut body = [0; BODY_BYTES_MAX];
    read_exact(stream, &mut body[..length])
        .await
        .map_err(cut_short)?;
    let mut hello = Hello::decode(&body[..length])?;
    if hello.version == PROTOCOL_VERSION {
        hello.cluster_id = read_cluster_id(stream).await?;
        hello.state = read_state(stream).await?;
        hello.met = read_met(stream).await?;
        hello.agreements = read_agreements(stream).await?;
    }
    Ok(hello)
}

async fn read_cluster_id(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<ClusterId>, Ending> {
    let mut id = [0; 16];
    read_exact(stream, &mut id).await.map_err(cut_short)?;
    Ok((id != [0; 16]).then_some(ClusterId(id)))
}

async fn read_state(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<StateHistory>, Ending> {
    let mut directory = NO_DIRECTORY;
    let mut count = [0];
    read_exact(stream, &mut directory.0)
        .await
        .map_err(cut_short)?;
    read_exact(stream, &mut count).await.map_err(cut_short)?;
    let count = usize::from(count[0]);
    if count > TOLD_MAX || (count == 0) != (directory == NO_DIRECTORY) {
        let detail = format!(
            "a hello of {count} starts of data directory {directory}; 1 to {TOLD_MAX} of one, none \
             of zeros"
        );
        return Err(Refusal::new(RefusalCause::MalformedHello, detail).into());
    }
    let mut starts = Vec::with_capacity(count);
    for _ in 0..count {
        let mut start = [0; size_of::<u64>()];
        read_exact(stream, &mut start).await.map_err(cut_short)?;
        starts.push(StartId(u64::from_le_bytes(start)));
    }
    Ok((count > 0).then_some(StateHistory { directory, starts }))
}

async fn read_met(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<MetState>, Ending> {
    let mut count = [0];
    read_exact(stream, &mut count).await.map_err(cut_short)?;
    match count {
        [0] => return Ok(None),
        [1] => {}
        [other] => {
            let detail = format!("a hello that says {other} times what was met; 0 or 1");
            return Err(Refusal::new(RefusalCause::MalformedHello, detail).into());
        }
    }
    let (mut directory, mut life, mut start) = ([0; 16], [0; 2], [0; 8]);
    for bytes in [&mut directory[..], &mut life, &mut start] {
        read_exact(stream, bytes).await.map_err(cut_short)?;
    }
    Ok(Some(MetState {
        directory: DirectoryId(directory),
        life: Incarnation(u16::from_le_bytes(life)),
        start: StartId(u64::from_le_bytes(start)),
    }))
}

async fn read_agreements(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<Agreement>, Ending> {
    let malformed = |detail: String| Refusal::new(RefusalCause::MalformedHello, detail);
    let mut count = [0; 2];
    read_exact(stream, &mut count).await.map_err(cut_short)?;
    let count = usize::from(u16::from_le_bytes(count));
    if count > CONTAINERS_MAX {
        let detail = format!("a hello of {count} containers; at most {CONTAINERS_MAX}");
        return Err(malformed(detail).into());
    }
    let mut agreements: Vec<Agreement> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut bytes = [0; AGREEMENT_BYTES];
        read_exact(stream, &mut bytes).await.map_err(cut_short)?;
        let [i0, i1, i2, i3, e0, e1, e2, e3, c0, c1, c2, c3] = bytes;
        let agreed = Agreement {
            container: ContainerId(u32::from_le_bytes([i0, i1, i2, i3])),
            epoch: Epoch(u32::from_le_bytes([e0, e1, e2, e3])),
            checksum: u32::from_le_bytes([c0, c1, c2, c3]),
        };
        if agreements
            .last()
            .is_some_and(|last| last.container >= agreed.container)
        {
            return Err(malformed("the hello's containers are in no order".into()).into());
        }
        agreements.push(agreed);
    }
    Ok(agreements)
}

fn cut_short(how: CutShort) -> Ending {
    let malformed = |detail: &str| Refusal::new(RefusalCause::MalformedHello, detail).into();
    match how {
        CutShort::Finished => malformed("the hello is cut off"),
        CutShort::Reset => malformed("the hello's stream was reset"),
        CutShort::Ended(ending) => ending,
    }
}

fn write_ending(error: WriteError) -> Ending {
    match error {
        WriteError::ConnectionLost(error) => error.into(),
        WriteError::Stopped(_) => {
            Refusal::new(RefusalCause::MalformedHello, "our hello was not wanted").into()
        }
        other => Ending::Lost(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            version: PROTOCOL_VERSION,
            class: TrafficClass::Bulk,
            node: NodeId(0x0102),
            site: SiteId(3),
            incarnation: Incarnation(0xfffe),
            cluster: ClusterName::new("alpha").expect("a label"),
            cluster_id: None,
            state: None,
            met: None,
            agreements: Vec::new(),
        }
    }

    fn agreed((container, epoch): (u32, u32)) -> Agreement {
        Agreement {
            container: ContainerId(container),
            epoch: Epoch(epoch),
            checksum: 0xdead_beef,
        }
    }

    #[test]
    fn a_hello_has_these_bytes() {
        let golden = b"\x12VIVA\x07\x00\x01\x02\x01\x03\x00\xfe\xffalpha";
        assert_eq!(hello().encode(), [&golden[..], &[0; 36]].concat());
        assert_eq!(Hello::decode(&golden[1..]), Ok(hello()));
        let mut of_two = hello();
        of_two.agreements = [(7, 1), (0x0809, 2)].map(agreed).to_vec();
        of_two.cluster_id = Some(ClusterId([0xc1; 16]));
        of_two.state = Some(StateHistory {
            directory: DirectoryId([0xd1; 16]),
            starts: vec![StartId(5), StartId(0x0102)],
        });
        of_two.met = Some(MetState {
            directory: DirectoryId([0xd2; 16]),
            life: Incarnation(0x0304),
            start: StartId(9),
        });
        let met = [b"\x01", &[0xd2; 16][..], b"\x04\x03\x09\0\0\0\0\0\0\0"].concat();
        let starts = b"\x02\x05\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0";
        let containers =
            b"\x02\x00\x07\0\0\0\x01\0\0\0\xef\xbe\xad\xde\x09\x08\0\0\x02\0\0\0\xef\xbe\xad\xde";
        assert_eq!(
            of_two.encode(),
            [
                &golden[..],
                &[0xc1; 16],
                &[0xd1; 16],
                starts,
                &met,
                containers
            ]
            .concat()
        );
    }

    #[test]
    fn a_hello_cut_anywhere_or_with_any_wrong_byte_never_panics() {
        let whole = hello().encode();
        let golden = &whole[..=usize::from(whole[0])];
        for length in 1..golden.len() {
            let decoded = Hello::decode(&golden[1..length]);
            // Cut inside the cluster's name it is a hello of another cluster.
            assert_eq!(decoded.is_err(), length <= 1 + FIXED_BYTES, "{length}");
        }
        for at in 1..golden.len() {
            for value in 0..=u8::MAX {
                let mut bytes = golden.to_vec();
                bytes[at] = value;
                let decoded = Hello::decode(&bytes[1..]);
                assert!(bytes == golden || decoded != Ok(hello()));
            }
        }
    }
}

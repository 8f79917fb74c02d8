//! Messages on their way, and what a script does to them.

use std::time::Duration;

use crate::message::{BulkBody, BulkMessage, PriorityMessage};
use crate::{Class, NodeId};

/// Bytes that a packet needs beside the message: IP, UDP, QUIC, and the ids within.
const HEADER_BYTES: u32 = 90;

/// What a priority message adds: a key and two timestamps at most, mostly.
const PRIORITY_BYTES: u32 = 50;

/// A message on its way.
#[derive(Clone, Debug)]
pub enum Wire {
    /// In the priority class.
    Priority(PriorityMessage),
    /// In the bulk class.
    Bulk(BulkMessage),
}

impl Wire {
    /// Its class.
    pub fn class(&self) -> Class {
        match self {
            Self::Priority(_) => Class::Priority,
            Self::Bulk(_) => Class::Bulk,
        }
    }

    /// About what a link carries; exact bytes would cost an encoding.
    pub(super) fn bytes(&self) -> u32 {
        let message = match self {
            Self::Priority(_) => PRIORITY_BYTES,
            Self::Bulk(message) => match &message.body {
                BulkBody::WriteLocal { value, .. }
                | BulkBody::WriteRemote { value, .. }
                | BulkBody::Data { value, .. }
                | BulkBody::AbdWrite { value, .. } => value.len() as u32,
                BulkBody::ApplyRemote { derivation, .. } => derivation.bytes() as u32,
                _ => PRIORITY_BYTES,
            },
        };
        HEADER_BYTES + message
    }
}

/// What a scripted test does to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Deliver,
    /// It never arrives.
    Drop,
    /// Takes this much longer than drawn.
    Late(Duration),
}

/// Decides each message's fate when it is sent.
pub type Script = Box<dyn FnMut(NodeId, NodeId, &Wire) -> Fate>;

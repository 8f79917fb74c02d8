//! vivace-node

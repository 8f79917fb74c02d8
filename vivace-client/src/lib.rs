//! vivace-client

//! The client library and the command against nodes that misbehave on request.

mod admin;
mod authority;
mod backup;
mod bench;
mod command;
mod config_file;
mod connecting;
mod deadlines;
mod failover;
mod fake_node;
mod operations;
mod sessions;
mod store;

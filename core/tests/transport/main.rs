//! Sessions, discovery, introductions and relaying, between nodes wired in memory (PROTOCOL §2, §3, §9).

mod discovery;
mod hostile;
mod paths;
mod sessions;
mod world;

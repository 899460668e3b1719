//! Small programs that show how Butter is used. Run one with `cargo run --example NAME`:
//!
//! | name | shows |
//! |---|---|
//! | `ohce` | a route served by an async closure and called on every peer: what one types, the others echo backwards |
//! | `custom_loop` | the core alone, driven by blocking sockets of the standard library |
//! | `mio_loop` | the core inside an event loop that a program already has |

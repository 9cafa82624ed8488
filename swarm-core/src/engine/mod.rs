//! The driver: the only code that knows tokio, sockets, the clock and the system's entropy.

mod trackers;

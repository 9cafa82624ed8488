//! The data plane: block buffers, hashing, and the worker threads that verify, write and read.
//!
//! Payload lives here and in `engine`, never in `proto`. Nothing here knows a peer or a socket.

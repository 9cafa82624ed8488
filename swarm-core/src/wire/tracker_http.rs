//! The HTTP tracker protocol (BEP 3): stub of this commit.

//! A storage that fails when it is told to, to test what stands above it.

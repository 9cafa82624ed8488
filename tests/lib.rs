//! Support code of the integration tests lives beside them; this file only gives the crate a name.

//! `swarm seed`: makes or checks the torrents, prints the lines that fetch them, serves.
//!
//! Our own tracker answers on the very ports we listen on: the session hands over what is
//! HTTP, a UDP socket stands beside. It knows our torrents and no others.
//!
//! Not here: hashing (see `make`), whose addresses we tell (see `addresses`).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll, StreamExt};
use swarm_core::metainfo::{Magnet, Metainfo};
use swarm_core::session::Event;
use swarm_core::types::Moment;
use swarm_core::{AddTorrent, Session};

use super::copies::Copies;
use super::watch::Watched;
use super::{Context, load, make, note_of, session_failure, shut_down};
use crate::addresses;
use crate::exit::{Code, Failure};
use crate::link::HostPort;
use crate::plan::{SeedContent, SeedPlan};
use crate::units;
use crate::view::{Note, Seeding, Snapshot, TICK};

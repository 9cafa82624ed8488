#!/usr/bin/env bash
# The long form of the hostile suite: 64 MiB, an honest seed of 2 MB/s, one line a case.
# usage: tests/hostile/long.sh [FILTER...]; SWARM_BIN names the binary (a release build) to attack.
# Cases run side by side, `JOBS` at a time (8): each is bound by the honest seed's rate. The
# first column of figures is the time of the honest transfer in seconds, to be divided by that
# of the p00 cases of the same run; the second what the memory grew by, in MiB.
set -euo pipefail
cd "$(dirname "$0")/../.."
export SWARM_HOSTILE=long
[ $# -gt 0 ] || set -- hostile::
cargo test -p swarm-tests --test all -- "$@" --skip sim:: \
    --nocapture --test-threads "${JOBS:-8}" 2>/dev/null | grep -o "HOSTILE .*" | sort

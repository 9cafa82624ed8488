//! How much memory this process may take, and what of it pieces and blocks on their way get.
//!
//! A process that takes more than its control group or its machine has is killed without a
//! word. The library's budgets suit a machine with 192 MiB or more; where there is less they
//! are cut to parts of it, so that a fetch in a small container is slower and not dead.
//!
//! Not here: what the budgets are spent on (`swarm_core`).

use std::fs;
use std::path::Path;

use swarm_core::Config;

/// Of the memory there is, pieces that are being fetched may take one part in so many.
const RECEIVE_PART: u64 = 4;
/// And blocks on their way out.
const SEND_PART: u64 = 8;
/// Below this nothing is cut any more: two blocks of two pieces want to be somewhere.
const BUDGET_MIN: u64 = 1 << 20;
/// Where control groups are found: of version 2, and version 1's of memory.
const GROUPS: [(&str, &str); 2] =
    [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")];

/// Cuts the budgets to what there is.
pub(crate) fn fit(config: &mut Config) {
    if let Some(bytes) = available(|path| fs::read_to_string(path).ok()) {
        fit_to(config, bytes);
    }
}

fn fit_to(config: &mut Config, bytes: u64) {
    let cut = |budget: u64, part: u64| budget.min((bytes / part).max(BUDGET_MIN));
    config.receive_budget = cut(config.receive_budget, RECEIVE_PART);
    config.send_budget = cut(config.send_budget, SEND_PART);
}

/// The least of what the machine has and what the control groups around this process may take;
/// `None` where nothing says.
fn available(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let mut least = read(Path::new("/proc/meminfo")).as_deref().and_then(machine_bytes);
    for (mount, file) in GROUPS {
        let version_2 = file == "memory.max";
        // Inside a container the group's path may be one of outside: the root is there always.
        let own = groups.lines().find_map(|line| group_of(line, version_2)).unwrap_or("/");
        for folder in Path::new(own).ancestors() {
            let folder = folder.strip_prefix("/").unwrap_or(folder);
            let limit = read(&Path::new(mount).join(folder).join(file));
            let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
            least = [least, limit].into_iter().flatten().min();
        }
    }
    least
}

/// The path of the group that governs memory, if this line of `/proc/self/cgroup` is about it.
fn group_of(line: &str, version_2: bool) -> Option<&str> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let is_it = match version_2 {
        true => controllers.is_empty(),
        false => controllers.split(',').any(|name| name == "memory"),
    };
    is_it.then_some(path)
}

fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn found(files: &[(&str, &str)]) -> Option<u64> {
        let files: BTreeMap<&Path, &str> =
            files.iter().map(|(path, text)| (Path::new(*path), *text)).collect();
        available(|path| files.get(path).map(|text| (*text).to_owned()))
    }

    const MACHINE: (&str, &str) = ("/proc/meminfo", "MemTotal:       1048576 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_tightest_group_counts_in_either_version_and_else_the_machine() {
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[MACHINE]), Some(1 << 30));
        let second = ("/proc/self/cgroup", "0::/a/b\n");
        let unbound = ("/sys/fs/cgroup/a/b/memory.max", "max\n");
        let above = ("/sys/fs/cgroup/a/memory.max", "67108864\n");
        assert_eq!(found(&[MACHINE, second, unbound]), Some(1 << 30));
        assert_eq!(found(&[MACHINE, second, unbound, above]), Some(64 << 20));
        let first = ("/proc/self/cgroup", "5:devices:/x\n4:memory:/a\n0::/\n");
        let limit = ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "33554432\n");
        let none = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(found(&[MACHINE, first, limit, none]), Some(32 << 20));
    }

    #[test]
    fn in_a_container_the_root_counts_whatever_the_group_is_called_outside() {
        let outside = ("/proc/self/cgroup", "0::/machine/of/somebody/else\n");
        let root = ("/sys/fs/cgroup/memory.max", "50331648\n");
        assert_eq!(found(&[MACHINE, outside, root]), Some(48 << 20));
    }

    #[test]
    fn budgets_are_cut_where_memory_is_little_and_left_alone_where_it_is_not() {
        let usual = Config::default();
        let fitted = |bytes| {
            let mut config = Config::default();
            fit_to(&mut config, bytes);
            (config.receive_budget, config.send_budget)
        };
        assert_eq!(fitted(192 << 20), (usual.receive_budget, usual.send_budget));
        assert_eq!(fitted(64 << 20), (16 << 20, 8 << 20));
        assert_eq!(fitted(0), (BUDGET_MIN, BUDGET_MIN));
    }
}

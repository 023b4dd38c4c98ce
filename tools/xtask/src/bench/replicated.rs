//! Two nodes of Windrow that both have a write before it is confirmed: the build of shared-nothing mode, set up as
//! `docs/replication.md` does it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::free_port;
use crate::run;

/// One node, made and not running.
pub(crate) struct Node {
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    replica: String,
    peer_port: u16,
}

/// Two nodes, the first of which leads.
pub(crate) struct Pair {
    pub(crate) nodes: [Node; 2],
    secret: PathBuf,
}

impl Pair {
    /// Makes both directories.
    pub(crate) fn make(program: &Path, dir: &Path) -> Result<Self, String> {
        fs::create_dir_all(dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        let secret = dir.join("secret");
        let written = fs::write(&secret, "known to both nodes of a benchmark\n")
            .and_then(|()| fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)));
        written.map_err(|error| format!("cannot write {}: {error}", secret.display()))?;
        let (first, cluster) = Node::make(program, dir.join("1"), None)?;
        let (second, _) = Node::make(program, dir.join("2"), Some(&cluster))?;
        Ok(Self { nodes: [first, second], secret })
    }

    /// What both are started with: either both have a write before it is confirmed, or the first one leads and confirms
    /// by itself, and the second one learns.
    pub(crate) fn arguments(&self, is_alone: bool) -> Vec<String> {
        let peers =
            self.nodes.each_ref().map(|node| format!("{}@127.0.0.1:{}/{}", node.replica, node.peer_port, node.port));
        let secret = self.secret.display().to_string();
        let words = ["--peers", &peers.join(","), "--peer-secret-file", &secret, "--leader", &self.nodes[0].replica];
        let rule = if is_alone { ["--learners", &self.nodes[1].replica] } else { ["--commit", "all"] };
        words.into_iter().chain(rule).map(str::to_owned).collect()
    }
}

impl Node {
    /// The node and its cluster.
    fn make(program: &Path, dir: PathBuf, cluster: Option<&str>) -> Result<(Self, String), String> {
        let mut command = Command::new(program);
        command.args(["init", "--partitions", "1", "--dir"]).arg(&dir);
        command.args(cluster.iter().flat_map(|cluster| ["--cluster", cluster]));
        let text = run::output(command).ok_or("`windrow init` failed")?;
        let field =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned());
        let (Some(cluster), Some(replica)) = (field("cluster "), field("replica ")) else {
            return Err("`windrow init` names no cluster and replica".to_owned());
        };
        Ok((Self { dir, port: free_port()?, replica, peer_port: free_port()? }, cluster))
    }
}

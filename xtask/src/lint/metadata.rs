//! The part of `cargo metadata` that the rules about crates read.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
    pub(super) workspace_members: BTreeSet<String>,
    pub(super) resolve: Option<Resolve>,
}

#[derive(Deserialize)]
pub(super) struct Package {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) dependencies: Vec<Dependency>,
    #[serde(default)]
    pub(super) features: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) features: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Resolve {
    pub(super) nodes: Vec<Node>,
}

#[derive(Deserialize)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) deps: Vec<Edge>,
}

#[derive(Deserialize)]
pub(super) struct Edge {
    pub(super) pkg: String,
    pub(super) dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
pub(super) struct EdgeKind {
    pub(super) kind: Option<String>,
}

impl Metadata {
    /// The crates of this workspace.
    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The names of all packages in a build of `name` without its tests, itself included.
    pub(super) fn normal_tree(&self, name: &str) -> BTreeSet<&str> {
        let names: BTreeMap<&str, &str> =
            self.packages.iter().map(|package| (&*package.id, &*package.name)).collect();
        let nodes = self.resolve.iter().flat_map(|resolve| &resolve.nodes);
        let nodes: BTreeMap<&str, &Node> = nodes.map(|node| (&*node.id, node)).collect();
        let mut reached = BTreeSet::new();
        let start = self.members().find(|package| package.name == name);
        let mut pending: Vec<&str> = start.map(|package| &*package.id).into_iter().collect();
        while let Some(id) = pending.pop() {
            if reached.insert(id) {
                let edges = nodes.get(id).into_iter().flat_map(|node| &node.deps);
                let normal = edges.filter(|edge| edge.dep_kinds.iter().any(|k| k.kind.is_none()));
                pending.extend(normal.map(|edge| &*edge.pkg));
            }
        }
        reached.into_iter().filter_map(|id| names.get(id).copied()).collect()
    }
}

/// Metadata of a made-up workspace, for the tests of the rules: `(package, dependencies)`, where a
/// dependency is written `name`, `dev:name` or `name+feature+feature`.
#[cfg(test)]
pub(super) fn made_up(packages: &[(&str, &[&str])]) -> Metadata {
    let dependency = |written: &&str| {
        let (kind, rest) = match written.split_once(':') {
            Some((kind, rest)) => (Some(kind.to_owned()), rest),
            None => (None, *written),
        };
        let mut parts = rest.split('+');
        let name = parts.next().expect("a split has a first part").to_owned();
        let features = parts.map(String::from).collect();
        Dependency { name, kind, features }
    };
    let mut metadata = Metadata {
        packages: Vec::new(),
        workspace_members: packages.iter().map(|(name, _)| (*name).to_owned()).collect(),
        resolve: Some(Resolve { nodes: Vec::new() }),
    };
    for (name, written) in packages {
        let dependencies: Vec<Dependency> = written.iter().map(dependency).collect();
        let edge = |dependency: &Dependency| Edge {
            pkg: dependency.name.clone(),
            dep_kinds: vec![EdgeKind { kind: dependency.kind.clone() }],
        };
        let deps = dependencies.iter().map(edge).collect();
        let id = (*name).to_owned();
        let resolve = metadata.resolve.as_mut().expect("it was put there above");
        resolve.nodes.push(Node { id: id.clone(), deps });
        let name = id.clone();
        metadata.packages.push(Package { id, name, dependencies, features: BTreeMap::new() });
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_follows_normal_edges_only() {
        let metadata = made_up(&[("a", &["b", "dev:c"]), ("b", &["d"]), ("c", &[]), ("d", &["b"])]);
        assert_eq!(metadata.normal_tree("a"), BTreeSet::from(["a", "b", "d"]));
    }
}

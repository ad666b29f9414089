//! The absences that carry the architecture and are not arrows.
//!
//! 1. `sim` does not know that the database exists: its row in the table of arrows.
//! 2. `db` cannot tell whether it is simulated: no cfg, feature or type parameter. Checked here.
//! 3. `invariants` shares words with `db`, never code: its row in the table of arrows.
//! 4. The daemon contains no simulator: its whole tree of dependencies. Checked here.
//! 5. Only `host` names the machine: `borders`.

use super::Finding;
use super::metadata::Metadata;
use super::source::{Source, Token};

/// Where the code lies that may not know which world it runs in.
const BLIND: &str = "actors/db/";

/// What a build of the daemon may not contain.
const NOT_IN_DAEMON: &[&str] =
    &["orloj-sim", "orloj-sim-macros", "orloj-scenarios", "orloj-invariants"];

/// The kernel's traits that `host` and `sim` implement.
const PORTS: &[&str] = &["Clock", "Disk", "Entropy", "Network", "Probe", "Runtime", "Spawner"];

/// The absences that cargo's metadata shows.
pub(super) fn check_metadata(metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    let tree = metadata.normal_tree("orloj");
    for name in NOT_IN_DAEMON.iter().filter(|name| tree.contains(**name)) {
        let what = format!("the daemon's build contains {name}");
        let remedy = "cut the dependency; a fault point is a question to the runtime";
        findings.push(Finding::new("actors/orloj/Cargo.toml", 0, what, remedy));
    }
    let db = metadata.members().find(|package| package.name == "orloj-db");
    for feature in db.iter().flat_map(|package| package.features.keys()) {
        let what = format!("db has a feature, {feature}");
        let remedy = "db is one program in every world; choose at start, by a value";
        findings.push(Finding::new("actors/db/Cargo.toml", 0, what, remedy));
    }
    findings
}

/// The absences that `db`'s source shows.
pub(super) fn check_source(source: &Source) -> Vec<Finding> {
    if !source.file.starts_with(BLIND) {
        return Vec::new();
    }
    let mut findings = conditions(source);
    findings.extend(parameters(source));
    findings
}

/// Conditional compilation other than of tests.
fn conditions(source: &Source) -> Vec<Finding> {
    let tokens = source.tokens();
    let mut findings = Vec::new();
    for (at, (line, token)) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let after = |n: usize| tokens.get(at + n).map(|token| &token.1);
        let follows = matches!(after(1), Some(Token::Mark('(' | '!')));
        let is_test = after(1) == Some(&Token::Mark('('))
            && after(2) == Some(&Token::Word("test".into()))
            && after(3) == Some(&Token::Mark(')'));
        if follows && (word == "cfg" && !is_test || word == "cfg_attr" || word == "cfg_select") {
            let what = format!("{word} in db");
            let remedy = "db is one program in every world; ask the Context, or decide by a value";
            findings.push(Finding::new(&source.file, *line, what, remedy));
        }
    }
    findings
}

/// Bounds on and implementations of the ports: the ways a type could say which world it is in.
fn parameters(source: &Source) -> Vec<Finding> {
    let tokens = source.tokens();
    let mut findings = Vec::new();
    for (at, (line, token)) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        if !PORTS.contains(&&**word) {
            continue;
        }
        let mut start = at;
        while start >= 2
            && tokens[start - 1].1 == Token::Colons
            && matches!(tokens[start - 2].1, Token::Word(_))
        {
            start -= 2;
        }
        let before = start.checked_sub(1).map(|before| &tokens[before].1);
        let is_bound = matches!(before, Some(Token::Mark(':' | '+')));
        let is_impl = matches!(before, Some(Token::Word(word)) if word == "impl" || word == "as");
        if is_bound || is_impl {
            let what = format!("db is generic over, or implements, the port {word}");
            findings.push(Finding::new(&source.file, *line, what, "take a Context instead"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::metadata::made_up;
    use super::*;

    fn in_db(text: &str) -> Vec<String> {
        let source = Source::new("actors/db/src/node.rs", text);
        check_source(&source).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn the_daemon_may_not_reach_the_simulator_by_any_road() {
        let sim: (&str, &[&str]) = ("orloj-sim", &[]);
        let tests_only = made_up(&[("orloj", &["helper"]), ("helper", &["dev:orloj-sim"]), sim]);
        assert_eq!(check_metadata(&tests_only), []);
        let hidden = made_up(&[("orloj", &["helper"]), ("helper", &["orloj-sim"]), sim]);
        let found = check_metadata(&hidden);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("contains orloj-sim"), "{found:?}");
    }

    #[test]
    fn a_feature_of_db_is_refused() {
        let mut metadata = made_up(&[("orloj-db", &[])]);
        assert_eq!(check_metadata(&metadata), []);
        metadata.packages[0].features.insert("sim".into(), Vec::new());
        assert!(check_metadata(&metadata)[0].what.contains("db has a feature, sim"));
    }

    #[test]
    fn conditional_compilation_in_db_is_refused_but_for_tests() {
        assert_eq!(in_db("#[cfg(test)]\nmod tests;\n// cfg(sim)\nlet s = \"cfg(sim)\";"), [""; 0]);
        assert!(
            in_db("\n#[cfg(sim)]\nfn f() {}")[0].starts_with("actors/db/src/node.rs:2: cfg in")
        );
        assert_eq!(in_db("#[cfg(feature = \"sim\")] fn f() {}").len(), 1);
        assert_eq!(in_db("#[cfg(not(test))] fn f() {}").len(), 1);
        assert_eq!(in_db("if cfg!(sim) {}").len(), 1);
        assert_eq!(in_db("#[cfg_attr(sim, derive(Debug))] struct S;").len(), 1);
        let elsewhere = Source::new("actors/host/src/lib.rs", "#[cfg(unix)] fn f() {}");
        assert_eq!(check_source(&elsewhere), []);
    }

    #[test]
    fn a_type_parameter_for_the_world_is_refused() {
        assert_eq!(in_db("fn f(cx: &Context, disk: &dyn Disk, e: kernel::DiskError) {}"), [""; 0]);
        assert_eq!(in_db("use orloj_kernel::{Clock, Disk};"), [""; 0]);
        assert_eq!(in_db("fn f<R: Runtime>(r: R) {}").len(), 1);
        assert_eq!(in_db("fn f<R>(r: R) where R: Send + orloj_kernel::Clock {}").len(), 1);
        assert_eq!(in_db("fn f(r: impl Network) {}").len(), 1);
        assert_eq!(in_db("impl kernel::Disk for Fake {}").len(), 1);
        assert_eq!(in_db("<R as Entropy>::draw()").len(), 1);
    }
}

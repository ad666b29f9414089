//! Law: a request that was refused before its acceptance leaves no command behind. Only a refusal
//! that says that nobody knows may: a client that had tried before by itself has to say that.
//!
//! Source: specification of causal commands, section 2; `Code::Unavailable`.
//!
//! Broken, a user tries again under a new id what was done already.

use orloj_net::envelope::Code;

use super::{Broken, Case, CommandLaw};
use crate::commands::{End, Fate, Known, Operation, show_envelope};

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "refusal-without-trace",
    promise: "A refused command leaves no trace.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    let is_refused = |op: &&Operation| match &op.end {
        End::Answered { answer: Err(failure), .. } => {
            !matches!(failure.code, Code::Unavailable | Code::Internal)
        }
        _ => false,
    };
    for op in case.history.ops.iter().filter(is_refused) {
        // One of several requests in the same words may have been accepted; as many as that.
        let may = case.asking(&op.envelope).filter(|op| !is_refused(op)).count();
        let survives = |known: &&Known<'_>| case.account.fate(known.accepted) == Fate::Survives;
        let known: Vec<_> = case.accepted(&op.envelope).filter(survives).collect();
        if let Some(last) = known.last().filter(|_| known.len() > may) {
            let evidence = format!(
                "{} asked for {} and was refused; it was accepted as {}, row {}",
                op.id,
                show_envelope(&op.envelope),
                last.id,
                last.row
            );
            let when = case.account.told(last.accepted).seen;
            return Err(Broken::new(when, evidence).ops([op.id]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use orloj_net::envelope::{Code, End};

    use super::LAW;
    use crate::commands::testing::*;

    #[test]
    fn a_refusal_without_a_trace_holds() {
        let mut h = strict();
        let invalid = data(set("k", "a")).after("b");
        h.refuses(&invalid, failure(Code::Invalid, &[("field", "depends_on")]));
        h.holds();
    }

    #[test]
    fn a_refused_command_that_is_carried_out_is_found() {
        let mut h = strict();
        let envelope = data(set("k", "a")).id("a");
        h.runs(&envelope, End::Ok(ok()));
        let mut unknown = h.clone();
        h.is_told(0, Err(failure(Code::StorageFailure, &[])));
        h.breaks(LAW.name, "was refused; it was accepted as a, row 1");
        unknown.is_told(0, Err(failure(Code::Unavailable, &[])));
        unknown.holds();
    }

    #[test]
    fn what_the_disk_took_back_may_be_refused() {
        let mut h = strict();
        let envelope = data(set("k", "a")).id("a");
        h.runs(&envelope, End::Ok(ok()));
        h.undoes(1);
        h.is_told(0, Err(failure(Code::StorageFailure, &[])));
        h.holds();
        // And the next try may succeed.
        h.does(&envelope, ok());
        h.holds();
    }
}

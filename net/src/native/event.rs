//! Events, and the causes of a command.

use planus::{Builder, Offset};

use super::{
    call::write_names,
    outcome::{read_outcome, write_outcome},
    source::{Fault, Source},
    table,
};
use crate::{
    UnixMs,
    envelope::{Causes, Event, Stage},
};

pub(super) fn write_causes(causes: &Causes, to: &mut Builder) -> Offset<table::Causes> {
    let depends_on = write_names(&causes.depends_on, to);
    table::Causes::create(
        to,
        &*causes.id,
        &*causes.name,
        causes.session.as_deref(),
        depends_on,
        causes.if_session_version,
        causes.idempotency_key.as_deref(),
    )
}

pub(super) fn read_causes(
    causes: table::CausesRef<'_>,
    from: &mut Source<'_>,
) -> Result<Causes, Fault> {
    Ok(Causes {
        id: from.name(causes.id()?)?.ok_or(Fault::Table)?,
        name: from.string(causes.name()?)?.into(),
        session: from.name(causes.session()?)?,
        depends_on: from.names(causes.depends_on()?)?,
        if_session_version: causes.if_session_version()?,
        idempotency_key: from.name(causes.idempotency_key()?)?,
    })
}

pub(super) fn write_event<'a>(event: &Event, to: &'a mut Builder) -> &'a [u8] {
    let (stage, outcome) = match &event.stage {
        Stage::Accepted => (0, None),
        Stage::Started => (1, None),
        Stage::Finished(outcome) => (2, Some(outcome)),
    };
    let outcome = outcome.map(|outcome| write_outcome(outcome, to));
    let causes = write_causes(&event.causes, to);
    let root = table::Event::create(to, causes, event.lane_sequence, event.at.0, stage, outcome);
    to.finish(root, None)
}

pub(super) fn read_event(from: &mut Source<'_>) -> Result<Event, Fault> {
    let root: table::EventRef<'_> = from.root()?;
    Ok(Event {
        causes: read_causes(root.causes()?.ok_or(Fault::Table)?, from)?,
        lane_sequence: root.lane_sequence()?,
        at: UnixMs(root.at_unix_ms()?),
        stage: match (root.stage()?, root.outcome()?) {
            (0, _) => Stage::Accepted,
            (1, _) => Stage::Started,
            (2, Some(outcome)) => Stage::Finished(read_outcome(outcome, from)?),
            _ => return Err(Fault::Table),
        },
    })
}

//! Rows of the history in the canonical form.

use super::{
    super::{Record, Row},
    Malformed,
    bytes::{Reader, Writer},
};
use crate::UnixMs;

impl Writer {
    pub(super) fn row(&mut self, row: &Row) {
        let Row { session, lane_sequence, before, at, record } = row;
        self.option(session.as_ref(), |out, session| out.text(session));
        self.number(*lane_sequence);
        self.number(*before);
        self.number(at.0);
        match record {
            Record::Accepted { id, envelope } => {
                self.byte(0);
                self.text(id);
                self.envelope(envelope, true);
            }
            Record::Started { accepted } => {
                self.byte(1);
                self.number(*accepted);
            }
            Record::Finished { accepted, outcome } => {
                self.byte(2);
                self.number(*accepted);
                self.outcome(outcome);
            }
            Record::Whole { id, envelope, outcome } => {
                self.byte(3);
                self.text(id);
                self.envelope(envelope, true);
                self.outcome(outcome);
            }
        }
    }
}

impl Reader<'_> {
    pub(super) fn row(&mut self) -> Result<Row, Malformed> {
        Ok(Row {
            session: self.option(|from| Ok(from.text()?.into()))?,
            lane_sequence: self.number()?,
            before: self.number()?,
            at: UnixMs(self.number()?),
            record: match self.byte()? {
                0 => Record::Accepted {
                    id: self.text()?.into(),
                    envelope: Box::new(self.envelope()?),
                },
                1 => Record::Started { accepted: self.number()? },
                2 => Record::Finished { accepted: self.number()?, outcome: self.outcome()? },
                3 => Record::Whole {
                    id: self.text()?.into(),
                    envelope: Box::new(self.envelope()?),
                    outcome: self.outcome()?,
                },
                _ => return Err(Malformed::Kind),
            },
        })
    }
}

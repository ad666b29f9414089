//! Rows of the history in the canonical form.

use super::{
    super::{Record, Row, Withheld, redaction::Field},
    Malformed,
    bytes::{Reader, Writer},
};
use crate::UnixMs;

impl Writer {
    pub(super) fn withheld(&mut self, withheld: &Withheld) {
        self.0.extend_from_slice(&withheld.fingerprint);
        self.list(&withheld.fields, |out, field| out.byte(*field as u8));
    }

    pub(super) fn row(&mut self, row: &Row) {
        let Row { session, lane_sequence, before, at, record, withheld: _ } = row;
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
    pub(super) fn withheld(&mut self) -> Result<Withheld, Malformed> {
        let (fingerprint, rest) = self.0.split_first_chunk().ok_or(Malformed::Cut)?;
        self.0 = rest;
        let fields = self.list(|from| {
            let number = from.byte()?;
            Field::ALL.into_iter().find(|f| *f as u8 == number).ok_or(Malformed::Kind)
        })?;
        match fields.is_sorted_by(|one, other| one < other) {
            true => Ok(Withheld { fingerprint: *fingerprint, fields }),
            false => Err(Malformed::Kind),
        }
    }

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
            withheld: None,
        })
    }
}

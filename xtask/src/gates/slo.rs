//! What a gate measures, and what it must reach.

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// One number and its bounds.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Slo {
    /// `rows`; `sum F`, `median F`, `largest F` of a field of all rows that have it; `true F`,
    /// `false F`, how many have it so; or `F`, that of the last row that has it: a number, or of a
    /// list its length. A field within another is `outer.inner`.
    pub(super) measure: String,
    pub(super) least: Option<f64>,
    pub(super) most: Option<f64>,
}

/// What was measured.
#[derive(Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) value: Option<f64>,
    pub(super) held: bool,
}

impl Slo {
    pub(super) fn check(&self) -> Result<()> {
        let some = self.least.is_some() || self.most.is_some();
        ensure!(some, "the slo {} has neither a least nor a most", self.measure);
        Ok(())
    }

    /// Whether it fails over nothing.
    pub(super) fn demands(&self) -> bool {
        self.least.is_some_and(|least| least > 0.0)
    }

    /// What there must be a number for is not held without one.
    pub(super) fn judge(&self, rows: &[Value]) -> Measured {
        let value = self.value(rows);
        let held = value.is_some_and(|value| {
            self.least.is_none_or(|least| value >= least)
                && self.most.is_none_or(|most| value <= most)
        });
        Measured { value, held }
    }

    fn value(&self, rows: &[Value]) -> Option<f64> {
        let (how, field) = self.measure.split_once(' ').unwrap_or(("", &self.measure));
        let path = format!("/{}", field.replace('.', "/"));
        let found = || rows.iter().filter_map(|row| row.pointer(&path));
        let mut numbers: Vec<f64> = found().filter_map(number).collect();
        numbers.sort_by(f64::total_cmp);
        let that = |wanted: bool| found().filter(|v| v.as_bool() == Some(wanted)).count() as f64;
        match (how, field) {
            ("", "rows") => Some(rows.len() as f64),
            ("", _) => found().filter_map(number).next_back(),
            ("sum", _) => (!numbers.is_empty()).then(|| numbers.iter().sum()),
            ("median", _) => numbers.get(numbers.len() / 2).copied(),
            ("largest", _) => numbers.last().copied(),
            ("true", _) => Some(that(true)),
            ("false", _) => Some(that(false)),
            _ => None,
        }
    }

    /// Whether a row is of those that it wants none of.
    pub(super) fn blames(&self, row: &Value) -> bool {
        let field = self.measure.strip_prefix("false ").or(self.measure.strip_prefix("true "));
        field.is_some_and(|field| row.get(field) == Some(&Value::Bool(false)))
    }

    /// Its bounds in words.
    pub(super) fn bounds(&self) -> String {
        match (self.least, self.most) {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            (Some(least), None) => format!("at least {least}"),
            (None, Some(most)) => format!("at most {most}"),
            (None, None) => String::new(),
        }
    }
}

impl Measured {
    pub(super) fn shown(&self) -> String {
        self.value.map_or("not measured".to_owned(), |value| {
            format!("{}", (value * 100.0).round() / 100.0)
        })
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Array(list) => Some(list.len() as f64),
        _ => None,
    }
}

/// The JSON objects among the lines of a text, or the one that it is.
pub(super) fn rows(text: &str) -> Vec<Value> {
    if let Ok(whole @ Value::Object(_)) = serde_json::from_str(text) {
        return vec![whole];
    }
    let objects = text.lines().filter(|line| line.starts_with('{'));
    objects.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "building\n{\"cpu\": 3, \"killed\": true, \"in\": {\"list\": [1, 2]}}\n\
                        {\"cpu\": 1, \"killed\": true}\n{\"cpu\": 8, \"killed\": false}\n{broken\n";

    fn value(measure: &str) -> Option<f64> {
        Slo { measure: measure.to_owned(), least: None, most: None }.value(&rows(TEXT))
    }

    #[test]
    fn measures_are_of_all_rows_or_of_the_last() {
        assert_eq!(value("rows"), Some(3.0));
        assert_eq!((value("sum cpu"), value("median cpu")), (Some(12.0), Some(3.0)));
        assert_eq!((value("largest cpu"), value("cpu")), (Some(8.0), Some(8.0)));
        assert_eq!((value("true killed"), value("false killed")), (Some(2.0), Some(1.0)));
        assert_eq!(value("in.list"), Some(2.0));
        assert_eq!((value("sum ops"), value("ops"), value("mean cpu")), (None, None, None));
    }

    #[test]
    fn a_file_may_be_one_object_over_many_lines() {
        let whole = rows("{\n  \"runs\": 7\n}\n");
        assert_eq!((whole.len(), whole[0]["runs"].as_u64()), (1, Some(7)));
    }

    #[test]
    fn bounds_belong_to_what_is_held_and_nothing_holds_nothing() {
        let judge = |least, most, text: &str| {
            Slo { measure: "median cpu".to_owned(), least, most }.judge(&rows(text)).held
        };
        assert!(judge(Some(3.0), Some(3.0), TEXT));
        assert!(!judge(Some(3.5), None, TEXT));
        assert!(!judge(None, Some(2.5), TEXT));
        assert!(!judge(None, Some(100.0), ""), "what was not measured is not within bounds");
    }
}

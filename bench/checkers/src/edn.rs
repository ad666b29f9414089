//! As much of EDN as published histories need: values as a tree.

use anyhow::{Context, Result, bail};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Edn {
    /// `nil`
    Nil,
    /// A number; those with a fraction are cut.
    Int(i64),
    /// A string, keyword or symbol, as it is spelt without quotes and colon.
    Word(String),
    /// A vector, list or set.
    List(Vec<Edn>),
    /// A map.
    Map(Vec<(Edn, Edn)>),
}

impl Edn {
    /// What a map holds under a keyword.
    pub(crate) fn get(&self, key: &str) -> Option<&Edn> {
        let Edn::Map(pairs) = self else { return None };
        pairs.iter().find(|(k, _)| matches!(k, Edn::Word(word) if word == key)).map(|(_, v)| v)
    }

    /// The word it is.
    pub(crate) fn word(&self) -> Option<&str> {
        if let Edn::Word(word) = self { Some(word) } else { None }
    }

    /// The number it is.
    pub(crate) fn int(&self) -> Option<i64> {
        if let Edn::Int(int) = self { Some(*int) } else { None }
    }

    /// The list it is; nothing is an empty one.
    pub(crate) fn list(&self) -> &[Edn] {
        if let Edn::List(list) = self { list } else { &[] }
    }

    /// It as a key.
    pub(crate) fn show(&self) -> String {
        match self {
            Edn::Int(int) => int.to_string(),
            Edn::Word(word) => word.clone(),
            other => format!("{other:?}"),
        }
    }
}

/// Every value of a text, the members of an outermost list one by one.
pub(crate) fn read(text: &str) -> Result<Vec<Edn>> {
    let mut reader = Reader { rest: text };
    let mut values = Vec::new();
    while let Some(value) = reader.value()? {
        match value {
            Edn::List(items) if items.iter().all(|item| matches!(item, Edn::Map(_))) => {
                values.extend(items);
            }
            other => values.push(other),
        }
    }
    Ok(values)
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if !self.rest.starts_with(';') {
                return;
            }
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        }
    }

    fn value(&mut self) -> Result<Option<Edn>> {
        self.skip();
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        match first {
            '[' | '(' => {
                let end = if first == '[' { ']' } else { ')' };
                Ok(Some(Edn::List(self.until(end)?)))
            }
            '{' => {
                let items = self.until('}')?;
                let pairs = items.chunks(2).map(|pair| match pair {
                    [key, value] => Ok((key.clone(), value.clone())),
                    _ => bail!("a map has a key without a value"),
                });
                Ok(Some(Edn::Map(pairs.collect::<Result<_>>()?)))
            }
            '#' => {
                // A set, or a tag whose value is as good without.
                let tag = self.rest[1..].find(|c: char| "{[(\" ".contains(c)).unwrap_or(0);
                self.rest = &self.rest[1 + tag..];
                if tag == 0 && self.rest.starts_with('{') {
                    return Ok(Some(Edn::List(self.until('}')?)));
                }
                self.value()
            }
            '"' => {
                let end = self.rest[1..].find('"').context("a string does not end")?;
                let word = self.rest[1..=end].to_owned();
                self.rest = &self.rest[end + 2..];
                Ok(Some(Edn::Word(word)))
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || ",[](){}\";".contains(c);
                let end = self.rest.find(ends).unwrap_or(self.rest.len());
                let word = &self.rest[..end];
                if word.is_empty() {
                    bail!("{first} stands alone");
                }
                self.rest = &self.rest[end..];
                Ok(Some(match (word, word.parse::<f64>()) {
                    ("nil", _) => Edn::Nil,
                    (_, Ok(number)) => Edn::Int(word.parse().unwrap_or(number as i64)),
                    _ => Edn::Word(word.trim_start_matches(':').to_owned()),
                }))
            }
        }
    }

    fn until(&mut self, end: char) -> Result<Vec<Edn>> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        loop {
            self.skip();
            if let Some(rest) = self.rest.strip_prefix(end) {
                self.rest = rest;
                return Ok(items);
            }
            items.push(self.value()?.with_context(|| format!("no {end}"))?);
        }
    }
}

//! FlatBuffers schemas as far as ours go: namespaces, structs, tables, unions, one root.

use anyhow::{Result, bail, ensure};
use std::collections::BTreeMap;
use std::fmt;

/// What a schema declares.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Schema {
    pub(super) declared: BTreeMap<String, Declared>,
    /// Files of a schema with a root are FlatBuffers; one without it lists bytes that are written
    /// by hand.
    pub(super) root: Option<String>,
}

/// One declaration, members in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Declared {
    Struct(Vec<Field>),
    Table(Vec<Field>),
    Union(Vec<String>),
}

/// A field of a struct or table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) of: String,
    pub(super) is_required: bool,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let required = if self.is_required { " (required)" } else { "" };
        write!(f, "{}: {}{required}", self.name, self.of)
    }
}

/// Words and signs that are not read yet.
struct Tokens<'a>(std::vec::IntoIter<&'a str>);

/// Reads a schema.
///
/// # Errors
/// What is not understood: a check that skips something would call it unchanged.
pub(super) fn parse(text: &str) -> Result<Schema> {
    let mut tokens = Tokens(split(text).into_iter());
    let mut schema = Schema::default();
    while let Some(word) = tokens.0.next() {
        match word {
            "namespace" | "include" => {
                tokens.until(";")?;
            }
            "root_type" => schema.root = Some(tokens.until(";")?),
            "struct" | "table" | "union" => {
                let name = tokens.until("{")?;
                let declared = match word {
                    "struct" => Declared::Struct(tokens.fields()?),
                    "table" => Declared::Table(tokens.fields()?),
                    _ => Declared::Union(tokens.members()?),
                };
                let before = schema.declared.insert(name.clone(), declared);
                ensure!(before.is_none(), "{name} is declared twice");
            }
            other => bail!("{other:?} is not understood; teach it to xtask/src/schemas/fbs.rs"),
        }
    }
    Ok(schema)
}

/// Cuts a text into words and signs; comments are left out.
fn split(text: &str) -> Vec<&str> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '"');
    let mut tokens = Vec::new();
    for line in lines {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let end = match is_word(first) {
                true => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                false => first.len_utf8(),
            };
            let (token, behind) = rest.split_at(end);
            tokens.push(token);
            rest = behind.trim_start();
        }
    }
    tokens
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Result<&'a str> {
        self.0.next().ok_or_else(|| anyhow::anyhow!("it ends in the middle of a declaration"))
    }

    /// All words up to a sign, in one.
    fn until(&mut self, end: &str) -> Result<String> {
        let mut all = String::new();
        loop {
            match self.next()? {
                token if token == end => return Ok(all),
                token => all.push_str(token),
            }
        }
    }

    /// `name: type (attributes);` up to the brace.
    fn fields(&mut self) -> Result<Vec<Field>> {
        let mut fields = Vec::new();
        loop {
            let name = match self.next()? {
                "}" => return Ok(fields),
                name => name.to_owned(),
            };
            ensure!(self.next()? == ":", "a type is missing behind {name:?}");
            let whole = self.until(";")?;
            let (of, attributes) = whole.split_once('(').unwrap_or((&whole, ")"));
            let is_required = match attributes {
                "required)" => true,
                ")" => false,
                other => bail!("the attributes {other:?} of {name:?} are not understood"),
            };
            fields.push(Field { name, of: of.to_owned(), is_required });
        }
    }

    fn members(&mut self) -> Result<Vec<String>> {
        let all = self.until("}")?;
        Ok(all.split(',').filter(|name| !name.is_empty()).map(String::from).collect())
    }
}

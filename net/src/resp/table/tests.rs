use super::*;

/// The command table of the book, from the one table there is.
fn documented() -> String {
    let mut text = String::from("| command | what it does |\n| --- | --- |\n");
    for spec in &COMMANDS {
        let rows: Vec<&Spec> =
            if spec.subs.is_empty() || spec.arity == -1 { vec![spec] } else { vec![] };
        for row in rows.into_iter().chain(spec.subs) {
            let name = row.full.replace('|', " ").to_ascii_uppercase();
            let usage = format!("{name} {}", row.usage).trim_end().replace('|', "\\|");
            text += &format!("| `{usage}` | {} |\n", row.summary);
        }
    }
    text
}

/// The book documents every command and none that is not there.
#[test]
fn the_book_has_the_same_table() {
    let book = include_str!("../../../../docs/src/resp.md");
    let table = documented();
    assert!(book.contains(&table), "docs/src/resp.md must contain this table:\n\n{table}");
}

#[test]
fn keys_are_where_the_table_says() {
    let places = |name: &str, len| -> Vec<usize> {
        find(name.as_bytes()).expect(name).key_places(len).collect()
    };
    assert_eq!(places("get", 2), [1]);
    assert_eq!(places("set", 5), [1]);
    assert_eq!(places("del", 4), [1, 2, 3]);
    assert_eq!(places("mset", 5), [1, 3]);
    assert_eq!(places("ping", 2), [0; 0]);
    assert_eq!(places("del", 1), [0; 0]);
}

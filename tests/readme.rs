//! The README is held to its word: what it lists is what there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use gripfast::metrics;

fn readme() -> String {
    fs::read_to_string("README.md").expect("it is there")
}

/// Words in back quotes in the first cell of the rows of the table that follows `heading`.
fn first_cells(heading: &str) -> BTreeSet<String> {
    let text = readme();
    let from = text.find(heading).unwrap_or_else(|| panic!("no {heading}"));
    text[from + heading.len()..]
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn it_lists_all_metrics_and_no_others() {
    let listed = first_cells("### Metrics");
    let known: BTreeSet<String> = metrics::ALL.iter().map(|one| one.name.to_owned()).collect();
    assert_eq!(listed, known);
}

#[test]
fn it_lists_all_config_keys_and_no_others() {
    let yaml = fs::read_to_string("config.yaml").expect("it is there");
    let mut section = String::new();
    let mut known = BTreeSet::new();
    for line in yaml.lines() {
        let Some((key, _)) = line.split_once(':') else {
            continue;
        };
        match key.strip_prefix("  ") {
            None if !key.starts_with('#') => section = key.to_owned(),
            Some(key) if !key.starts_with([' ', '#']) => {
                known.insert(format!("{section}.{key}"));
            }
            _ => {}
        }
    }
    assert_eq!(first_cells("## Configuration"), known);
}

#[test]
fn it_shows_the_errors_that_we_answer() {
    let source = fs::read_to_string("src/error.rs").expect("it is there");
    for shown in first_cells("## Errors that your application can see") {
        let opening: String = shown
            .split('…')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        assert!(source.contains(&opening), "{shown}");
    }
}

#[test]
fn every_test_that_it_names_exists() {
    let text = readme();
    let mut named = 0;
    for quoted in text.split('`').skip(1).step_by(2) {
        let Some((path, tests)) = quoted
            .split_once(".rs")
            .filter(|(path, _)| path.starts_with("tests/") || path.starts_with("src/"))
        else {
            continue;
        };
        let file = format!("{path}.rs");
        assert!(Path::new(&file).exists(), "{file}");
        named += 1;
        if let Some(test) = tests.strip_prefix("::") {
            let source = fs::read_to_string(&file).expect("it is there");
            assert!(source.contains(&format!("fn {test}(")), "{quoted}");
        }
    }
    assert!(named > 10, "the guarantees name their tests");
}

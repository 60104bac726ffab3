//! The examples, run to their end.

#[path = "../../examples/embed.rs"]
mod embed;
#[path = "../../examples/evaluate.rs"]
mod evaluate;

#[test]
fn embed_runs() {
    embed::main().unwrap();
}

#[test]
fn evaluate_runs() {
    evaluate::main().unwrap();
}

//! Sequences of operations against the model of `fakehost`.

use fakehost::model::{Bytes, Model, any_config};
use fakehost::reached::Reached;

/// So many steps of one input are taken: a longer one says nothing that a shorter one does not.
const STEPS: usize = 400;
/// After so many the store is looked through.
const LOOKS: usize = 16;

/// Runs the operations that the bytes name, the server's configuration first. What was seen of the core.
pub fn states(bytes: &[u8]) -> Reached {
    let mut choices = Bytes(bytes);
    let config = any_config(&mut choices);
    let mut model = Model::new(choices, config);
    for step in 1..=STEPS {
        if model.choices.0.is_empty() {
            break;
        }
        model.step();
        if step % LOOKS == 0 {
            model.world.store.check().unwrap_or_else(|e| panic!("step {step}: {e}"));
        }
    }
    model.finish();
    model.reached.clone()
}

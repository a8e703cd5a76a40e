//! Experts as files of Mixtral's layout keep them: a tensor for each matrix of each expert, which the engine puts together.

use crate::model::{Axis, Role, Rule};

/// The parameter of a router or of all experts of a layer, as files name it: the router's alone, or an expert's matrix.
pub(super) fn part(rule: &Rule, number: u64) -> Option<Rule> {
    const BLOCK: &str = "layers.{}.block_sparse_moe";
    let stem = rule.name.strip_prefix("layers.{}.mlp.")?;
    let named = |name: String, axes: Vec<Axis>| Some(Rule { name: name.into(), axes, ..rule.clone() });
    let [count, output, input] = rule.axes.as_slice() else {
        return if stem == "gate.weight" && number == 0 {
            named(format!("{BLOCK}.gate.weight"), rule.axes.clone())
        } else {
            None
        };
    };
    if rule.role != Role::Experts {
        return None;
    }
    // Gate (w1) and input (w3) of one expert lie one behind the other in the parameter.
    let matrices: &[&str] = if stem == "experts.gate_up_proj" { &["w1", "w3"] } else { &["w2"] };
    let each = u64::try_from(matrices.len()).ok()?;
    let (expert, which) = (number.checked_div(each)?, number.checked_rem(each)?);
    if expert >= count.size {
        return None;
    }
    let matrix = matrices.get(usize::try_from(which).ok()?)?;
    let rows = Axis { size: output.size.checked_div(each)?, ..*output };
    named(format!("{BLOCK}.experts.{expert}.{matrix}.weight"), vec![rows, *input])
}

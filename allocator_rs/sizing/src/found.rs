//! Sums over the files' tensors.

use std::collections::BTreeMap;

use crate::architecture::Architecture;
use crate::dtype::StoredDtype;
use crate::held::LeftOut;
use crate::logical::{Meaning, meaning};
use crate::math::sum;
use crate::model::Tally;
use crate::safetensors::{Tensor, Tensors};
use crate::{Result, WeightDtype};

const WHAT: &str = "the stored bytes";

/// What the tensors of all files add up to.
pub(crate) struct Found {
    /// Parameters that an engine holds, packed ones by what they stand for.
    pub tally: Tally,
    /// Bytes of all tensors, held or not.
    pub bytes: u64,
    /// The dtype of most of the parameters' bytes.
    pub dtype: StoredDtype,
    /// Parameters that are packed.
    pub packed: u64,
    /// Parameters of heads that predict further tokens.
    pub further: u64,
    /// Elements of a head that the config ties and the files keep apart.
    pub separate_head: u64,
}

impl Found {
    /// Add all tensors up; `bits`: of one packed value, where a config says that weights are packed.
    pub fn of(architecture: &Architecture, tensors: &Tensors, left_out: &LeftOut, bits: Option<u64>) -> Result<Self> {
        let mut found = Self {
            tally: Tally::default(),
            bytes: 0,
            dtype: StoredDtype::F32,
            packed: 0,
            further: 0,
            separate_head: 0,
        };
        let mut most = BTreeMap::<StoredDtype, u64>::new();
        for (name, tensor) in tensors {
            found.bytes = sum(WHAT, &[found.bytes, tensor.bytes()])?;
            if architecture.family.is_buffer(name) {
                continue;
            }
            let bytes = most.entry(tensor.dtype).or_default();
            *bytes = bytes.saturating_add(tensor.bytes());
        }
        if let Some((dtype, _)) = most.into_iter().max_by_key(|(dtype, bytes)| (*bytes, dtype.bits())) {
            found.dtype = dtype;
        }
        let packed = bits.is_some() || found.dtype.as_weight().is_none();
        for (name, tensor) in tensors {
            if architecture.family.is_buffer(name) {
                continue;
            }
            let stands_for = if packed {
                meaning(name, tensor, tensors, bits.unwrap_or(8))
            } else {
                Meaning::Plain(tensor.elements())
            };
            found.add(name, tensor, stands_for, left_out)?;
        }
        Ok(found)
    }

    /// What packed weights are called where no config says it; None where they are not packed.
    pub fn packed_format(&self) -> Option<WeightDtype> {
        match self.dtype {
            StoredDtype::F8E4m3 | StoredDtype::F8E5m2 | StoredDtype::F8E4m3Fnuz | StoredDtype::F8E5m2Fnuz => {
                Some(WeightDtype::Fp8)
            }
            StoredDtype::I8 => Some(WeightDtype::Packed("INT8_ROWS")),
            dtype if dtype.as_weight().is_some() => None,
            _ => Some(WeightDtype::Packed("PACKED")),
        }
    }

    fn add(&mut self, name: &str, tensor: &Tensor, stands_for: Meaning, left_out: &LeftOut) -> Result<()> {
        let (elements, is_packed) = match stands_for {
            Meaning::Plain(elements) => (elements, false),
            Meaning::Packed(elements) => (elements, true),
            Meaning::Beside => return Ok(()),
        };
        if left_out.is_further(name) {
            self.further = sum(WHAT, &[self.further, elements])?;
        }
        if left_out.holds(name) {
            return Ok(());
        }
        if left_out.different.as_deref() == Some(name) {
            self.separate_head = elements;
        }
        if is_packed {
            self.packed = sum(WHAT, &[self.packed, elements])?;
        }
        let tally = &mut self.tally;
        tally.parameters = sum(WHAT, &[tally.parameters, elements])?;
        let table = ["embed", "wte", "wpe", "lm_head"].iter().any(|part| name.contains(part));
        match (&tensor.shape[..], table) {
            ([_, _], true) => tally.embedding = sum(WHAT, &[tally.embedding, elements])?,
            ([rows, _], false) => {
                tally.linear = sum(WHAT, &[tally.linear, elements])?;
                tally.linear_rows = sum(WHAT, &[tally.linear_rows, *rows])?;
                tally.largest_linear = tally.largest_linear.max(elements);
            }
            ([_, _, _], false) => tally.experts = sum(WHAT, &[tally.experts, elements])?,
            _ => {}
        }
        Ok(())
    }
}

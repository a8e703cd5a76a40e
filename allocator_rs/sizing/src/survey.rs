//! Whatever can be sized, served by the embedded engine or not: directories, GGUF files, a config alone.

use std::path::Path;

use files::open_regular;

use crate::catalogue::{Architecture, FOREIGN, find_any, task_of};
use crate::checkpoint::{estimate, read_tensors, task_in};
use crate::config::{CONFIG_LIMIT_BYTES, Fields};
use crate::file_errors::describe;
use crate::folder::Folder;
use crate::found::Found;
pub use crate::gguf_survey::from_gguf;
use crate::gguf_survey::survey_gguf;
use crate::held::{LeftOut, held_bytes};
use crate::index::Shards;
use crate::model::{Model, Tally};
use crate::quantisation::{Quantisation, beside};
use crate::safetensors::Tensors;
use crate::source::{CONFIG_NAME, Source, file_name, read_bounded};
use crate::tokenizer::Tokenizer;
use crate::{Checkpoint, Result, SizingError, WeightDtype};

/// Read a directory, a GGUF file or a `config.json`.
///
/// An architecture that the catalogue does not have is answered by its tensors; a model that brings code is sized and not
/// run.
///
/// # Errors
/// One [`SizingError`] variant a cause; [`SizingError::ArchitectureUnknown`] where there are no tensors either.
pub fn survey(path: &Path, root: Option<&Path>) -> Result<Checkpoint> {
    if path.is_dir() {
        return survey_directory(path, root);
    }
    let name = file_name(path);
    let open = || open_regular(path).map_err(|error| describe(&name, &error));
    if name.to_ascii_lowercase().ends_with(".gguf") {
        // By the name that was given: a link may lead to a file of another name, and no part is beside that one.
        return survey_gguf(&Folder::open(path.parent().unwrap_or(Path::new("")), root)?, &name);
    }
    survey_config(&read_bounded(open()?, &name, CONFIG_LIMIT_BYTES)?)
}

/// Read a config alone: an estimate, exact in its parameter count.
///
/// # Errors
/// As [`survey`].
pub fn survey_config(text: &[u8]) -> Result<Checkpoint> {
    estimate_of(&Fields::parse(text)?, None)
}

fn estimate_of(fields: &Fields, beside: Option<(&'static str, Fields)>) -> Result<Checkpoint> {
    let architecture = find_any(fields.architecture()?)?;
    let mut checkpoint = estimate(architecture, architecture.family.build(architecture, fields)?)?;
    if let Some(found) = Quantisation::of(fields, beside)? {
        checkpoint.stored_dtype = found.format;
        checkpoint.method.clone_from(&found.method);
        checkpoint.stored_block = found.block();
        let prefix = if architecture.prefix.is_empty() { "model." } else { architecture.prefix };
        let element = checkpoint.element_bytes(found.format);
        let (packed, bytes) = found.estimate(&checkpoint.model, prefix, element)?;
        (checkpoint.packed_parameters, checkpoint.stored_bytes, checkpoint.held_bytes) = (packed, bytes, bytes);
        remark_cache(&found, &mut checkpoint.warnings);
    }
    let apart = checkpoint.model.mtp_parameters;
    checkpoint.warnings.extend(LeftOut::default().remarks(apart));
    remark_code(fields, &mut checkpoint);
    Ok(checkpoint)
}

fn survey_directory(directory: &Path, root: Option<&Path>) -> Result<Checkpoint> {
    let source = Source::open(directory, root, false)?;
    if !source.has(CONFIG_NAME)
        && let Some(name) = source.gguf_model()?
    {
        return survey_gguf(source.folder(), &name);
    }
    let text = read_bounded(source.open_file(CONFIG_NAME)?, CONFIG_NAME, CONFIG_LIMIT_BYTES)?;
    let fields = Fields::parse(&text)?;
    let beside = beside(&source)?;
    if !source.is_sharded() && !source.has(crate::source::SINGLE_NAME) {
        source.refuse_loose_shards()?;
        return estimate_of(&fields, beside);
    }
    let quantisation = Quantisation::of(&fields, beside)?;
    let (shards, tensors) = read_tensors(&source)?;
    let mut checkpoint = from_tensors(&fields, quantisation.as_ref(), &source, (&shards, &tensors))?;
    checkpoint.files = source.engine_files(&shards.names());
    checkpoint.tokenizer = Tokenizer::of(&source)?;
    remark_code(&fields, &mut checkpoint);
    Ok(checkpoint)
}

/// What the files' headers say, with the config's dimensions.
fn from_tensors(
    fields: &Fields,
    quantisation: Option<&Quantisation>,
    source: &Source,
    (shards, tensors): (&Shards, &Tensors),
) -> Result<Checkpoint> {
    let name = fields.architecture()?;
    let (known, mut model) = build_any(name, fields)?;
    let architecture: &'static Architecture = known.as_ref().map_or(&FOREIGN, |row| *row);
    let task = task_in(source, known.as_ref().map_or_else(|_| task_of(name), |row| row.task), &mut model);
    let left_out = LeftOut::of(&model, source, shards, tensors)?;
    let found = Found::of(architecture, tensors, &left_out, quantisation.map(|found| found.bits))?;
    model.mtp_parameters = found.further;
    let format = quantisation.map(|found| found.format).or_else(|| found.packed_format());
    let mut warnings = Vec::new();
    let mut tally = Tally::of(&model.rules, model.shape.layers)?;
    if let Err(error) = &known {
        tally = found.tally;
        warnings.push(remark_unruled(name, error));
    } else {
        tally.add_head(found.separate_head)?;
        if format.is_none() && found.tally.parameters != tally.parameters {
            let (files, config) = (found.tally.parameters, tally.parameters);
            warnings
                .push(format!("the files hold {files} parameters and the config describes {config}: the files count"));
            tally.parameters = files;
        }
    }
    match quantisation {
        Some(found) => remark_cache(found, &mut warnings),
        None if format.is_some() => {
            warnings.push("the files hold packed weights and no config says how: their bytes count".to_owned());
        }
        None => {}
    }
    warnings.extend(left_out.remarks(found.further));
    let stored_dtype = format.or(found.dtype.as_weight()).or(model.config_dtype).unwrap_or(WeightDtype::Bf16);
    Ok(Checkpoint {
        architecture,
        name: name.chars().take(80).collect(),
        task,
        parameter_count: tally.parameters,
        tally,
        stored_dtype,
        stored_bytes: found.bytes,
        held_bytes: held_bytes(architecture, tensors, &left_out)?,
        packed_parameters: found.packed,
        stored_block: quantisation.map_or((0, 0), Quantisation::block),
        separate_head: found.separate_head,
        has_weights: true,
        put_together: is_put_together(architecture, &model, tensors),
        files: Vec::new(),
        contents: Vec::new(),
        warnings,
        method: quantisation.map(|found| found.method.clone()).unwrap_or_default(),
        asks_for_code: false,
        tokenizer: None,
        model,
    })
}

/// The model by the catalogue's rules, or by the usual fields where it has none, or where those of a wrapper fail.
fn build_any(name: &str, fields: &Fields) -> Result<(Result<&'static Architecture>, Model)> {
    let row = match find_any(name) {
        Ok(row) => row,
        Err(error) => return Ok((Err(error), FOREIGN.family.build(&FOREIGN, fields)?)),
    };
    match (row.family.build(row, fields), row.family.for_files(fields)) {
        (Ok(model), _) => Ok((Ok(row), model)),
        (Err(error), Some(fields)) => Ok((Err(error), FOREIGN.family.build(&FOREIGN, &fields)?)),
        (Err(error), None) => Err(error),
    }
}

/// Why the files' tensors are all that is known of the weights.
fn remark_unruled(name: &str, error: &SizingError) -> String {
    let why = match error {
        SizingError::ArchitectureUnknown { .. } => format!("the catalogue has no {name:.80}"),
        failed => format!("the rules of {name:.80} cannot read this config ({failed})"),
    };
    format!("{why}: weights are the files' tensors, the rest is unverified")
}

/// Whether the files keep the second part of a parameter in a tensor of its own.
fn is_put_together(architecture: &Architecture, model: &Model, tensors: &Tensors) -> bool {
    model
        .rules
        .iter()
        .filter_map(|rule| architecture.family.part(rule, 1))
        .any(|part| tensors.contains_key(&format!("{}{}", architecture.prefix, part.name.replace("{}", "0"))))
}

/// Say that keys and values are meant to be kept in 8 bit: sizes count the compute dtype unless it is asked for.
fn remark_cache(quantisation: &Quantisation, warnings: &mut Vec<String>) {
    if quantisation.cache_in_8_bit {
        let place = &quantisation.place;
        warnings.push(format!("{place} asks for keys and values in 8 bit: kv_dtype=FP8 sizes them so"));
    }
}

/// Say that a checkpoint asks for its own code.
fn remark_code(fields: &Fields, checkpoint: &mut Checkpoint) {
    if fields.has("auto_map") {
        checkpoint.asks_for_code = true;
        checkpoint
            .warnings
            .push("config.json: auto_map asks for the repository's own Python code, which is never run".to_owned());
    }
}

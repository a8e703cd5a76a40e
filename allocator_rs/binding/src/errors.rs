//! One exception class for each variant of each crate's error enum.

use digest::DigestError;
use gguf::GgufError;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use reservoir::ReservoirError;
use sizing::SizingError;

create_exception!(echoplaned._allocator, AllocatorError, PyException, "Base of every error of this module.");

macro_rules! exceptions {
    ($($name:ident: $doc:literal,)*) => {
        $(create_exception!(echoplaned._allocator, $name, AllocatorError, $doc);)*

        /// Add every class to the module.
        pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
            let python = module.py();
            module.add("AllocatorError", python.get_type::<AllocatorError>())?;
            $(module.add(stringify!($name), python.get_type::<$name>())?;)*
            Ok(())
        }
    };
}

exceptions! {
    FileMissingError: "A file that must be there is not.",
    FileUnreadableError: "A file is there and cannot be read.",
    FileTooLargeError: "A file is larger than what is read of its kind.",
    FilesTooLargeError: "The files of one model have more together than is read.",
    SourceUnsafeError: "The checkpoint holds something that could run code.",
    SourceUnsupportedError: "A field asks for something that the engine does not have.",
    SourceIncompleteError: "A file stands for another one that was not fetched.",
    OutsideRootError: "A file leads out of the allowed root by a link.",
    HeaderTruncatedError: "The header's stated length does not fit into the file.",
    HeaderTooLargeError: "The header's stated length is over the format's cap.",
    HeaderInvalidError: "The header is not the JSON that the format asks for.",
    DtypeUnknownError: "A tensor's dtype is not one of the format's.",
    DtypeUnsupportedError: "A dtype that is known, and that the engine cannot serve.",
    TensorSizeError: "A tensor's bytes differ from what its shape and dtype need.",
    TensorOverlapError: "Two tensors share bytes.",
    TensorGapError: "Bytes that belong to no tensor.",
    TensorOverrunError: "A tensor ends behind the end of the file.",
    TensorDuplicateError: "A tensor is named twice.",
    TensorMissingError: "The architecture needs a tensor that the files do not have.",
    TensorUnexpectedError: "The files have a tensor that the architecture does not.",
    IndexInvalidError: "The index of a sharded checkpoint is not valid.",
    ShardMismatchError: "The index and a shard disagree.",
    ConfigInvalidError: "config.json is not a JSON object.",
    FieldMissingError: "The config lacks a field that the architecture needs.",
    FieldInvalidError: "A field of the config is of the wrong kind or out of range.",
    FeatureUnsupportedError: "A field asks for something that the catalogue has no rule for.",
    ArchitectureUnknownError: "The architecture is not in the catalogue.",
    ConfigMismatchError: "The config and the tensors disagree.",
    QuantisationIneffectiveError: "INT8 would leave most of the model as it is.",
    ContextInvalidError: "The context length is outside what the model has.",
    ConcurrencyInvalidError: "The concurrency is zero or beyond reason.",
    SplitInvalidError: "A split over ranks or stages that the engine cannot make.",
    OptionInvalidError: "An option of the engine is out of range.",
    EngineDtypeError: "An engine does not hold weights in a dtype.",
    GgufMagicInvalidError: "The file does not begin as a GGUF file.",
    GgufVersionUnsupportedError: "A version of GGUF that is not read.",
    GgufHeaderTruncatedError: "A GGUF file ends within its header.",
    GgufLimitExceededError: "A count or a length in a GGUF file is beyond what is read.",
    GgufFieldInvalidError: "A key or a tensor of a GGUF file is not what the format allows.",
    GgufKindUnknownError: "A GGUF tensor's type is not in the table of types.",
    GgufTensorOverlapError: "Two GGUF tensors share bytes.",
    GgufTensorGapError: "Bytes of a GGUF file that belong to no tensor.",
    GgufTensorOverrunError: "A GGUF tensor ends behind the end of the file.",
    GgufDuplicateError: "A GGUF key or tensor is named twice.",
    BatchInvalidError: "Columns of a batch differ in length.",
    ArithmeticOverflowError: "A byte count does not fit into 64 bits.",
    NameUnknownError: "A dtype or an engine that this module does not know.",
    ReadingInvalidError: "A measurement to calibrate with is not a number that memory can have.",
    DeviceDuplicateError: "Two devices have one name.",
    ReplicasInvalidError: "The number of replicas is zero or beyond reason.",
    OverrideInvalidError: "A reservoir override is out of range.",
    DigestUnreadableError: "A file cannot be read for its digest.",
    DigestChangedError: "A file changed while a checkpoint was read.",
    DigestStoppedError: "A digest was stopped.",
    NativePanicError: "A mistake of this module: it panicked.",
}

/// The exception of a sizing error.
pub fn sizing(error: &SizingError) -> PyErr {
    let text = error.to_string();
    match error {
        SizingError::FileMissing { .. } => FileMissingError::new_err(text),
        SizingError::FileUnreadable { .. } => FileUnreadableError::new_err(text),
        SizingError::FileTooLarge { .. } => FileTooLargeError::new_err(text),
        SizingError::FilesTooLarge { .. } => FilesTooLargeError::new_err(text),
        SizingError::SourceUnsafe { .. } => SourceUnsafeError::new_err(text),
        SizingError::OutsideRoot { .. } => OutsideRootError::new_err(text),
        SizingError::HeaderTruncated { .. } => HeaderTruncatedError::new_err(text),
        SizingError::HeaderTooLarge { .. } => HeaderTooLargeError::new_err(text),
        SizingError::HeaderInvalid { .. } => HeaderInvalidError::new_err(text),
        SizingError::DtypeUnknown { .. } => DtypeUnknownError::new_err(text),
        SizingError::DtypeUnsupported { .. } => DtypeUnsupportedError::new_err(text),
        SizingError::TensorSize { .. } => TensorSizeError::new_err(text),
        SizingError::TensorOverlap { .. } => TensorOverlapError::new_err(text),
        SizingError::TensorGap { .. } => TensorGapError::new_err(text),
        SizingError::TensorOverrun { .. } => TensorOverrunError::new_err(text),
        SizingError::TensorDuplicate { .. } => TensorDuplicateError::new_err(text),
        SizingError::TensorMissing { .. } => TensorMissingError::new_err(text),
        SizingError::TensorUnexpected { .. } => TensorUnexpectedError::new_err(text),
        SizingError::SourceUnsupported { .. } => SourceUnsupportedError::new_err(text),
        SizingError::SourceIncomplete { .. } => SourceIncompleteError::new_err(text),
        SizingError::IndexInvalid { .. } => IndexInvalidError::new_err(text),
        SizingError::ShardMismatch { .. } => ShardMismatchError::new_err(text),
        SizingError::ConfigInvalid { .. } => ConfigInvalidError::new_err(text),
        SizingError::FieldMissing { .. } => FieldMissingError::new_err(text),
        SizingError::FieldInvalid { .. } => FieldInvalidError::new_err(text),
        SizingError::FeatureUnsupported { .. } => FeatureUnsupportedError::new_err(text),
        SizingError::ArchitectureUnknown { .. } => ArchitectureUnknownError::new_err(text),
        SizingError::ConfigMismatch { .. } => ConfigMismatchError::new_err(text),
        SizingError::QuantisationIneffective { .. } => QuantisationIneffectiveError::new_err(text),
        SizingError::ContextInvalid { .. } => ContextInvalidError::new_err(text),
        SizingError::ConcurrencyInvalid { .. } => ConcurrencyInvalidError::new_err(text),
        SizingError::SplitInvalid { .. } => SplitInvalidError::new_err(text),
        SizingError::OptionInvalid { .. } => OptionInvalidError::new_err(text),
        SizingError::EngineDtype { .. } => EngineDtypeError::new_err(text),
        SizingError::Gguf { error, .. } => gguf(error, text),
        SizingError::Overflow { .. } => ArithmeticOverflowError::new_err(text),
    }
}

fn gguf(error: &GgufError, text: String) -> PyErr {
    match error {
        GgufError::MagicInvalid { .. } => GgufMagicInvalidError::new_err(text),
        GgufError::VersionUnsupported { .. } => GgufVersionUnsupportedError::new_err(text),
        GgufError::HeaderTruncated { .. } => GgufHeaderTruncatedError::new_err(text),
        GgufError::LimitExceeded { .. } => GgufLimitExceededError::new_err(text),
        GgufError::FieldInvalid { .. } => GgufFieldInvalidError::new_err(text),
        GgufError::KindUnknown { .. } => GgufKindUnknownError::new_err(text),
        GgufError::TensorOverlap { .. } => GgufTensorOverlapError::new_err(text),
        GgufError::TensorGap { .. } => GgufTensorGapError::new_err(text),
        GgufError::TensorOverrun { .. } => GgufTensorOverrunError::new_err(text),
        GgufError::Duplicate { .. } => GgufDuplicateError::new_err(text),
    }
}

/// The exception of a reservoir error.
pub fn reservoir(error: &ReservoirError) -> PyErr {
    let text = error.to_string();
    match error {
        ReservoirError::OverrideInvalid { .. } | ReservoirError::DensityInvalid { .. } => {
            OverrideInvalidError::new_err(text)
        }
        ReservoirError::Overflow => ArithmeticOverflowError::new_err(text),
    }
}

/// The exception of a digest error.
pub fn digest(error: &DigestError) -> PyErr {
    let text = error.to_string();
    match error {
        DigestError::Unreadable { .. } => DigestUnreadableError::new_err(text),
        DigestError::Changed { .. } => DigestChangedError::new_err(text),
        DigestError::Stopped => DigestStoppedError::new_err(text),
    }
}

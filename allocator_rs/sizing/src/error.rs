//! What can be wrong with a checkpoint or a request.

/// This crate's results.
pub type Result<T> = std::result::Result<T, SizingError>;

/// One variant a cause; the Python binding has one exception class for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizingError {
    /// A file that must be there is not.
    #[error("{file} does not exist")]
    FileMissing {
        /// Path within the checkpoint.
        file: String,
    },
    /// A file is there and cannot be read.
    #[error("{file} cannot be read: {detail}")]
    FileUnreadable {
        /// Path within the checkpoint.
        file: String,
        /// The system's words.
        detail: String,
    },
    /// A file is larger than what is read of its kind.
    #[error("{file} has {length} bytes; at most {limit} are read")]
    FileTooLarge {
        /// Path within the checkpoint.
        file: String,
        /// Its bytes.
        length: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The checkpoint holds something that could run code when it is loaded.
    #[error("{file}: {detail}")]
    SourceUnsafe {
        /// Path within the checkpoint.
        file: String,
        /// Why it is refused.
        detail: String,
    },
    /// A field asks for something that the engine does not have.
    #[error("{file}: {field}: {detail}")]
    SourceUnsupported {
        /// Path within the checkpoint.
        file: String,
        /// The field.
        field: &'static str,
        /// What it asks for, and what would be accepted.
        detail: String,
    },
    /// A file stands for another one that was not fetched.
    #[error("{file}: {detail}")]
    SourceIncomplete {
        /// Path within the checkpoint.
        file: String,
        /// What is missing, and how to get it.
        detail: String,
    },
    /// A file of the checkpoint leads out of the allowed root by a link.
    #[error("{file} leads out of the allowed root")]
    OutsideRoot {
        /// Path within the checkpoint.
        file: String,
    },
    /// The files of one model have more together than is read.
    #[error(
        "{file}: with the files before it the model has more than {limit} {what}: no whole model has as many; \
         see whether all of them belong to it, and fetch them again"
    )]
    FilesTooLarge {
        /// The file that is one too many; it is not read.
        file: String,
        /// What there is too much of.
        what: &'static str,
        /// The limit of all files together.
        limit: u64,
    },
    /// The header's stated length does not fit into the file.
    #[error("{file}: the header claims {claimed} bytes and the file has {available} after the length")]
    HeaderTruncated {
        /// The file.
        file: String,
        /// What the first eight bytes say.
        claimed: u64,
        /// What the file has.
        available: u64,
    },
    /// The header's stated length is over the format's cap.
    #[error("{file}: the header claims {claimed} bytes; the format allows {limit}")]
    HeaderTooLarge {
        /// The file.
        file: String,
        /// What the first eight bytes say.
        claimed: u64,
        /// The format's cap.
        limit: u64,
    },
    /// The header is not the JSON that the format asks for.
    #[error("{file}: the header is not valid: {detail}")]
    HeaderInvalid {
        /// The file.
        file: String,
        /// What is wrong, with its position.
        detail: String,
    },
    /// A tensor's dtype is not one of the format's.
    #[error("{file}: tensor {tensor}: dtype {dtype:?} is unknown")]
    DtypeUnknown {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// What the header says.
        dtype: String,
    },
    /// A dtype that is known, and that the engine cannot serve.
    #[error("{subject}: {dtype} cannot be served; supported are {accepted}")]
    DtypeUnsupported {
        /// The tensor or the field.
        subject: String,
        /// Its dtype or quantisation method.
        dtype: String,
        /// What is supported.
        accepted: String,
    },
    /// A tensor's stated bytes differ from what its shape and dtype need.
    #[error("{file}: tensor {tensor}: its shape needs {expected} bytes and its offsets span {found}")]
    TensorSize {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Bytes by shape and dtype.
        expected: u64,
        /// Bytes by offsets.
        found: u64,
    },
    /// Two tensors share bytes.
    #[error("{file}: tensors {first} and {second} overlap")]
    TensorOverlap {
        /// The file.
        file: String,
        /// The one that begins first.
        first: String,
        /// The one that begins inside it.
        second: String,
    },
    /// Bytes that belong to no tensor.
    #[error("{file}: {bytes} bytes before {tensor} belong to no tensor")]
    TensorGap {
        /// The file.
        file: String,
        /// The tensor after the gap, or the end of the file.
        tensor: String,
        /// The gap.
        bytes: u64,
    },
    /// A tensor ends behind the end of the file.
    #[error("{file}: tensor {tensor} ends at byte {end} of {available}: the file is cut short")]
    TensorOverrun {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Its end.
        end: u64,
        /// The data section's bytes.
        available: u64,
    },
    /// A tensor is named twice.
    #[error("{file}: tensor {tensor} is there twice")]
    TensorDuplicate {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
    },
    /// The architecture needs a tensor that the files do not have.
    #[error("tensor {tensor} is missing")]
    TensorMissing {
        /// The tensor.
        tensor: String,
    },
    /// The files have a tensor that the architecture does not.
    #[error("tensor {tensor} is not one that {architecture} has")]
    TensorUnexpected {
        /// The tensor.
        tensor: String,
        /// The architecture that the config names.
        architecture: String,
    },
    /// The index of a sharded checkpoint is not valid.
    #[error("{file}: {detail}")]
    IndexInvalid {
        /// The index.
        file: String,
        /// What is wrong.
        detail: String,
    },
    /// The index puts a tensor into a shard that does not have it, or the other way round.
    #[error("tensor {tensor}: the index and {shard} disagree on whether it is there")]
    ShardMismatch {
        /// The tensor.
        tensor: String,
        /// The shard.
        shard: String,
    },
    /// `config.json` is not a JSON object.
    #[error("config.json is not valid: {detail}")]
    ConfigInvalid {
        /// What is wrong.
        detail: String,
    },
    /// The config lacks a field that the architecture needs.
    #[error("config.json lacks {field}")]
    FieldMissing {
        /// The field.
        field: &'static str,
    },
    /// A field of the config is of the wrong kind or out of range.
    #[error("config.json: {field} is {value}; it must be {expected}")]
    FieldInvalid {
        /// The field.
        field: &'static str,
        /// What the config says, shortened.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A field asks for something that the catalogue has no rule for.
    #[error("config.json: {field} = {value} is not supported")]
    FeatureUnsupported {
        /// The field.
        field: &'static str,
        /// What the config says, shortened.
        value: String,
    },
    /// The architecture is not in the catalogue.
    #[error("architecture {name:?} is not supported; the nearest of {known} known ones are {nearest}")]
    ArchitectureUnknown {
        /// What the config says.
        name: String,
        /// Names in the catalogue.
        known: usize,
        /// Those that are most alike.
        nearest: String,
    },
    /// The config and the tensors disagree.
    #[error("{field}: config.json gives {config} and tensor {tensor} has {found}")]
    ConfigMismatch {
        /// The config's field.
        field: &'static str,
        /// The number that follows from the config.
        config: u64,
        /// The number that the tensor has.
        found: u64,
        /// The tensor.
        tensor: String,
    },
    /// INT8 would leave most of the model as it is.
    #[error(
        "INT8 covers {quantised} of {eligible} weight bytes outside the embeddings, less than half: \
         only nn.Linear layers are quantised"
    )]
    QuantisationIneffective {
        /// Bytes of layers that would be quantised.
        quantised: u64,
        /// Bytes of all weights but the embedding tables.
        eligible: u64,
    },
    /// The context length is outside what the model has.
    #[error("context length {context_length} is outside 1..={limit}")]
    ContextInvalid {
        /// What was asked for.
        context_length: u64,
        /// The model's own limit.
        limit: u64,
    },
    /// The concurrency is zero or beyond reason.
    #[error("max concurrency {max_concurrency} is outside 1..={limit}")]
    ConcurrencyInvalid {
        /// What was asked for.
        max_concurrency: u64,
        /// The limit.
        limit: u64,
    },
    /// A split that the engine cannot make.
    #[error("{what} = {value}: {detail}")]
    SplitInvalid {
        /// Which split.
        what: &'static str,
        /// Ranks or stages.
        value: u64,
        /// Why not.
        detail: &'static str,
    },
    /// An option of the engine is out of range.
    #[error("{option} is {value}; it must be 1 to {limit}")]
    OptionInvalid {
        /// The option.
        option: &'static str,
        /// What was asked for.
        value: u64,
        /// The limit.
        limit: u64,
    },
    /// An engine does not hold weights in a dtype.
    #[error("{engine} cannot hold weights in {dtype}; {accepted}")]
    EngineDtype {
        /// The engine.
        engine: &'static str,
        /// The dtype.
        dtype: &'static str,
        /// What would be accepted.
        accepted: &'static str,
    },
    /// A GGUF file is malformed.
    #[error("{file}: {error}")]
    Gguf {
        /// The file.
        file: String,
        /// What is wrong.
        error: gguf::GgufError,
    },
    /// A sum or a product does not fit into 64 bits.
    #[error("{what} does not fit into 64 bits")]
    Overflow {
        /// What was computed.
        what: &'static str,
    },
}

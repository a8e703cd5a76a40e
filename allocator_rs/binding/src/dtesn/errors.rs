//! Exceptions of the deep tree echo state network: a caller's mistakes are `ValueError`s.

use ::mmd::MmdError;
use ::network::NetworkError;
use ::psystem::{Position, SystemError};
use ::readout::ReadoutError;
use ::trees::TreeError;
use bseries::SeriesError;
use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

create_exception!(echoplaned._allocator, DtesnError, PyValueError, "Base of the errors of echoplaned.dtesn.");

macro_rules! exceptions {
    ($($name:ident: $doc:literal,)*) => {
        $(create_exception!(echoplaned._allocator, $name, DtesnError, $doc);)*

        /// Add every class to the module.
        pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
            let python = module.py();
            module.add("DtesnError", python.get_type::<DtesnError>())?;
            $(module.add(stringify!($name), python.get_type::<$name>())?;)*
            Ok(())
        }
    };
}

exceptions! {
    LevelsInvalidError: "A sequence of levels that is no rooted tree.",
    OrderInvalidError: "An order below 1, or one with too many trees.",
    RankInvalidError: "A rank that no tree of the order has.",
    ValueOverflowError: "A number over its bits: an exact count, or a distance.",
    SettingInvalidError: "A setting out of range.",
    ShapeInvalidError: "An array of another shape than is needed.",
    NotFiniteError: "A value that is NaN or infinite.",
    TimeStepError: "A step in time that is not finite or too short.",
    TimeReversedError: "A position that is not behind the stream's last one.",
    StreamUnknownError: "A stream that was closed or never opened.",
    StreamsFullError: "All streams that were planned are open.",
    StreamsLiveError: "A network that should change under open streams.",
    SnapshotInvalidError: "Bytes that are no saved stream.",
    NetworkMismatchError: "A stream that another network saved.",
    TooFewRowsError: "Too few rows to fit anything.",
    TooManyRowsError: "More rows than are compared.",
    SizeExceededError: "Arrays that would take more memory than is allowed, or than there is.",
    SingularError: "A readout without a unique solution.",
    NumberInvalidError: "A text that is no exact number.",
    TableauInvalidError: "A tableau of a wrong shape, or with two roots.",
    TableauInconsistentError: "A tableau whose row sums or weights do not add up.",
    MethodUnknownError: "A method that is not in the catalogue.",
    CacheUnwritableError: "A cache directory that takes no file.",
    SystemSyntaxError: "A text that is not of the P-Lingua subset; has line and column.",
    MembraneUndefinedError: "A membrane that the structure does not have; has line and column.",
    NestingTooDeepError: "Membranes, groups or expressions nested too deeply; has line and column.",
    SystemTooLargeError: "A text or structure, or what it expands to, over its limit.",
    NotHaltedError: "A system that goes on after the last step that was allowed.",
    ObjectUnknownError: "A membrane, object or gate that does not exist.",
    EpochOpenError: "A health tree that should change while events are on their way.",
}

pub fn tree(error: &TreeError) -> PyErr {
    let text = error.to_string();
    match error {
        TreeError::Empty | TreeError::Root { .. } | TreeError::Level { .. } | TreeError::TooLarge { .. } => {
            LevelsInvalidError::new_err(text)
        }
        TreeError::Order { .. } => OrderInvalidError::new_err(text),
        TreeError::Rank { .. } => RankInvalidError::new_err(text),
        TreeError::Overflow => ValueOverflowError::new_err(text),
    }
}

pub fn network(error: &NetworkError) -> PyErr {
    let text = error.to_string();
    match error {
        NetworkError::Setting { .. } => SettingInvalidError::new_err(text),
        NetworkError::Tree(_) => LevelsInvalidError::new_err(text),
        NetworkError::Width { .. } => ShapeInvalidError::new_err(text),
        NetworkError::NotFinite { .. } => NotFiniteError::new_err(text),
        NetworkError::TimeStep { .. } => TimeStepError::new_err(text),
        NetworkError::TimeReversed { .. } => TimeReversedError::new_err(text),
        NetworkError::StreamUnknown { .. } => StreamUnknownError::new_err(text),
        NetworkError::StreamsFull { .. } => StreamsFullError::new_err(text),
        NetworkError::StreamsLive { .. } => StreamsLiveError::new_err(text),
        NetworkError::Snapshot { .. } => SnapshotInvalidError::new_err(text),
        NetworkError::Mismatch { .. } => NetworkMismatchError::new_err(text),
        NetworkError::Size { .. } => SizeExceededError::new_err(text),
    }
}

pub fn mmd(error: &MmdError) -> PyErr {
    let text = error.to_string();
    match error {
        MmdError::Width { .. } | MmdError::Strata { .. } => ShapeInvalidError::new_err(text),
        MmdError::NotFinite { .. } => NotFiniteError::new_err(text),
        MmdError::TooFewRows { .. } => TooFewRowsError::new_err(text),
        MmdError::TooManyRows { .. } => TooManyRowsError::new_err(text),
        MmdError::Overflow { .. } => ValueOverflowError::new_err(text),
    }
}

pub fn readout(error: &ReadoutError) -> PyErr {
    let text = error.to_string();
    match error {
        ReadoutError::Width { .. } => ShapeInvalidError::new_err(text),
        ReadoutError::NotFinite { .. } => NotFiniteError::new_err(text),
        ReadoutError::TooFewRows { .. } => TooFewRowsError::new_err(text),
        ReadoutError::Singular { .. } => SingularError::new_err(text),
        ReadoutError::Setting { .. } => SettingInvalidError::new_err(text),
        ReadoutError::Size { .. } => SizeExceededError::new_err(text),
    }
}

pub fn series(error: &SeriesError) -> PyErr {
    let text = error.to_string();
    match error {
        SeriesError::Number { .. } => NumberInvalidError::new_err(text),
        SeriesError::Roots { .. } | SeriesError::Stages { .. } | SeriesError::Shape { .. } => {
            TableauInvalidError::new_err(text)
        }
        SeriesError::Inconsistent { .. } => TableauInconsistentError::new_err(text),
        SeriesError::Order { .. } => OrderInvalidError::new_err(text),
        SeriesError::Coefficients { .. } => ShapeInvalidError::new_err(text),
        SeriesError::Unknown { .. } => MethodUnknownError::new_err(text),
        SeriesError::Cache(_) => CacheUnwritableError::new_err(text),
    }
}

pub fn system(python: Python<'_>, error: &SystemError) -> PyErr {
    let text = error.to_string();
    match error {
        SystemError::Syntax { position, .. } => placed(python, SystemSyntaxError::new_err(text), *position),
        SystemError::MembraneUndefined { position, .. } => {
            placed(python, MembraneUndefinedError::new_err(text), *position)
        }
        SystemError::TooDeep { position, .. } => placed(python, NestingTooDeepError::new_err(text), *position),
        SystemError::TooLarge { .. } | SystemError::TooManyMembranes { .. } => SystemTooLargeError::new_err(text),
        SystemError::NotHalted { .. } | SystemError::Running => NotHaltedError::new_err(text),
        SystemError::Overflow { .. } => ValueOverflowError::new_err(text),
        SystemError::Unknown { .. } => ObjectUnknownError::new_err(text),
        SystemError::EpochOpen { .. } => EpochOpenError::new_err(text),
        SystemError::Threshold { .. } => SettingInvalidError::new_err(text),
    }
}

/// With attributes `line` and `column`, from 1.
fn placed(python: Python<'_>, error: PyErr, position: Position) -> PyErr {
    let value = error.value(python);
    let set = value.setattr("line", position.line).and_then(|()| value.setattr("column", position.column));
    set.err().unwrap_or(error)
}

/// An array that is not one row after the other.
pub fn strided(name: &str) -> PyErr {
    ShapeInvalidError::new_err(format!("{name} must be C-contiguous"))
}

/// Refuse an array of columns, which would pass for one of rows otherwise.
pub fn by_rows(name: &str, c_contiguous: bool) -> PyResult<()> {
    if c_contiguous { Ok(()) } else { Err(strided(name)) }
}

/// A shape that is not the needed one.
pub fn shape(name: &str, found: usize, expected: usize) -> PyErr {
    ShapeInvalidError::new_err(format!("{name}: found {found}, needed {expected}"))
}

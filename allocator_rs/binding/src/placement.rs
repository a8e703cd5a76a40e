//! Fleets of nodes, and vectors in bins.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ::placement::{Affinity, GpuSpec, Limits, NodeSpec, PlacementError};
use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::create_exception;
use pyo3::prelude::*;

use crate::errors::{AllocatorError, DeviceDuplicateError, ReplicasInvalidError};
use crate::guard::detach;

macro_rules! exceptions {
    ($($name:ident: $doc:literal,)*) => {
        $(create_exception!(echoplaned._allocator, $name, AllocatorError, $doc);)*

        /// Add every class to the module.
        pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
            $(module.add(stringify!($name), module.py().get_type::<$name>())?;)*
            Ok(())
        }
    };
}

exceptions! {
    NodeDuplicateError: "Two nodes have one name.",
    NodeUnknownError: "A node that the fleet does not have.",
    NodeInvalidError: "A node with too many GPUs or GPU models, or an amount beyond reason.",
    ItemDuplicateError: "An item of this name is placed already.",
    ItemUnknownError: "An item that is not placed.",
    ItemInvalidError: "An item that asks for what cannot be.",
    PlaceInvalidError: "An item does not fit where it was said to be.",
    VectorInvalidError: "A table that is none, or a vector that fits into no bin.",
}

/// The exception of a placement error.
pub fn error(error: &PlacementError) -> PyErr {
    let text = error.to_string();
    match error {
        PlacementError::DeviceDuplicate { .. } => DeviceDuplicateError::new_err(text),
        PlacementError::ReplicasInvalid { .. } => ReplicasInvalidError::new_err(text),
        PlacementError::NodeDuplicate { .. } => NodeDuplicateError::new_err(text),
        PlacementError::NodeUnknown { .. } => NodeUnknownError::new_err(text),
        PlacementError::NodeInvalid { .. } => NodeInvalidError::new_err(text),
        PlacementError::ItemDuplicate { .. } => ItemDuplicateError::new_err(text),
        PlacementError::ItemUnknown { .. } => ItemUnknownError::new_err(text),
        PlacementError::ItemInvalid { .. } => ItemInvalidError::new_err(text),
        PlacementError::PlaceInvalid { .. } => PlaceInvalidError::new_err(text),
        PlacementError::VectorInvalid { .. } => VectorInvalidError::new_err(text),
    }
}

/// A node as Python hands it over: id, thousandths of cores, host bytes, and GPUs as model, bytes and thousandths.
type NodeTuple = (String, u64, u64, Vec<(String, u64, u32)>);
/// A node's name and the numbers of GPUs.
type Place = (String, Vec<u32>);
/// An item, from where to where, milliseconds, thousandths gained.
type Move = (String, Place, Place, u64, i64);

fn place_out(place: ::placement::Place) -> Place {
    (place.node, place.gpus)
}

fn place_in((node, gpus): Place) -> ::placement::Place {
    ::placement::Place { node, gpus }
}

fn moves_out(moves: Vec<::placement::Move>) -> Vec<Move> {
    moves
        .into_iter()
        .map(|one| (one.item, place_out(one.from), place_out(one.to), one.cost_ms, one.gain_milli))
        .collect()
}

fn moves_in(moves: Vec<Move>) -> Vec<::placement::Move> {
    let convert = |(item, from, to, cost_ms, gain_milli)| ::placement::Move {
        item,
        from: place_in(from),
        to: place_in(to),
        cost_ms,
        gain_milli,
    };
    moves.into_iter().map(convert).collect()
}

/// What wants a place.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct Item(::placement::Item);

#[pymethods]
impl Item {
    #[new]
    #[pyo3(signature = (id, *, ranks, memory_bytes, compute_milli, cpu_milli, host_bytes, models, group, apart, node, pinned, priority, surge, reload_ms))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of one record, which the Python facade names")]
    #[allow(clippy::fn_params_excessive_bools, reason = "as above")]
    fn new(
        id: String,
        ranks: u32,
        memory_bytes: u64,
        compute_milli: u32,
        cpu_milli: u64,
        host_bytes: u64,
        models: Vec<String>,
        group: Option<String>,
        apart: bool,
        node: Option<String>,
        pinned: bool,
        priority: i32,
        surge: bool,
        reload_ms: u64,
    ) -> Self {
        let affinity = match group {
            None => Affinity::Any,
            Some(group) if apart => Affinity::Apart(group),
            Some(group) => Affinity::Spread(group),
        };
        Self(::placement::Item {
            id,
            ranks,
            memory_bytes,
            compute_milli,
            cpu_milli,
            host_bytes,
            models,
            affinity,
            node,
            pinned,
            priority,
            surge,
            reload_ms,
        })
    }

    #[getter]
    fn id(&self) -> &str {
        &self.0.id
    }
}

fn items_in(items: &[Py<Item>]) -> Vec<::placement::Item> {
    items.iter().map(|item| item.get().0.clone()).collect()
}

/// Nodes with what lies on them.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct Fleet(Mutex<::placement::Fleet>);

impl Fleet {
    fn lock(&self) -> MutexGuard<'_, ::placement::Fleet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Let Python go on while the fleet is asked.
    fn ask<T: Send>(
        &self,
        python: Python<'_>,
        what: impl Send + FnOnce(&mut ::placement::Fleet) -> Result<T, PlacementError>,
    ) -> PyResult<T> {
        detach(python, || what(&mut self.lock()))?.map_err(|found| error(&found))
    }
}

#[pymethods]
impl Fleet {
    #[new]
    fn new(python: Python<'_>, nodes: Vec<NodeTuple>) -> PyResult<Self> {
        let gpu = |(model, memory_bytes, compute_milli)| GpuSpec { model, memory_bytes, compute_milli };
        let node = |(id, cpu_milli, host_bytes, gpus): NodeTuple| NodeSpec {
            id,
            cpu_milli,
            host_bytes,
            gpus: gpus.into_iter().map(gpu).collect(),
        };
        let specs: Vec<NodeSpec> = nodes.into_iter().map(node).collect();
        let fleet = detach(python, || ::placement::Fleet::new(&specs))?.map_err(|found| error(&found))?;
        Ok(Self(Mutex::new(fleet)))
    }

    #[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts lists by value")]
    fn expect(&self, python: Python<'_>, items: Vec<Py<Item>>, share_percent: u64) -> PyResult<()> {
        let items = items_in(&items);
        self.ask(python, |fleet| fleet.expect(&items, share_percent))
    }

    fn place(&self, python: Python<'_>, item: &Item) -> PyResult<Option<Place>> {
        Ok(self.ask(python, |fleet| fleet.place(&item.0))?.map(place_out))
    }

    fn put(&self, python: Python<'_>, item: &Item, node: String, gpus: Vec<u32>) -> PyResult<()> {
        self.ask(python, |fleet| fleet.put(&item.0, &place_in((node, gpus))))
    }

    fn remove(&self, python: Python<'_>, id: &str) -> PyResult<()> {
        self.ask(python, |fleet| fleet.remove(id))
    }

    fn whereabouts(&self, python: Python<'_>, id: &str) -> PyResult<Option<Place>> {
        Ok(detach(python, || self.lock().whereabouts(id))?.map(place_out))
    }

    fn has_room(&self, python: Python<'_>, item: &Item) -> PyResult<bool> {
        self.ask(python, |fleet| fleet.has_room(&item.0))
    }

    #[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts lists by value")]
    fn place_all(
        &self,
        python: Python<'_>,
        items: Vec<Py<Item>>,
        max_moves: usize,
        max_cost_ms: u64,
        seed: u64,
    ) -> PyResult<(Vec<Option<Place>>, Vec<Move>)> {
        let (items, limits) = (items_in(&items), Limits { max_moves, max_cost_ms, seed });
        let batch = self.ask(python, |fleet| fleet.place_all(&items, limits))?;
        Ok((batch.places.into_iter().map(|place| place.map(place_out)).collect(), moves_out(batch.moves)))
    }

    fn repack(
        &self,
        python: Python<'_>,
        max_moves: usize,
        max_cost_ms: u64,
        seed: u64,
    ) -> PyResult<(Vec<Move>, u64, u64)> {
        let plan = detach(python, || self.lock().repack(Limits { max_moves, max_cost_ms, seed }))?;
        Ok((moves_out(plan.moves), plan.before_milli, plan.after_milli))
    }

    fn apply(&self, python: Python<'_>, moves: Vec<Move>) -> PyResult<()> {
        self.ask(python, |fleet| fleet.apply(&moves_in(moves)))
    }

    fn make_room(
        &self,
        python: Python<'_>,
        item: &Item,
        max_moves: usize,
        max_cost_ms: u64,
        seed: u64,
    ) -> PyResult<Option<(Place, Vec<Move>)>> {
        let limits = Limits { max_moves, max_cost_ms, seed };
        let found = self.ask(python, |fleet| fleet.make_room(&item.0, limits))?;
        Ok(found.map(|(place, moves)| (place_out(place), moves_out(moves))))
    }

    fn victims(&self, python: Python<'_>, item: &Item) -> PyResult<Option<(String, Vec<String>, u64)>> {
        let found = self.ask(python, |fleet| fleet.find_preemption(&item.0))?;
        Ok(found.map(|one| (one.node, one.items, one.cost_ms)))
    }

    #[getter]
    fn free_milli(&self, python: Python<'_>) -> PyResult<u64> {
        detach(python, || self.lock().free_milli())
    }

    #[getter]
    fn fragmented_milli(&self, python: Python<'_>) -> PyResult<u64> {
        detach(python, || self.lock().fragmented_milli())
    }

    #[getter]
    fn stranded_milli(&self, python: Python<'_>) -> PyResult<u64> {
        detach(python, || self.lock().stranded_milli())
    }

    fn __len__(&self, python: Python<'_>) -> PyResult<usize> {
        detach(python, || self.lock().len())
    }
}

/// The bin of each row, how many bins, and the lower bound. The arrays are read where they lie.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts arrays by value")]
pub fn pack<'py>(
    python: Python<'py>,
    sizes: PyReadonlyArray2<'py, u64>,
    capacity: PyReadonlyArray1<'py, u64>,
    rounds: u32,
    seed: u64,
) -> PyResult<(Bound<'py, PyArray1<u32>>, u32, u32)> {
    let ragged = |what: &str| VectorInvalidError::new_err(what.to_owned());
    let contiguous = |_| ragged("arrays must be contiguous in C order");
    // A slice of an array in Fortran order would be its transpose.
    if !sizes.is_c_contiguous() {
        return Err(ragged("arrays must be contiguous in C order"));
    }
    if sizes.shape().get(1) != capacity.shape().first() {
        return Err(ragged("the table's width is not the number of dimensions"));
    }
    let (rows, bin) = (sizes.as_slice().map_err(contiguous)?, capacity.as_slice().map_err(contiguous)?);
    let packing = detach(python, || ::placement::pack(rows, bin, rounds, seed))?.map_err(|found| error(&found))?;
    Ok((PyArray1::from_vec(python, packing.bins), packing.count, packing.lower_bound))
}

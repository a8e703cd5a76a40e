//! Live streams: many states of one network, within a memory that is fixed from the start.

use std::collections::HashMap;
use std::mem::size_of;
use std::sync::Arc;

use crate::half::{from_bf16, from_f16, to_bf16, to_f16};
use crate::kernel::{check_step, finite, width};
use crate::{MIN_STEP, Network, NetworkError, Store};

/// An open stream: its place, and how often that place was given before, so that a closed stream is never mistaken.
pub type StreamId = u64;

/// States at rest.
enum States {
    Full(Vec<f32>),
    Half(Vec<u16>),
}

/// All the memory that streams take.
const MAX_BYTES: u64 = 1 << 35;

/// What streams would take, known to be allowed.
struct Room {
    streams: usize,
    values: usize,
    bytes: u64,
}

impl Room {
    fn of(streams: usize, units: usize, store: Store) -> Result<Self, NetworkError> {
        let each = Streams::bytes_per_stream(units, store);
        let bytes = streams.checked_mul(each).and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(u64::MAX);
        if bytes > MAX_BYTES {
            return Err(NetworkError::Size { streams, bytes, reason: "at most 32 GiB are taken" });
        }
        Ok(Self { streams, values: streams.saturating_mul(units), bytes })
    }

    /// Zeros, or an error; an allocation that fails ends the process otherwise.
    fn zeros<T: Clone + Default>(&self, count: usize) -> Result<Vec<T>, NetworkError> {
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| NetworkError::Size {
            streams: self.streams,
            bytes: self.bytes,
            reason: "there is not so much memory",
        })?;
        values.resize(count, T::default());
        Ok(values)
    }
}

/// Up to `capacity` streams that share a network. All memory is taken when it is made, so streams that are opened and
/// never closed end in an error and not in a machine without memory.
pub struct Streams {
    network: Arc<Network>,
    store: Store,
    states: States,
    /// In tokens.
    positions: Vec<f64>,
    /// Steps since opened; before the first a position has no meaning.
    steps: Vec<u64>,
    /// Odd while open.
    generations: Vec<u32>,
    free: Vec<u32>,
}

impl Streams {
    /// Make room.
    ///
    /// # Errors
    /// [`NetworkError::Setting`] for a capacity of 0 or of more than 2^24; [`NetworkError::Size`] where they take too much memory.
    pub fn new(network: Arc<Network>, capacity: usize, store: Store) -> Result<Self, NetworkError> {
        let count = u32::try_from(capacity).unwrap_or(u32::MAX);
        if !(1..=1 << 24).contains(&count) {
            let value = f64::from(count);
            return Err(NetworkError::Setting { name: "capacity", value, expected: "1 to 2^24" });
        }
        let room = Room::of(capacity, network.units(), store)?;
        let states = match store {
            Store::F32 => States::Full(room.zeros(room.values)?),
            Store::F16 | Store::Bf16 => States::Half(room.zeros(room.values)?),
        };
        let mut free = room.zeros(capacity)?;
        free.iter_mut().zip((0..count).rev()).for_each(|(place, number)| *place = number);
        Ok(Self {
            network,
            store,
            states,
            positions: room.zeros(capacity)?,
            steps: room.zeros(capacity)?,
            generations: room.zeros(capacity)?,
            free,
        })
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// How states are kept.
    #[must_use]
    pub const fn store(&self) -> Store {
        self.store
    }

    /// How many may be open.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.positions.len()
    }

    /// How many are open.
    #[must_use]
    pub const fn open_count(&self) -> usize {
        self.positions.len() - self.free.len()
    }

    /// Bytes of one stream: state, position, step count, generation and its place in the list of free ones.
    #[must_use]
    pub const fn bytes_per_stream(units: usize, store: Store) -> usize {
        units * store.bytes() + size_of::<f64>() + size_of::<u64>() + 2 * size_of::<u32>()
    }

    /// Bytes that are really taken by all streams, open or not.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        let states = match &self.states {
            States::Full(values) => values.capacity() * size_of::<f32>(),
            States::Half(values) => values.capacity() * size_of::<u16>(),
        };
        let own = self.positions.capacity() * size_of::<f64>() + self.steps.capacity() * size_of::<u64>();
        states + own + (self.generations.capacity() + self.free.capacity()) * size_of::<u32>()
    }

    /// Put another network in its place.
    ///
    /// # Errors
    /// [`NetworkError::StreamsLive`] while a stream is open.
    pub fn replace(&mut self, network: Arc<Network>) -> Result<(), NetworkError> {
        let open = self.open_count();
        if open > 0 {
            return Err(NetworkError::StreamsLive { open });
        }
        *self = Self::new(network, self.capacity(), self.store)?;
        Ok(())
    }

    /// Open a stream with a state of zeros.
    ///
    /// # Errors
    /// [`NetworkError::StreamsFull`].
    pub fn open(&mut self) -> Result<StreamId, NetworkError> {
        let place = self.free.pop().ok_or(NetworkError::StreamsFull { capacity: self.capacity() })?;
        let index = place as usize;
        self.generations[index] = self.generations[index].wrapping_add(1);
        self.positions[index] = 0.0;
        self.steps[index] = 0;
        let zeros = vec![0.0; self.network.units()];
        self.write(index, &zeros);
        Ok((u64::from(self.generations[index]) << 32) | u64::from(place))
    }

    /// Close a stream.
    ///
    /// # Errors
    /// [`NetworkError::StreamUnknown`].
    pub fn close(&mut self, id: StreamId) -> Result<(), NetworkError> {
        let index = self.index(id)?;
        self.generations[index] = self.generations[index].wrapping_add(1);
        self.free.push(u32::try_from(index).unwrap_or(u32::MAX));
        Ok(())
    }

    /// A step of each stream in `ids`, in their order, by `dt` tokens: one for all, or one each.
    ///
    /// # Errors
    /// [`NetworkError`]; then no stream has moved.
    pub fn step(&mut self, ids: &[StreamId], inputs: &[f32], dt: &[f64]) -> Result<(), NetworkError> {
        let places = self.places(ids, inputs)?;
        if dt.len() != 1 {
            width("dt", dt.len(), ids.len())?;
        }
        dt.iter().enumerate().try_for_each(|(row, &value)| check_step(row, value))?;
        let steps: Vec<_> = (0..ids.len()).map(|row| if dt.len() == 1 { dt[0] } else { dt[row] }).collect();
        self.move_on(&places, inputs, &steps);
        Ok(())
    }

    /// A step of each stream in `ids` to its position, in tokens. A stream's first sample counts as one token.
    ///
    /// # Errors
    /// [`NetworkError`], of which [`NetworkError::TimeReversed`] where a position is not behind the last; then no stream
    /// has moved.
    pub fn advance(&mut self, ids: &[StreamId], inputs: &[f32], positions: &[f64]) -> Result<(), NetworkError> {
        let places = self.places(ids, inputs)?;
        width("positions", positions.len(), ids.len())?;
        let mut steps = Vec::with_capacity(ids.len());
        let mut earlier = HashMap::new();
        for (row, (&place, &position)) in places.iter().zip(positions).enumerate() {
            let begun = (self.steps[place] > 0).then_some(self.positions[place]);
            let last = earlier.insert(place, position).or(begun);
            let step = last.map_or(1.0, |last| position - last);
            if !position.is_finite() {
                return Err(NetworkError::TimeStep { row, value: position });
            }
            if step < MIN_STEP {
                return Err(NetworkError::TimeReversed { row, position, last: last.unwrap_or(0.0) });
            }
            check_step(row, step)?;
            steps.push(step);
        }
        self.move_on(&places, inputs, &steps);
        places.iter().zip(positions).for_each(|(&place, &position)| self.positions[place] = position);
        Ok(())
    }

    /// A stream's state into `out`.
    ///
    /// # Errors
    /// [`NetworkError::StreamUnknown`] and [`NetworkError::Width`].
    pub fn read(&self, id: StreamId, out: &mut [f32]) -> Result<(), NetworkError> {
        let index = self.index(id)?;
        width("state", out.len(), self.network.units())?;
        self.load(index, out);
        Ok(())
    }

    /// A stream's position in tokens, and how many steps it made.
    ///
    /// # Errors
    /// [`NetworkError::StreamUnknown`].
    pub fn place(&self, id: StreamId) -> Result<(f64, u64), NetworkError> {
        let index = self.index(id)?;
        Ok((self.positions[index], self.steps[index]))
    }

    /// Put a stream at a place with a state.
    pub(crate) fn put(&mut self, id: StreamId, state: &[f32], place: (f64, u64)) -> Result<(), NetworkError> {
        let index = self.index(id)?;
        self.write(index, state);
        (self.positions[index], self.steps[index]) = place;
        Ok(())
    }

    fn index(&self, id: StreamId) -> Result<usize, NetworkError> {
        let (generation, place) = ((id >> 32) as u32, (id & 0xffff_ffff) as usize);
        let known = self.generations.get(place).is_some_and(|&now| now == generation && now % 2 == 1);
        if known { Ok(place) } else { Err(NetworkError::StreamUnknown { id }) }
    }

    fn places(&self, ids: &[StreamId], inputs: &[f32]) -> Result<Vec<usize>, NetworkError> {
        width("inputs", inputs.len(), ids.len() * self.network.inputs())?;
        finite(inputs, self.network.inputs())?;
        ids.iter().map(|&id| self.index(id)).collect()
    }

    fn move_on(&mut self, places: &[usize], inputs: &[f32], steps: &[f64]) {
        let network = Arc::clone(&self.network);
        let mut scratch = vec![0.0; network.units()];
        let mut last = f64::NAN;
        let mut rates = Vec::new();
        for (row, &place) in places.iter().enumerate() {
            if steps[row].to_bits() != last.to_bits() {
                rates = network.rates(steps[row]);
                last = steps[row];
            }
            let input = &inputs[row * network.inputs()..(row + 1) * network.inputs()];
            if let States::Full(values) = &mut self.states {
                let state = &mut values[place * network.units()..(place + 1) * network.units()];
                network.step_checked(state, input, &rates);
            } else {
                self.load(place, &mut scratch);
                network.step_checked(&mut scratch, input, &rates);
                self.write(place, &scratch);
            }
            self.positions[place] += steps[row];
            self.steps[place] += 1;
        }
    }

    fn load(&self, index: usize, out: &mut [f32]) {
        let range = index * out.len()..(index + 1) * out.len();
        match (&self.states, self.store) {
            (States::Full(values), _) => out.copy_from_slice(&values[range]),
            (States::Half(values), Store::F16) => {
                out.iter_mut().zip(&values[range]).for_each(|(to, &from)| *to = from_f16(from));
            }
            (States::Half(values), _) => {
                out.iter_mut().zip(&values[range]).for_each(|(to, &from)| *to = from_bf16(from));
            }
        }
    }

    fn write(&mut self, index: usize, state: &[f32]) {
        let range = index * state.len()..(index + 1) * state.len();
        match (&mut self.states, self.store) {
            (States::Full(values), _) => values[range].copy_from_slice(state),
            (States::Half(values), Store::F16) => {
                values[range].iter_mut().zip(state).for_each(|(to, &from)| *to = to_f16(from));
            }
            (States::Half(values), _) => {
                values[range].iter_mut().zip(state).for_each(|(to, &from)| *to = to_bf16(from));
            }
        }
    }
}

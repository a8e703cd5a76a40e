//! Best fit of a version's replicas over the devices of one host: the daemon's ledger, memory only.
//!
//! Reservations of the version that an update replaces are still in the ledger when its successor is planned, so a surge
//! copy needs no rule of its own: what the old version holds is not free.

use std::collections::{BTreeMap, BTreeSet};

use crate::PlacementError;

/// A place that holds models. Bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Unique name.
    pub id: String,
    /// All memory.
    pub capacity_bytes: u64,
    /// Never given to a model.
    pub reserve_bytes: u64,
    /// Taken by instances already.
    pub reserved_bytes: u64,
}

impl Device {
    /// Capacity less the reserve less every reservation; 0 where these exceed the capacity.
    #[must_use]
    pub const fn free_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.reserve_bytes).saturating_sub(self.reserved_bytes)
    }
}

/// No version has more replicas.
pub const MAX_REPLICAS: u64 = 4_096;

/// Find a device for each replica: the device with the fewest replicas of this version, of these the one that is left
/// with the least, of these the first by name. None where not all of them fit.
///
/// # Errors
/// [`PlacementError`].
pub fn place(devices: &[Device], needed_bytes: u64, replicas: u64) -> Result<Option<Vec<String>>, PlacementError> {
    if !(1..=MAX_REPLICAS).contains(&replicas) {
        return Err(PlacementError::ReplicasInvalid { replicas, limit: MAX_REPLICAS });
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = devices.iter().find(|device| !names.insert(device.id.as_str())) {
        return Err(PlacementError::DeviceDuplicate { id: twice.id.clone() });
    }
    let mut left: BTreeMap<&str, (u64, u64)> =
        devices.iter().map(|device| (device.id.as_str(), (0, device.free_bytes()))).collect();
    let mut placed = Vec::new();
    for _ in 0..replicas {
        let best = left
            .iter_mut()
            .filter_map(|(id, (count, free))| Some(((*count, free.checked_sub(needed_bytes)?, *id), count, free)))
            .min_by(|(one, ..), (other, ..)| one.cmp(other));
        let Some(((_, rest, id), count, free)) = best else {
            return Ok(None);
        };
        *count = count.saturating_add(1);
        *free = rest;
        placed.push(id.to_owned());
    }
    Ok(Some(placed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Device, place};
    use crate::PlacementError;

    fn device(id: &str, capacity_bytes: u64, reserved_bytes: u64) -> Device {
        Device { id: id.to_owned(), capacity_bytes, reserve_bytes: 10, reserved_bytes }
    }

    #[test]
    fn takes_the_tightest_device_that_fits() {
        let devices = [device("a", 1_000, 0), device("b", 200, 0), device("c", 150, 100)];
        assert_eq!(place(&devices, 90, 1), Ok(Some(vec!["b".to_owned()])));
    }

    #[test]
    fn spreads_replicas_before_it_stacks_them() {
        let devices = [device("a", 1_000, 0), device("b", 200, 0)];
        let names: Vec<_> = ["b", "a", "b"].map(str::to_owned).to_vec();
        assert_eq!(place(&devices, 90, 3), Ok(Some(names)));
    }

    #[test]
    fn ties_go_to_the_first_name() {
        let devices = [device("b", 200, 0), device("a", 200, 0)];
        assert_eq!(place(&devices, 90, 1), Ok(Some(vec!["a".to_owned()])));
    }

    #[test]
    fn all_or_nothing() {
        assert_eq!(place(&[device("a", 200, 0)], 100, 2), Ok(None));
        assert_eq!(place(&[], 1, 1), Ok(None));
    }

    #[test]
    fn refuses_nonsense() {
        assert!(matches!(place(&[], 1, 0), Err(PlacementError::ReplicasInvalid { .. })));
        let twice = [device("a", 1, 0), device("a", 1, 0)];
        assert!(matches!(place(&twice, 1, 1), Err(PlacementError::DeviceDuplicate { .. })));
    }

    proptest! {
        #[test]
        fn never_exceeds_what_is_free(
            sizes in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..6),
            needed in any::<u64>(),
            replicas in 1_u64..6,
        ) {
            let devices: Vec<_> = sizes
                .iter()
                .enumerate()
                .map(|(index, &(capacity_bytes, reserve_bytes, reserved_bytes))| Device {
                    id: format!("d{index}"), capacity_bytes, reserve_bytes, reserved_bytes,
                })
                .collect();
            let found = place(&devices, needed, replicas);
            prop_assert_eq!(&found, &place(&devices, needed, replicas));
            let room: u128 = devices.iter().map(|device| match needed {
                0 => u128::MAX >> 8,
                _ => u128::from(device.free_bytes() / needed),
            }).sum();
            match found {
                Ok(Some(names)) => {
                    prop_assert_eq!(u64::try_from(names.len()), Ok(replicas));
                    for device in &devices {
                        let here = names.iter().filter(|name| **name == device.id).count() as u128;
                        prop_assert!(here * u128::from(needed) <= u128::from(device.free_bytes()));
                    }
                }
                Ok(None) => prop_assert!(room < u128::from(replicas)),
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
    }
}

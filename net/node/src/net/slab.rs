//! The connections of one core at numbered places.

use crate::ring::ConnId;

struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// Values at places whose numbers are used again, each time under a new generation: an id that has outlived its value
/// finds nothing.
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Puts the value that `make` returns for its id into a free place.
    ///
    /// # Panics
    /// With 2^32 values in it, which the limits forbid.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(ConnId) -> T) -> ConnId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, value: None });
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 connections")
        });
        let place = &mut self.places[index as usize];
        let id = ConnId::new(index, place.generation);
        place.value = Some(make(id));
        id
    }

    /// The value of `id`, if it is still there.
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let place = self.places.get_mut(id.index() as usize)?;
        if place.generation == id.generation() { place.value.as_mut() } else { None }
    }

    /// Takes the value of `id` out, if it is still there.
    pub(crate) fn remove(&mut self, id: ConnId) -> Option<T> {
        let place = self.places.get_mut(id.index() as usize)?;
        if place.generation != id.generation() {
            return None;
        }
        let value = place.value.take()?;
        place.generation = (place.generation + 1) % ConnId::GENERATIONS;
        self.free.push(id.index());
        Some(value)
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// The ids of all values whose place is `nth` modulo `stride`: a part of all, which takes a part of the time.
    pub(crate) fn ids(&self, nth: usize, stride: usize) -> impl Iterator<Item = ConnId> + '_ {
        self.places.iter().enumerate().skip(nth).step_by(stride).filter(|(_, place)| place.value.is_some()).map(
            |(index, place)| ConnId::new(u32::try_from(index).expect("places have 32-bit numbers"), place.generation),
        )
    }

    /// All values.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|place| place.value.as_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_finds_nothing() {
        let mut slab = Slab::default();
        let first = slab.insert_with(|_| 'a');
        assert_eq!(slab.get_mut(first), Some(&mut 'a'));
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert_with(|_| 'b');
        assert_eq!(second.index(), first.index());
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut 'b'));
        assert_eq!(slab.len(), 1);
    }
}

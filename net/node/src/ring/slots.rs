//! A table of values at stable places.

/// Values at numbered places. Places are used again; taking a value out of an empty place is a bug.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Puts `value` into a free place.
    ///
    /// # Panics
    /// With 2^32 values in it, which the limits forbid.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(value);
            return place;
        }
        let place = u32::try_from(self.places.len()).expect("fewer than 2^32 operations in flight");
        self.places.push(Some(value));
        place
    }

    /// The value at `place`.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn get_mut(&mut self, place: u32) -> &mut T {
        self.places[place as usize].as_mut().expect("a place in use")
    }

    /// Takes the value out of `place`.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn remove(&mut self, place: u32) -> T {
        let value = self.places[place as usize].take().expect("a place in use");
        self.free.push(place);
        value
    }
}

//! Ids of a virtual city: each carries the index of what it names, so that nothing is looked up by it, and none is drawn by
//! chance.

use uuid::{Builder, Uuid};

use crate::domain::{
    ids::{MerchantId, OrderId, RiderId},
    time::Timestamp,
};

/// The id of a rider.
pub(super) fn rider(index: usize) -> RiderId {
    RiderId(Uuid::from_u128(index as u128 + 1))
}

/// The index of a rider; beyond every index for an id that names none.
pub(super) fn rider_index(id: RiderId) -> usize {
    usize::try_from(id.0.as_u128().wrapping_sub(1)).unwrap_or(usize::MAX)
}

/// The id of an order: a UUIDv7 like every order's, so that it carries the time of the placement and sorts by it.
pub(super) fn order(index: usize, placed_at: Timestamp) -> OrderId {
    let millis = u64::try_from(placed_at.as_millis()).unwrap_or(0);
    let mut tail = [0; 10];
    tail[2..].copy_from_slice(&(index as u64).to_be_bytes());
    OrderId(Builder::from_unix_timestamp_millis(millis, &tail).into_uuid())
}

/// The index of an order.
pub(super) fn order_index(id: OrderId) -> usize {
    // The two highest of the low 64 bits are the variant.
    usize::try_from(id.0.as_u128() & (u128::from(u64::MAX) >> 2)).unwrap_or(usize::MAX)
}

/// The merchant of a store.
pub(super) fn merchant(store: u64) -> MerchantId {
    MerchantId(Uuid::from_u128(u128::from(store)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_what_they_were_made_for() {
        let at = Timestamp::from_millis(1_767_225_600_123);
        for index in [0, 1, 4_516, 1 << 40] {
            let id = order(index, at);
            assert_eq!((order_index(id), id.placed_at(), id.0.get_version_num()), (index, at, 7));
            assert_eq!(rider_index(rider(index)), index);
        }
        assert!(order(1, at) < order(2, at), "orders of one instant keep their order");
        assert_eq!(rider_index(RiderId(Uuid::nil())), usize::MAX);
    }
}

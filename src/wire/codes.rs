//! The stable words of the sockets: codes of `error` frames, reasons of `bye`, of refused points, and kinds of alerts.
//! `docs/ERRORS.md` lists them. What a city refuses has its codes in `engine::command::Refusal`.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($word:ident = $text:literal,)* }) => {
        $(#[$doc])*
        pub mod $name {
            $(#[doc = concat!("`", $text, "`")] pub const $word: &str = $text;)*

            /// Every one of them, in the order of the documentation.
            pub const ALL: &[&str] = &[$($word,)*];
        }
    };
}

words! {
    /// Codes of the rider socket's `error` frames that come from the socket itself.
    frame {
        HELLO_FIRST = "hello_first",
        NOT_WELCOME_YET = "not_welcome_yet",
        ALREADY_LIVE = "already_live",
        MALFORMED_FRAME = "malformed_frame",
        UNKNOWN_TYPE = "unknown_type",
        BINARY_NOT_SUPPORTED = "binary_not_supported",
        TEXT_NOT_SUPPORTED = "text_not_supported",
        FRAME_TOO_LARGE = "frame_too_large",
        TOO_MANY_PINGS = "too_many_pings",
        TOO_MANY_REQUESTS = "too_many_requests",
        UNKNOWN_STEP = "unknown_step",
        OUT_OF_WORLD = "out_of_world",
        NULL_ISLAND = "null_island",
        OFFER_CLOSED = "offer_closed",
        UNKNOWN_CITY = "unknown_city",
        CITY_UNAVAILABLE = "city_unavailable",
        CITY_BUSY = "city_busy",
        CITY_DEADLINE = "city_deadline",
        STORAGE_UNAVAILABLE = "storage_unavailable",
        INTERNAL = "internal",
    }
}

words! {
    /// Reasons of the rider socket's `bye`; a city that refuses the session gives its own code instead.
    rider_bye {
        TAKEN_OVER = "taken_over",
        UNKNOWN_RIDER = "unknown_rider",
        GOING_AWAY = "going_away",
        CITY_MOVED = "city_moved",
        CITY_UNAVAILABLE = "city_unavailable",
        CITY_BUSY = "city_busy",
        STORE_UNAVAILABLE = "store_unavailable",
        NO_HELLO = "no_hello",
        SLOW_READER = "slow_reader",
        TOO_MANY_BAD_FRAMES = "too_many_bad_frames",
        BUSY = "busy",
    }
}

words! {
    /// Why a point was refused.
    ping {
        BAD_SEQ = "bad_seq",
        OFF_DUTY = "off_duty",
        DUPLICATE = "duplicate",
        BAD_CLOCK = "bad_clock",
        NO_FIX = "no_fix",
        OUT_OF_WORLD = "out_of_world",
        NULL_ISLAND = "null_island",
        INACCURATE = "inaccurate",
        MOCK = "mock",
        FUTURE = "future",
        TOO_OLD = "too_old",
        RATE = "rate",
        TELEPORT = "teleport",
    }
}

words! {
    /// Reasons of the operator socket's `bye`.
    operator_bye {
        GOING_AWAY = "going_away",
        CITY_MOVED = "city_moved",
        CITY_UNAVAILABLE = "city_unavailable",
        CITY_BUSY = "city_busy",
    }
}

words! {
    /// Kinds of the operator socket's `alert`.
    alert {
        SILENT_CARRIER = "silent_carrier",
        ORDER_EXPIRED = "order_expired",
        WRITE_REJECTED = "write_rejected",
        NEEDS_OPERATOR = "needs_operator",
        DISPUTED = "disputed",
    }
}

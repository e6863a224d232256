-- What riders bring along or may carry, and what orders need of it: short words, at most 8 of them. A list of words is one
-- text for the check, because a check holds no subquery; as many words as the list has keep spaces and nothing out.

ALTER TABLE riders
    ADD COLUMN tags text[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT riders_tags_check
        CHECK (cardinality(tags) <= 8
               AND array_to_string(tags, ' ', '?') ~ '^([a-z0-9_]{1,32}( [a-z0-9_]{1,32})*)?$'
               AND cardinality(string_to_array(array_to_string(tags, ' ', '?'), ' ')) = cardinality(tags));

ALTER TABLE orders
    ADD COLUMN needs_tags text[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT orders_needs_tags_check
        CHECK (cardinality(needs_tags) <= 8
               AND array_to_string(needs_tags, ' ', '?') ~ '^([a-z0-9_]{1,32}( [a-z0-9_]{1,32})*)?$'
               AND cardinality(string_to_array(array_to_string(needs_tags, ' ', '?'), ' ')) = cardinality(needs_tags));

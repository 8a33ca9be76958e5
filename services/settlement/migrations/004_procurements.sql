-- Machines bought for what was sold as ready in a running hour, from when it is sold on demand: one purchase per title.
SET LOCAL search_path = settlement;

CREATE TABLE procurements (
    contract   bigint NOT NULL,
    title      bigint NOT NULL,
    account    bigint NOT NULL,
    cost       bigint NOT NULL CHECK (cost > 0),
    request_id text   NOT NULL,
    PRIMARY KEY (contract, title)
);

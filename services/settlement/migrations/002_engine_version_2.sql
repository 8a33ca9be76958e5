-- What engine version 2 says: blocks, quotes, references that move, corrections, promises that could not be bought in.
SET LOCAL search_path = settlement;

-- GTD orders end by themselves; 0: not before their phase does. Amending changes price and qty, which is all that was ever asked
-- for: an order made larger and smaller again and again has numbers that no limit of a single order bounds.
ALTER TABLE orders ALTER COLUMN qty TYPE bigint, ALTER COLUMN filled TYPE bigint, ALTER COLUMN cancelled TYPE bigint,
    ADD COLUMN expires_ms bigint NOT NULL DEFAULT 0;
ALTER TABLE orders ALTER COLUMN expires_ms DROP DEFAULT;

-- Reference and collar (both ends included) of a class; a contract's own, 0: its class's.
ALTER TABLE classes ADD COLUMN reference bigint NOT NULL DEFAULT 0, ADD COLUMN collar_low bigint NOT NULL DEFAULT 0,
    ADD COLUMN collar_high bigint NOT NULL DEFAULT 0;
UPDATE classes SET reference = list_price, collar_low = (list_price * collar_low_bp + 9999) / 10000,
    collar_high = list_price * collar_high_bp / 10000;
ALTER TABLE classes ALTER COLUMN reference DROP DEFAULT, ALTER COLUMN collar_low DROP DEFAULT,
    ALTER COLUMN collar_high DROP DEFAULT;
ALTER TABLE contracts ADD COLUMN reference bigint NOT NULL DEFAULT 0, ADD COLUMN collar_low bigint NOT NULL DEFAULT 0,
    ADD COLUMN collar_high bigint NOT NULL DEFAULT 0;
ALTER TABLE contracts ALTER COLUMN reference DROP DEFAULT, ALTER COLUMN collar_low DROP DEFAULT,
    ALTER COLUMN collar_high DROP DEFAULT;

-- Blocks: contiguous hours, one limit on the average, all hours or none. `trade_*`: the trade under way between two records of
-- `events`: its GPUs, hours complete, GPUs of the hour under way, sum of price x qty so far; all 0 at rest.
CREATE TABLE blocks (
    order_id    bigint PRIMARY KEY,
    account     bigint   NOT NULL,
    class_no    int      NOT NULL,
    first_hour  int      NOT NULL,
    hours       int      NOT NULL,
    shard       smallint NOT NULL,
    side        smallint NOT NULL,
    qty         int      NOT NULL,
    qty_min     int      NOT NULL,
    price       bigint   NOT NULL,
    tif         smallint NOT NULL,
    flags       int      NOT NULL,
    client_id   text     NOT NULL,
    leaves      int      NOT NULL,
    filled      int      NOT NULL,
    cancelled   int      NOT NULL,
    state       text     NOT NULL CHECK (state IN ('open', 'filled', 'cancelled')),
    reason      smallint NOT NULL,
    maker_bp    int      NOT NULL,
    taker_bp    int      NOT NULL,
    expires_ms  bigint   NOT NULL,
    accepted_ms bigint   NOT NULL,
    updated_ms  bigint   NOT NULL,
    seq         bigint   NOT NULL,
    trade_qty   int      NOT NULL,
    trade_hours int      NOT NULL,
    trade_gpus  int      NOT NULL,
    trade_cash  bigint   NOT NULL,
    CONSTRAINT every_gpu_is_somewhere CHECK (leaves >= 0 AND filled + cancelled + leaves = qty)
) WITH (fillfactor = 80);
CREATE INDEX blocks_by_client_id ON blocks (account, client_id);
CREATE INDEX blocks_open_of_account ON blocks (account) WHERE state = 'open';
CREATE INDEX blocks_open_of_class ON blocks (class_no, first_hour) WHERE state = 'open';

-- A market maker's quotes of a class: its last command, hours open after it and hours that it was refused. Its orders have no rows; their fills have, as every fill.
CREATE TABLE quotes (
    account    bigint   NOT NULL,
    class_no   int      NOT NULL,
    shard      smallint NOT NULL,
    number     bigint   NOT NULL,
    hours      int      NOT NULL,
    refused    int      NOT NULL,
    updated_ms bigint   NOT NULL,
    seq        bigint   NOT NULL,
    PRIMARY KEY (account, class_no)
) WITH (fillfactor = 70);

-- Promised titles that were still owed after the buy-in at the cover deadline: a failure to deliver, known in advance.
CREATE TABLE buy_in_failures (
    contract bigint   NOT NULL,
    account  bigint   NOT NULL,
    shard    smallint NOT NULL,
    qty      int      NOT NULL CHECK (qty > 0),
    time_ms  bigint   NOT NULL,
    seq      bigint   NOT NULL,
    PRIMARY KEY (contract, account)
);

-- Clear errors put right in cash, by two operators of different owners. Public, with its reason. Its entry: (1, shard, seq, index).
CREATE TABLE corrections (
    shard           smallint NOT NULL,
    seq             bigint   NOT NULL,
    index           int      NOT NULL,
    trade           bigint   NOT NULL,
    payer           bigint   NOT NULL,
    payee           bigint   NOT NULL,
    amount          bigint   NOT NULL CHECK (amount > 0),
    operator        bigint   NOT NULL,
    second_operator bigint   NOT NULL,
    reason          text     NOT NULL,
    time_ms         bigint   NOT NULL,
    PRIMARY KEY (shard, seq, index)
);

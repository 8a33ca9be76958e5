-- Schema settlement: the ledger and the projections of what happened. Settlement alone writes; others read.
-- Amounts are µUSD, or GPU-minutes where `asset` is a contract. Times are market time in ms. Texts of codes: schemas/events.py.
SET LOCAL search_path = settlement;

-- --- The ledger: postings are only ever added ----------------------------------------------------------------

-- An entry's id is where it comes from: source 1 an event (shard, seq, index in the record), 2 a request (0, offset, 0),
-- 3 a delivery record (shard, offset, title; the collateral that the title's settling frees: minus title).
CREATE TABLE entries (
    source  smallint NOT NULL CHECK (source IN (1, 2, 3)),
    shard   smallint NOT NULL,
    seq     bigint   NOT NULL,
    index   bigint   NOT NULL,
    what    text     NOT NULL,
    time_ms bigint   NOT NULL,
    PRIMARY KEY (source, shard, seq, index)
);

-- The lines of an entry; they sum to zero per asset. Kinds: docs/decisions/002-ledger.md.
CREATE TABLE postings (
    source        smallint NOT NULL,
    shard         smallint NOT NULL,
    seq           bigint   NOT NULL,
    index         bigint   NOT NULL,
    line          smallint NOT NULL,
    kind          smallint NOT NULL CHECK (kind BETWEEN 1 AND 11),
    account_shard smallint NOT NULL,
    ref           bigint   NOT NULL,
    asset         bigint   NOT NULL,
    amount        bigint   NOT NULL CHECK (amount <> 0)
);
-- A member's own lines, for statements.
CREATE INDEX postings_of_member ON postings (ref, source, shard, seq) WHERE kind IN (2, 3, 4, 5, 8);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of settlement.% is refused: entries and postings never change', TG_OP, TG_TABLE_NAME;
END $$;
CREATE TRIGGER entries_never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER postings_never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON postings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Sums of postings. Only the outside world and hours owed may be below zero.
CREATE TABLE balances (
    kind   smallint NOT NULL,
    shard  smallint NOT NULL,
    ref    bigint   NOT NULL,
    asset  bigint   NOT NULL,
    amount bigint   NOT NULL CONSTRAINT nothing_available_is_negative CHECK (amount >= 0 OR kind IN (1, 11)),
    PRIMARY KEY (kind, shard, ref, asset)
) WITH (fillfactor = 70);

-- --- Accounts, classes, contracts ----------------------------------------------------------------------------

CREATE TABLE accounts (
    account   bigint PRIMARY KEY,
    owner     bigint  NOT NULL,
    name      text    NOT NULL,
    role      int     NOT NULL,
    fee_plan  int     NOT NULL,
    desk      boolean NOT NULL,
    opened_ms bigint  NOT NULL
);

-- `listed`: the shard has confirmed it.
CREATE TABLE classes (
    class_no         int PRIMARY KEY,
    class_id         text    NOT NULL UNIQUE,
    shard            int     NOT NULL,
    specification    text    NOT NULL,
    lot              int     NOT NULL,
    tick             bigint  NOT NULL,
    list_price       bigint  NOT NULL,
    buyer_maker      int     NOT NULL,
    buyer_taker      int     NOT NULL,
    seller_maker     int     NOT NULL,
    seller_taker     int     NOT NULL,
    horizon_hours    int     NOT NULL,
    gate_ms          bigint  NOT NULL,
    cover_ms         bigint  NOT NULL,
    running_close_ms bigint  NOT NULL,
    collar_low_bp    int     NOT NULL,
    collar_high_bp   int     NOT NULL,
    first_hour       int     NOT NULL,
    listed           boolean NOT NULL,
    state            int     NOT NULL
);

-- `paid_out`: ended, and no title is left that waits for a delivery record.
CREATE TABLE contracts (
    contract bigint PRIMARY KEY,
    class_no int  NOT NULL,
    hour     int  NOT NULL,
    shard    int  NOT NULL,
    phase    text NOT NULL CHECK (phase IN ('forward', 'running', 'closed', 'ended')),
    state    int  NOT NULL,
    paid_out boolean NOT NULL
);
CREATE INDEX contracts_alive ON contracts (contract) WHERE NOT paid_out;
CREATE INDEX contracts_of_class ON contracts (class_no, hour);

-- What an account may owe (qty) and owes (owed) in an hour that has not ended.
CREATE TABLE backing (
    account          bigint   NOT NULL,
    contract         bigint   NOT NULL,
    ground           smallint NOT NULL,
    qty              int      NOT NULL,
    collateral_price bigint   NOT NULL,
    version          bigint   NOT NULL,
    owed             int      NOT NULL,
    PRIMARY KEY (account, contract, ground)
) WITH (fillfactor = 70);
CREATE INDEX backing_of_contract ON backing (contract);

-- --- Orders and fills ----------------------------------------------------------------------------------------

CREATE TABLE orders (
    order_id    bigint PRIMARY KEY,
    account     bigint   NOT NULL,
    contract    bigint   NOT NULL,
    shard       smallint NOT NULL,
    side        smallint NOT NULL,
    qty         int      NOT NULL,
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
    accepted_ms bigint   NOT NULL,
    updated_ms  bigint   NOT NULL,
    seq         bigint   NOT NULL,
    CONSTRAINT every_gpu_is_somewhere CHECK (leaves >= 0 AND filled + cancelled + leaves = qty)
) WITH (fillfactor = 80);
CREATE INDEX orders_by_client_id ON orders (account, client_id);
CREATE INDEX orders_open_of_account ON orders (account) WHERE state = 'open';
CREATE INDEX orders_open_of_contract ON orders (contract) WHERE state = 'open';

CREATE TABLE fills (
    shard       smallint NOT NULL,
    trade       bigint   NOT NULL,
    seq         bigint   NOT NULL,
    contract    bigint   NOT NULL,
    price       bigint   NOT NULL,
    qty         int      NOT NULL,
    minutes     int      NOT NULL,
    taker_side  smallint NOT NULL,
    maker_order bigint   NOT NULL,
    taker_order bigint   NOT NULL,
    buyer       bigint   NOT NULL,
    seller      bigint   NOT NULL,
    notional    bigint   NOT NULL,
    buyer_fee   bigint   NOT NULL,
    seller_fee  bigint   NOT NULL,
    time_ms     bigint   NOT NULL,
    -- A contract is in one shard, which numbers its trades.
    PRIMARY KEY (contract, trade)
);
-- One column each: every fill enters both, and equal keys share an entry.
CREATE INDEX fills_of_buyer ON fills (buyer);
CREATE INDEX fills_of_seller ON fills (seller);

-- --- Titles, their claims, their delivery --------------------------------------------------------------------

-- `closed`: bought back by its own obligor (obligor and holder 0); its escrow stays with the contract.
CREATE TABLE titles (
    contract bigint   NOT NULL,
    title    bigint   NOT NULL,
    shard    smallint NOT NULL,
    obligor  bigint   NOT NULL,
    holder   bigint   NOT NULL,
    ground   smallint NOT NULL,
    qty      int      NOT NULL,
    minutes  int      NOT NULL,
    escrow   bigint   NOT NULL,
    proceeds bigint   NOT NULL,
    cost     bigint   NOT NULL,
    fees     bigint   NOT NULL,
    state    text     NOT NULL CHECK (state IN ('live', 'closed', 'ended', 'settled')),
    -- A contract is in one shard, which numbers its titles. No index on a column that trading changes: an update then touches
    -- none. Positions of a member: balances of kind 11.
    PRIMARY KEY (contract, title)
) WITH (fillfactor = 60);

CREATE TABLE claims (
    shard   smallint NOT NULL,
    title   bigint   NOT NULL,
    account bigint   NOT NULL,
    gain    bigint   NOT NULL CHECK (gain >= 0),
    loss    bigint   NOT NULL CHECK (loss >= 0),
    PRIMARY KEY (shard, title, account)
);

-- Collateral of promises of an ended hour that still waits: freed with the last promised title of (contract, account).
CREATE TABLE collateral (
    contract bigint NOT NULL,
    account  bigint NOT NULL,
    shard    smallint NOT NULL,
    amount   bigint NOT NULL CHECK (amount > 0),
    PRIMARY KEY (contract, account)
);

-- One row per record in force; `title` 0: every title of the contract that has none of its own.
CREATE TABLE deliveries (
    contract    bigint   NOT NULL,
    title       bigint   NOT NULL,
    shard       smallint NOT NULL,
    undelivered int      NOT NULL,
    source      text     NOT NULL,
    record_id   text     NOT NULL,
    state       text     NOT NULL CHECK (state IN ('waiting', 'settled')),
    log_offset  bigint   NOT NULL,
    PRIMARY KEY (contract, title)
);
CREATE INDEX deliveries_waiting ON deliveries (contract) WHERE state = 'waiting';

-- --- What was asked ------------------------------------------------------------------------------------------

-- `digest`: BLAKE2b-128 of the record in the topic. Another body under the same id never gets here: see `refusals`.
CREATE TABLE requests (
    request_id text PRIMARY KEY,
    account    bigint NOT NULL,
    digest     bytea  NOT NULL,
    state      text   NOT NULL CHECK (state IN ('pending', 'done', 'refused')),
    code       text   NOT NULL,
    need       bigint NOT NULL,
    have       bigint NOT NULL,
    outcome    jsonb  NOT NULL,
    log_offset bigint NOT NULL,
    updated_ms bigint NOT NULL
);
CREATE INDEX requests_pending ON requests (request_id) WHERE state = 'pending';

CREATE TABLE deposits (
    provider     text NOT NULL,
    provider_ref text NOT NULL,
    account      bigint NOT NULL,
    amount       bigint NOT NULL,
    request_id   text   NOT NULL,
    PRIMARY KEY (provider, provider_ref)
);

-- The outside world's accounts of kind 1: ref is `provider`.
CREATE TABLE providers (
    provider bigint PRIMARY KEY,
    name     text NOT NULL UNIQUE
);

CREATE TABLE payouts (
    payout      bigint PRIMARY KEY,
    account     bigint NOT NULL,
    amount      bigint NOT NULL,
    destination text   NOT NULL,
    state       text   NOT NULL CHECK (state IN ('requested', 'sent', 'paid', 'returned')),
    request_id  text   NOT NULL,
    created_ms  bigint NOT NULL,
    updated_ms  bigint NOT NULL
);
CREATE INDEX payouts_of_account ON payouts (account);
CREATE INDEX payouts_open ON payouts (payout) WHERE state IN ('requested', 'sent');

-- Records that changed nothing and have no row of their own: source 2 a request, 3 a delivery record.
CREATE TABLE refusals (
    source     smallint NOT NULL,
    log_offset bigint   NOT NULL,
    what       text     NOT NULL,
    code       text     NOT NULL,
    detail     text     NOT NULL,
    time_ms    bigint   NOT NULL,
    PRIMARY KEY (source, log_offset, what)
);

-- --- Positions and numbers -----------------------------------------------------------------------------------

-- Messages to the shards, numbered densely. `body`: one MessagePack body of schemas/commands.py.
CREATE TABLE outbox (
    shard      smallint NOT NULL,
    outbox     bigint   NOT NULL,
    body       bytea    NOT NULL,
    request_id text     NOT NULL,
    confirmed  boolean  NOT NULL,
    PRIMARY KEY (shard, outbox)
);
CREATE INDEX outbox_unconfirmed ON outbox (shard, outbox) WHERE NOT confirmed;

CREATE TABLE outbox_counters (
    shard smallint PRIMARY KEY,
    last  bigint NOT NULL
);

-- Market time = t0 + rate × (stamp − t0), as the shard's first record says.
CREATE TABLE shards (
    shard smallint PRIMARY KEY,
    t0_ms bigint NOT NULL,
    rate  int    NOT NULL
);

-- Last number given: account, class, payout, provider.
CREATE TABLE counters (
    name text PRIMARY KEY,
    last bigint NOT NULL
);

-- How far each log has been read; seq and chain are those of `events`.
CREATE TABLE cursors (
    topic       text   NOT NULL,
    partition   int    NOT NULL,
    next_offset bigint NOT NULL,
    last_hash   bytea  NOT NULL,
    seq         bigint NOT NULL,
    chain       bytea  NOT NULL,
    time_ms     bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- Batches committed so far. Whoever commits must have seen them all: two settlements at once cannot both go on.
CREATE TABLE commits (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    last bigint NOT NULL
);
INSERT INTO commits (last) VALUES (0);

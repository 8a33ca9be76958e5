-- Hand-overs are credited out of the fees of the hour that they begin (source 4: the delivery record, offset and title), and
-- where machines were exchanged, what comes back goes to whoever went without.
SET LOCAL search_path = settlement;

ALTER TABLE entries DROP CONSTRAINT entries_source_check;
ALTER TABLE entries ADD CONSTRAINT entries_source_check CHECK (source IN (1, 2, 3, 4));

-- `moved`: GPUs of the title whose holder had to leave his machine; `credit`: µUSD for them.
-- `refunds`: account -> GPU-minutes that it went without; {}: the title's holder.
ALTER TABLE deliveries ADD COLUMN moved int NOT NULL DEFAULT 0 CHECK (moved >= 0);
ALTER TABLE deliveries ADD COLUMN refunds jsonb NOT NULL DEFAULT '{}';
ALTER TABLE deliveries ADD COLUMN credit bigint NOT NULL DEFAULT 0 CHECK (credit >= 0);

-- One Postgres role per service: who may read and write what. Run by an administrator after the migrations, as often as wanted:
--   psql "$HOURBOOK_POSTGRES_ADMIN" -v ON_ERROR_STOP=1 -f services/settlement/roles.sql
-- Passwords are set apart from this file: ALTER ROLE hourbook_settlement LOGIN PASSWORD '...'.
BEGIN;

DO $$
DECLARE service text;
BEGIN
    FOREACH service IN ARRAY ARRAY[
        'hourbook_settlement', 'hourbook_gateway', 'hourbook_matching', 'hourbook_audit', 'hourbook_supply', 'hourbook_market_maker',
        'hourbook_delivery', 'hourbook_router'
    ] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = service) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', service);
        END IF;
    END LOOP;
END $$;

REVOKE ALL ON SCHEMA settlement, runtime FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA settlement, runtime FROM PUBLIC,
    hourbook_settlement, hourbook_gateway, hourbook_matching, hourbook_audit, hourbook_supply, hourbook_market_maker,
    hourbook_delivery, hourbook_router;

-- Settlement writes its schema, but what has been posted stays as it is.
GRANT USAGE ON SCHEMA settlement, runtime TO hourbook_settlement;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA settlement TO hourbook_settlement;
REVOKE UPDATE, DELETE ON settlement.entries, settlement.postings, settlement.corrections FROM hourbook_settlement;
GRANT SELECT, INSERT, UPDATE ON runtime.leases TO hourbook_settlement;
GRANT SELECT ON runtime.migrations TO hourbook_settlement;

-- The door and the auditor read.
GRANT USAGE ON SCHEMA settlement, runtime TO hourbook_gateway, hourbook_audit;
GRANT SELECT ON ALL TABLES IN SCHEMA settlement TO hourbook_gateway, hourbook_audit;
GRANT SELECT ON ALL TABLES IN SCHEMA runtime TO hourbook_gateway, hourbook_audit;

-- Matching: its lease, and whether the table of leases is as this build knows it.
GRANT USAGE ON SCHEMA runtime TO hourbook_matching;
GRANT SELECT, INSERT, UPDATE ON runtime.leases TO hourbook_matching;
GRANT SELECT ON runtime.migrations TO hourbook_matching;

-- Delivery: its lease, and what classes were listed with (the setup allowance).
GRANT USAGE ON SCHEMA settlement, runtime TO hourbook_delivery;
GRANT SELECT, INSERT, UPDATE ON runtime.leases TO hourbook_delivery;
GRANT SELECT ON runtime.migrations TO hourbook_delivery;
GRANT SELECT ON settlement.classes TO hourbook_delivery;

-- The router: its lease. What it knows of accounts and money it asks the gateway, as they would.
GRANT USAGE ON SCHEMA runtime TO hourbook_router;
GRANT SELECT, INSERT, UPDATE ON runtime.leases TO hourbook_router;
GRANT SELECT ON runtime.migrations TO hourbook_router;

-- Supply and the market maker: nothing (a wall: the desk sees no more than a member).

COMMIT;

-- Who may start writing a log. The clock of this database decides what has run out.
CREATE TABLE runtime.leases (
    name       text   PRIMARY KEY,
    epoch      bigint NOT NULL CHECK (epoch > 0),
    holder     text   NOT NULL,
    expires_ms bigint NOT NULL
);

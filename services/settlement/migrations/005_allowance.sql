-- Of the delivered minutes of a title, those that its class's setup allowance stood in for, as the delivery record says.
SET LOCAL search_path = settlement;

ALTER TABLE deliveries ADD COLUMN allowance int NOT NULL DEFAULT 0 CHECK (allowance >= 0);

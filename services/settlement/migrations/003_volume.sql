-- Volume by time (GET /v1/volume). Two microseconds a fill where COPY takes 23; a block-range index takes half of one, and is left
-- aside by the planner until the table has been vacuumed.
SET LOCAL search_path = settlement;
CREATE INDEX fills_of_time ON fills (time_ms);

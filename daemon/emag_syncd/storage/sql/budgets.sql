-- The marketplace's budget of each account, shared by all processes: until when it is given away, and to whom.

-- name: reserve$
-- What lies further ahead than anybody reserves is a clock that was set back, and not believed.
INSERT INTO emag_api_budgets AS budget (account_type, holder, free_at)
VALUES (:account, :holder, clock_timestamp() + make_interval(secs => :delay::float8 + :span::float8))
ON CONFLICT (account_type) DO UPDATE
SET free_at = greatest(
        least(budget.free_at, clock_timestamp() + make_interval(secs => :furthest::float8))
            + make_interval(secs => CASE WHEN budget.holder = excluded.holder THEN 0 ELSE :gap::float8 END),
        clock_timestamp() + make_interval(secs => :delay::float8)
    ) + make_interval(secs => :span::float8),
    holder = excluded.holder
RETURNING extract(epoch FROM free_at - clock_timestamp())::float8 - :span::float8;

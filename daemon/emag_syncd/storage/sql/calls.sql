-- The log of calls that the marketplace asks integrators to keep.

-- name: log_calls!
INSERT INTO emag_api_calls (
    called_at, sync_log_id, duration_ms, response_bytes, status_code, is_error, account_type, resource,
    outcome, params, messages, body
)
SELECT clock_timestamp() - make_interval(secs => call.age_seconds), call.sync_log_id, call.duration_ms,
    call.response_bytes, call.status_code, call.is_error, call.account_type, call.resource, call.outcome,
    call.params, call.messages, call.body
FROM unnest(
    :ages::float8[], :runs::uuid[], :durations::float8[], :sizes::bigint[], :statuses::int[], :errors::bool[],
    :accounts::text[], :resources::text[], :outcomes::text[], :params::jsonb[], :messages::jsonb[],
    :bodies::text[]
) AS call (
    age_seconds, sync_log_id, duration_ms, response_bytes, status_code, is_error, account_type, resource,
    outcome, params, messages, body
);

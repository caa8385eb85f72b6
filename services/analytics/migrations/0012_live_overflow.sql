-- Calls that overflowed, among the live figures: offered, and neither answered nor abandoned.

ALTER TABLE live_kpis ADD COLUMN IF NOT EXISTS overflowed UInt32 AFTER abandoned;

CREATE OR REPLACE VIEW live_kpi AS
SELECT
    l.client_id AS client_id,
    l.queue_id AS queue_id,
    l.interval_start AS interval_start,
    sum(l.offered) AS offered,
    sum(l.answered) AS answered,
    sum(l.abandoned) AS abandoned,
    if(offered = 0, NULL, abandoned / offered) AS abandonment_rate,
    if(answered = 0, NULL, sum(l.waited_us) / answered / 1e6) AS asa_s,
    if(offered = 0, NULL, sum(l.answered_in_target) / offered) AS service_level,
    if(sum(l.handled) = 0, NULL, sum(l.handle_us) / sum(l.handled) / 1e6) AS aht_s,
    sum(l.overflowed) AS overflowed
FROM live_kpis AS l FINAL
WHERE l.client_id IN (SELECT client_id FROM clients)
GROUP BY client_id, queue_id, interval_start;

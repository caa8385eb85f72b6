-- Which campaign's agents call back who presses the key in a recorded message, and how soon.

ALTER TABLE campaign_events
    ADD COLUMN IF NOT EXISTS settings_callback_campaign_id LowCardinality(String),
    ADD COLUMN IF NOT EXISTS settings_callback_within_seconds Int32;

ALTER TABLE robots
    ADD COLUMN forced_by text,
    ADD COLUMN waiting_since jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN deferring_since timestamptz;
ALTER TABLE rollout_robots ADD COLUMN look_at timestamptz;
CREATE INDEX idx_rollout_robots_look_at ON rollout_robots (look_at) WHERE look_at IS NOT NULL;

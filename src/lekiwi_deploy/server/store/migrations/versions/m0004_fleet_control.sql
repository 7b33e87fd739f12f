ALTER TABLE rollouts ADD COLUMN course jsonb NOT NULL DEFAULT '{}';
ALTER TABLE rollout_robots ADD COLUMN step integer;
ALTER TABLE robots ADD COLUMN anytime boolean NOT NULL DEFAULT false;

CREATE TABLE quarantines (
    project      text NOT NULL,
    environment  text NOT NULL,
    deployment   text NOT NULL REFERENCES deployments(id) ON DELETE CASCADE,
    why          text NOT NULL,
    rollout      text,
    at           timestamptz NOT NULL,
    lifted_by    text,
    lifted_at    timestamptz,
    PRIMARY KEY (project, environment, deployment),
    FOREIGN KEY (project, environment) REFERENCES environments(project, name) ON DELETE CASCADE
);

-- Policies said `rollback_on_error`; what is taken back has a name of its own now.
UPDATE environments SET policy = (policy - 'rollback_on_error') ||
    CASE policy -> 'rollback_on_error'
        WHEN 'false' THEN '{"undo": "nothing"}'
        WHEN 'true' THEN '{}'
        ELSE jsonb_build_object('undo', policy -> 'rollback_on_error')
    END
WHERE policy ? 'rollback_on_error';
UPDATE environments SET policy = policy - 'deployment_window' WHERE policy ? 'deployment_window';

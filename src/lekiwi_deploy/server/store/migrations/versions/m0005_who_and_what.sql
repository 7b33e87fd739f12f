ALTER TABLE projects ADD COLUMN branches jsonb NOT NULL DEFAULT '[]';
ALTER TABLE projects ADD COLUMN seeded_groups jsonb NOT NULL DEFAULT '{}';
ALTER TABLE environments ADD COLUMN seeded jsonb;
ALTER TABLE robots ADD COLUMN variables bigint NOT NULL DEFAULT 0;
ALTER TABLE robots ADD COLUMN variables_environment text;
ALTER TABLE robots ADD COLUMN variables_deployment text;
ALTER TABLE robots ADD COLUMN drained_by text;
ALTER TABLE robots ADD COLUMN drained_at timestamptz;
ALTER TABLE robots ADD COLUMN drained_why text;
ALTER TABLE robots ADD COLUMN unplaced text;
ALTER TABLE activations ADD COLUMN variables bigint NOT NULL DEFAULT 0;
ALTER TABLE manifests ADD COLUMN variables text[];
ALTER TABLE server ADD COLUMN variables_key text;
ALTER TABLE audit ADD COLUMN origin text NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN reason text NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN undo jsonb;
ALTER TABLE audit ADD COLUMN undone_by bigint;
CREATE INDEX idx_audit_target ON audit (target, seq DESC);

CREATE TABLE groups (                           -- named sets of robots; one that is not here is the robots with the label group=<name>
    project      text NOT NULL REFERENCES projects(name) ON DELETE CASCADE,
    name         text NOT NULL,
    selector     text NOT NULL,                 -- of labels
    by_whom      text NOT NULL,
    at           timestamptz NOT NULL,
    PRIMARY KEY (project, name)
);

CREATE TABLE approval_requests (                -- what waits for people before it goes live
    id           text PRIMARY KEY,              -- apr_ + 8 base-62
    project      text NOT NULL,
    environment  text NOT NULL,
    deployment   text NOT NULL REFERENCES deployments(id) ON DELETE CASCADE,
    digest       varchar(64) NOT NULL,          -- that people approve
    kind         text NOT NULL,                 -- deploy | promote | alias | redeploy
    asked_by     text NOT NULL,
    asked_at     timestamptz NOT NULL,
    author       text,
    needed       integer NOT NULL,
    not_author   boolean NOT NULL,
    expires_at   timestamptz NOT NULL,
    options      jsonb NOT NULL DEFAULT '{}',   -- reason, force: of what is started once it is approved
    ended        text,                          -- approved | rejected | expired | superseded
    ended_at     timestamptz,
    FOREIGN KEY (project, environment) REFERENCES environments(project, name) ON DELETE CASCADE
);
CREATE UNIQUE INDEX idx_approval_requests_open ON approval_requests (project, environment, deployment) WHERE ended IS NULL;

CREATE TABLE approval_votes (
    request      text NOT NULL REFERENCES approval_requests(id) ON DELETE CASCADE,
    by_whom      text NOT NULL,
    approved     boolean NOT NULL,
    at           timestamptz NOT NULL,
    reason       text NOT NULL DEFAULT '',
    PRIMARY KEY (request, by_whom)
);

CREATE TABLE aliases (                          -- labels of deployments
    project      text NOT NULL REFERENCES projects(name) ON DELETE CASCADE,
    name         text NOT NULL,
    deployment   text NOT NULL REFERENCES deployments(id) ON DELETE CASCADE,
    by_whom      text NOT NULL,
    at           timestamptz NOT NULL,
    PRIMARY KEY (project, name)
);

CREATE TABLE variables (                        -- append-only: each row is a version, its id the revision
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project      text NOT NULL REFERENCES projects(name) ON DELETE CASCADE,
    scope        text NOT NULL,                 -- project | environment | branch | tag | robot
    of           text NOT NULL DEFAULT '',
    name         text NOT NULL,
    sealed       bytea,                         -- XChaCha20-Poly1305, bound to project, scope, of, name; NULL: removed
    secret       boolean NOT NULL,
    fingerprint  text NOT NULL,                 -- keyed: equal when values are
    by_whom      text NOT NULL,
    at           timestamptz NOT NULL
);
CREATE INDEX idx_variables_name ON variables (project, scope, of, name, id DESC);

CREATE TABLE releases (                         -- a deployment in an environment: bound to the variables of when it first went live there
    project      text NOT NULL,
    environment  text NOT NULL,
    deployment   text NOT NULL REFERENCES deployments(id) ON DELETE CASCADE,
    variables    bigint NOT NULL,               -- revision
    at           timestamptz NOT NULL,
    PRIMARY KEY (project, environment, deployment),
    FOREIGN KEY (project, environment) REFERENCES environments(project, name) ON DELETE CASCADE
);
-- What went live before there were variables goes with none.
INSERT INTO releases (project, environment, deployment, variables, at)
SELECT o.project, o.environment, o.deployment, 0, min(o.created_at) FROM rollouts o
JOIN environments e ON (e.project, e.name) = (o.project, o.environment) JOIN deployments d ON d.id = o.deployment
GROUP BY o.project, o.environment, o.deployment;

CREATE TABLE previews (                         -- an environment of a branch, with robots of a pool for a time
    project      text NOT NULL,
    environment  text NOT NULL,
    branch       text NOT NULL,
    pool         text NOT NULL,                 -- environment that lends
    wants        integer NOT NULL,
    lease_s      double precision NOT NULL,
    opened_by    text NOT NULL,
    opened_at    timestamptz NOT NULL,
    waits_since  timestamptz,                   -- its place in the queue; NULL: it has what it wants
    until        timestamptz,                   -- when its time with robots is over; NULL: it has none, or never had any
    asked        text,                          -- deployment whose push asked for robots last: it asks once
    asked_by     text,                          -- who pushed that
    waits        text,                          -- deployment that goes live as soon as it has a robot
    PRIMARY KEY (project, environment),
    FOREIGN KEY (project, environment) REFERENCES environments(project, name) ON DELETE CASCADE
);

CREATE TABLE leases (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    robot        varchar(50) NOT NULL REFERENCES robots(name) ON DELETE CASCADE,
    project      text NOT NULL,
    environment  text NOT NULL,                 -- preview that has it
    home         text NOT NULL,                 -- environment that it goes back to
    before       text,                          -- deployment that was wanted of it
    since        timestamptz NOT NULL,
    until        timestamptz NOT NULL,
    ended_at     timestamptz,
    why          text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX idx_leases_open ON leases (robot) WHERE ended_at IS NULL;

CREATE TABLE waits (                            -- what held robots back, when: the past of `lekiwi why`
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    robot        varchar(50) NOT NULL REFERENCES robots(name) ON DELETE CASCADE,
    key          text NOT NULL,                 -- wire.reasons.key
    reason       jsonb NOT NULL,                -- as it was seen last
    since        timestamptz NOT NULL,
    until        timestamptz,                   -- NULL: it does now
    rollout      text                           -- in which it was
);
CREATE UNIQUE INDEX idx_waits_open ON waits (robot, key) WHERE until IS NULL;
CREATE INDEX idx_waits_robot ON waits (robot, since DESC);
CREATE INDEX idx_waits_rollout ON waits (rollout, since DESC);

CREATE TABLE robot_changes (                    -- which robots the conductor is to look at anew: noted by triggers, dropped after a while
    robot        varchar(50) NOT NULL,
    xid          xid8 NOT NULL DEFAULT pg_current_xact_id(), -- transaction that wrote it: a snapshot tells whether it was seen
    at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_robot_changes_xid ON robot_changes (xid);
CREATE INDEX idx_robot_changes_at ON robot_changes (at);

CREATE FUNCTION note_new_robots() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO robot_changes (robot) SELECT name FROM after_it;
    RETURN NULL;
END $$;
CREATE FUNCTION note_changed_robots() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO robot_changes (robot)
    SELECT n.name FROM after_it n JOIN before_it o ON o.name = n.name
    WHERE (n.session IS NULL) <> (o.session IS NULL) OR (n.report - 'number') IS DISTINCT FROM (o.report - 'number')
       OR ROW(n.project, n.environment, n.labels, n.joined_at, n.platform, n.desired, n.generation, n.by_hand, n.pinned_by, n.pinned_at,
              n.cloned_at, n.deferring_since, n.drained_by, n.drained_at, n.drained_why, n.unplaced)
          IS DISTINCT FROM
          ROW(o.project, o.environment, o.labels, o.joined_at, o.platform, o.desired, o.generation, o.by_hand, o.pinned_by, o.pinned_at,
              o.cloned_at, o.deferring_since, o.drained_by, o.drained_at, o.drained_why, o.unplaced);
    RETURN NULL;
END $$;
CREATE FUNCTION note_rollout_robots() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO robot_changes (robot) SELECT robot FROM touched;
    RETURN NULL;
END $$;
CREATE TRIGGER note_new AFTER INSERT ON robots REFERENCING NEW TABLE AS after_it
    FOR EACH STATEMENT EXECUTE FUNCTION note_new_robots();
CREATE TRIGGER note_changed AFTER UPDATE ON robots REFERENCING OLD TABLE AS before_it NEW TABLE AS after_it
    FOR EACH STATEMENT EXECUTE FUNCTION note_changed_robots();
CREATE TRIGGER note_added AFTER INSERT ON rollout_robots REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION note_rollout_robots();
CREATE TRIGGER note_written AFTER UPDATE ON rollout_robots REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION note_rollout_robots();
CREATE TRIGGER note_dropped AFTER DELETE ON rollout_robots REFERENCING OLD TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION note_rollout_robots();

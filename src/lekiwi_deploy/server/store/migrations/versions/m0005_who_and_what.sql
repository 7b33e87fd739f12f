ALTER TABLE projects ADD COLUMN branches jsonb NOT NULL DEFAULT '[]';
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
    until        timestamptz                    -- NULL: it does now
);
CREATE UNIQUE INDEX idx_waits_open ON waits (robot, key) WHERE until IS NULL;
CREATE INDEX idx_waits_robot ON waits (robot, since DESC);

-- The whole schema as the migrations leave it (a test compares the two). Readable on purpose: start here.
-- A change is made in two places: here, and as a migration in migrations/versions/ (before the first release: in m0001_initial.sql).
-- Times are timestamptz. Digests are lower-case hex. JSONB columns hold wire/ structs as encoded by msgspec.

CREATE TABLE server (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id           text NOT NULL,                 -- lasting id of this installation, audience of robots' tokens
    epoch        bigint NOT NULL DEFAULT 1,     -- raised when the database was restored from a backup
    ticket_key   bytea NOT NULL,                -- HMAC key of content tickets
    created_at   timestamptz NOT NULL DEFAULT now(),
    variables_key text                          -- fingerprint of the key that variables are sealed with, which is not in here
);

CREATE TABLE replicas (                         -- server processes that are alive; claims and sessions of others are void
    id           text PRIMARY KEY,
    started_at   timestamptz NOT NULL,
    seen_at      timestamptz NOT NULL
);

CREATE TABLE tokens (
    id           text PRIMARY KEY,              -- tok_ + 8 base-62, safe to show
    digest       bytea NOT NULL UNIQUE,         -- SHA-256 of the secret
    name         text NOT NULL,
    role         text NOT NULL,                 -- viewer | deployer | owner
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
);

CREATE TABLE projects (
    name         text PRIMARY KEY,
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL,
    branches     jsonb NOT NULL DEFAULT '[]',   -- [pattern, environment or group] pairs of lekiwi.yaml, in order
    seeded_groups jsonb NOT NULL DEFAULT '{}'   -- what lekiwi.yaml said of groups last: what people set holds until that changes
);

CREATE TABLE environments (
    project      text NOT NULL REFERENCES projects(name) ON DELETE CASCADE,
    name         text NOT NULL,
    branch       text,                          -- NULL: by the default mapping
    policy       jsonb,                         -- NULL: nobody configured it, the defaults hold
    live         text,                          -- deployment that robots of it are to run
    live_rollout text,
    freeze_by    text,
    freeze_at    timestamptz,
    freeze_why   text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    seeded       jsonb,                         -- what lekiwi.yaml said of it last: what people set holds until that changes
    PRIMARY KEY (project, name)
);

CREATE TABLE deployments (
    id           varchar(12) PRIMARY KEY,
    project      text NOT NULL REFERENCES projects(name) ON DELETE CASCADE,
    environment  text,                          -- that it was made for
    version      varchar(50) NOT NULL,
    commit_sha   varchar(40),
    branch       varchar(100),
    ref          text,                          -- refs/heads/main: the reconciler compares its tip with commit_sha
    author       varchar(255),
    message      text,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    source       text NOT NULL,                 -- push | upload | ref | redeploy
    upload       text,
    roll_out     boolean NOT NULL DEFAULT true, -- false: stop at built
    force        boolean NOT NULL DEFAULT false,
    metadata     jsonb NOT NULL DEFAULT '{}',
    status       varchar(20) NOT NULL DEFAULT 'queued', -- queued | building | built | failed | canceled; the rest is derived from the rollout
    error        text,
    stack        text,
    input_digest text,                          -- same inputs, same digest: no second build
    package_hash varchar(64),                   -- manifest digest, SHA-256
    package_url  text,                          -- object store key of the manifest
    manifest_size integer NOT NULL DEFAULT 0,
    files        integer NOT NULL DEFAULT 0,
    bytes        bigint NOT NULL DEFAULT 0,
    build_s      double precision,
    test_s       double precision,
    tests        text,
    rollout      text,                          -- its newest rollout
    claimed_by   text,                          -- builder: replica id
    claim_until  timestamptz,
    finished_at  timestamptz,
    idempotency_key text UNIQUE
);
CREATE INDEX idx_deployments_created ON deployments (created_at DESC);
CREATE INDEX idx_deployments_project ON deployments (project, created_at DESC);
CREATE INDEX idx_deployments_input ON deployments (project, input_digest) WHERE package_hash IS NOT NULL;
CREATE INDEX idx_deployments_open ON deployments (status) WHERE status IN ('queued', 'building');

CREATE TABLE manifests (
    digest       varchar(64) PRIMARY KEY,
    project      text NOT NULL,
    size         integer NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    variables    text[]                         -- names that its services declare; NULL: not looked up yet
);

CREATE TABLE packs (                            -- made once per pair of manifests and platform, kept in the object store
    key          text PRIMARY KEY,              -- <from>-<to>-<platform key>
    size         bigint NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE uploads (
    id           text PRIMARY KEY,
    project      text NOT NULL REFERENCES projects(name) ON DELETE CASCADE,
    files        jsonb NOT NULL,                -- list of FileEntry
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE join_tokens (
    digest       bytea PRIMARY KEY,             -- SHA-256 of the lkd_enr_ token
    robot        text NOT NULL,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz
);

CREATE TABLE robots (
    name         varchar(50) PRIMARY KEY,
    project      text NOT NULL REFERENCES projects(name) ON DELETE CASCADE,
    environment  text NOT NULL,
    labels       jsonb NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    joined_at    timestamptz,
    public_key   bytea,                         -- 32 bytes, Ed25519
    hostname     text,
    agent        text,
    platform     jsonb,                         -- wire Platform
    -- desired state: what is wanted of it
    desired      text,                          -- deployment id
    generation   bigint NOT NULL DEFAULT 0,
    by_hand      boolean NOT NULL DEFAULT false, -- pinned here by a person: only deployments made later move it
    pinned_by    text,
    pinned_at    timestamptz,
    force        boolean NOT NULL DEFAULT false,
    resume       boolean NOT NULL DEFAULT false,
    -- link
    session      text,                          -- id of the live link, NULL when offline
    session_replica text,
    boot_id      text,
    previous_boots text[] NOT NULL DEFAULT '{}', -- boot ids seen before this one: a machine never goes back to an earlier one
    contender    text,                          -- boot id that greeted with the robot's key while the link of another was live
    contender_at timestamptz,
    cloned_at    timestamptz,                   -- two live links with different boot ids were seen
    last_seen_at timestamptz,
    acked_events bigint NOT NULL DEFAULT 0,
    acked_logs   bigint NOT NULL DEFAULT 0,
    -- last report, whole, and what queries need of it
    report       jsonb,
    reported_at  timestamptz,
    running      text,
    running_digest varchar(64),
    healthy      boolean,
    observed_generation bigint NOT NULL DEFAULT 0,
    agent_wanted jsonb,                         -- wire AgentWanted without proof: which release of the agent it was told to go over to
    forced_by    text,                          -- who wants it over whatever would hold it back
    waiting_since jsonb NOT NULL DEFAULT '{}',  -- key of a reason in the report -> when it was first there
    deferring_since timestamptz,                -- it holds off what is wanted of it since then
    anytime      boolean NOT NULL DEFAULT false, -- what is wanted is a way back: the environment's window does not hold it off
    variables    bigint NOT NULL DEFAULT 0,     -- revision of the variables that it is to have
    variables_environment text,                 -- whose those are
    variables_deployment text,                  -- that they were given with; another one is wanted: those that it is bound to
    drained_by   text,                          -- a person took it out of deployments: it keeps what it runs
    drained_at   timestamptz,
    drained_why  text,
    unplaced     text,                          -- what its environment asks for, when its labels fit neither that nor another one
    FOREIGN KEY (project, environment) REFERENCES environments(project, name)
);
CREATE INDEX idx_robots_environment ON robots (project, environment);

CREATE TABLE rollouts (
    id           text PRIMARY KEY,
    project      text NOT NULL,
    environment  text NOT NULL,
    deployment   text NOT NULL REFERENCES deployments(id),
    kind         text NOT NULL,                 -- deploy | rollback | robot
    status       text NOT NULL DEFAULT 'rolling',
    by_whom      text NOT NULL,
    reason       text NOT NULL DEFAULT '',
    force        boolean NOT NULL DEFAULT false, -- also where it is quarantined
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    previous     text,
    total        integer NOT NULL DEFAULT 0,
    live         integer NOT NULL DEFAULT 0,
    pending      integer NOT NULL DEFAULT 0,
    failed       integer NOT NULL DEFAULT 0,
    idempotency_key text UNIQUE,
    course       jsonb NOT NULL DEFAULT '{}',   -- fleet.course.Course: its steps as they were at the start, and where it stands
    FOREIGN KEY (project, environment) REFERENCES environments(project, name) ON DELETE CASCADE
);
CREATE INDEX idx_rollouts_open ON rollouts (project, environment) WHERE status = 'rolling';
CREATE INDEX idx_rollouts_deployment ON rollouts (deployment, created_at DESC);

CREATE TABLE quarantines (                      -- what failed in an environment: not offered there again without a person
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

CREATE TABLE rollout_robots (
    rollout      text NOT NULL REFERENCES rollouts(id) ON DELETE CASCADE,
    robot        varchar(50) NOT NULL REFERENCES robots(name) ON DELETE CASCADE,
    status       text NOT NULL DEFAULT 'pending',
    previous     text,                          -- what it ran before
    generation   bigint,                        -- that it was assigned with
    assigned_at  timestamptz,
    confirmed_at timestamptz,
    outcome      jsonb,
    waiting      jsonb NOT NULL DEFAULT '[]',
    look_at      timestamptz,                   -- when the conductor is to look although nothing happened
    step         integer,                       -- of the rollout's course, in which it was asked
    PRIMARY KEY (rollout, robot)
);
CREATE INDEX idx_rollout_robots_look_at ON rollout_robots (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX idx_rollout_robots_robot ON rollout_robots (robot);

CREATE TABLE activations (                      -- intervals during which a deployment was live in an environment
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project      text NOT NULL,
    environment  text NOT NULL,
    deployment   text NOT NULL REFERENCES deployments(id) ON DELETE CASCADE,
    rollout      text,
    since        timestamptz NOT NULL,
    until        timestamptz,
    good         integer NOT NULL DEFAULT 0,    -- robots on which it became good
    healthy      integer NOT NULL DEFAULT 0,
    total        integer NOT NULL DEFAULT 0,
    variables    bigint NOT NULL DEFAULT 0      -- revision that it was live with
);
CREATE UNIQUE INDEX idx_activations_open ON activations (project, environment) WHERE until IS NULL;
CREATE INDEX idx_activations_time ON activations (project, environment, since DESC);

CREATE TABLE robot_activations (                -- what each robot ran, when: the product's robot_deployments is a view of it
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    robot        varchar(50) NOT NULL REFERENCES robots(name) ON DELETE CASCADE,
    deployment   varchar(12) NOT NULL,
    deployed_at  timestamptz NOT NULL,
    status       varchar(20) NOT NULL,          -- healthy | good | rolled_back | failed
    health_status varchar(20),
    rollback_from varchar(12),
    outcome      jsonb
);
CREATE INDEX idx_robot_activations ON robot_activations (robot, deployed_at DESC);
CREATE VIEW robot_deployments AS
    SELECT DISTINCT ON (robot, deployment) robot AS robot_id, deployment AS deployment_id, deployed_at, status, health_status, rollback_from
    FROM robot_activations ORDER BY robot, deployment, deployed_at DESC;

CREATE TABLE deployment_metrics (
    deployment_id varchar(12),
    robot_id     varchar(50),
    metric_type  varchar(50),                   -- switch_ms | gap_ms | ready_ms | wire_bytes
    value        numeric,
    timestamp    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_deployment_metrics ON deployment_metrics (deployment_id, robot_id);

CREATE TABLE agent_upgrades (                   -- robots going over to another release of the agent
    id           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    release      text NOT NULL,
    again        boolean NOT NULL DEFAULT false,
    by_whom      text NOT NULL,
    created_at   timestamptz NOT NULL,
    status       text NOT NULL DEFAULT 'rolling', -- rolling | done | halted | replaced
    why          text NOT NULL DEFAULT '',
    ended_at     timestamptz
);
CREATE INDEX idx_agent_upgrades_rolling ON agent_upgrades (id) WHERE status = 'rolling';

CREATE TABLE agent_upgrade_robots (
    upgrade      bigint NOT NULL REFERENCES agent_upgrades(id) ON DELETE CASCADE,
    robot        text NOT NULL REFERENCES robots(name) ON DELETE CASCADE,
    before       text,                          -- release or version that it had
    status       text NOT NULL DEFAULT 'pending', -- pending | asked | done | failed | skipped
    asked_at     timestamptz,
    why          text NOT NULL DEFAULT '',
    PRIMARY KEY (upgrade, robot)
);
CREATE INDEX idx_agent_upgrade_robots_robot ON agent_upgrade_robots (robot);

CREATE TABLE robot_events (                     -- from robots' event spools
    robot        varchar(50) NOT NULL REFERENCES robots(name) ON DELETE CASCADE,
    seq          bigint NOT NULL,
    at           timestamptz NOT NULL,
    stored_at    timestamptz NOT NULL DEFAULT now(),
    body         jsonb NOT NULL,                -- wire Event
    PRIMARY KEY (robot, seq)
);

CREATE TABLE progress (
    stream       text NOT NULL,                 -- dep_… or rol_…
    seq          bigint NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    body         jsonb NOT NULL,                -- wire progress.Body
    PRIMARY KEY (stream, seq)
);
CREATE TABLE progress_streams (
    stream       text PRIMARY KEY,
    seq          bigint NOT NULL DEFAULT 0,
    closed       boolean NOT NULL DEFAULT false
);

CREATE SEQUENCE log_cursor;
CREATE TABLE logs (
    cursor       bigint NOT NULL DEFAULT nextval('log_cursor'),
    project      text NOT NULL,
    robot        text,                          -- NULL: a build
    service      text NOT NULL,
    deployment   text,
    at           timestamptz NOT NULL,
    stored_at    timestamptz NOT NULL DEFAULT now(),
    stream       text NOT NULL,
    level        text,
    text         text NOT NULL
) PARTITION BY RANGE (stored_at);               -- one partition a day, made ahead and on demand; BRIN on stored_at
CREATE INDEX idx_logs_stored ON logs USING brin (stored_at);
CREATE INDEX idx_logs_project ON logs (project, cursor); -- always appended to at its end; the newest lines are read backwards

CREATE TABLE audit (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT now(),
    actor        text NOT NULL,
    action       text NOT NULL,
    target       text NOT NULL,
    detail       jsonb NOT NULL DEFAULT '{}',
    origin       text NOT NULL DEFAULT '',      -- from where: address and program
    reason       text NOT NULL DEFAULT '',
    undo         jsonb,                         -- fleet.undoing: how to take it back; NULL: it cannot be
    undone_by    bigint                         -- the change that took it back
);
CREATE INDEX idx_audit_target ON audit (target, seq DESC);

CREATE TABLE idempotency (                      -- answers of POSTs, kept a day
    key          text PRIMARY KEY,              -- SHA-256 of asker and Idempotency-Key
    actor        text NOT NULL,
    request      text NOT NULL,                 -- digest of method, path and body: another body under the same key is a conflict
    claimed_by   text NOT NULL,                 -- replica that is at it while there is no answer
    answer       bytea,                         -- sealed with a key that only who asks again can derive, since it may hold a secret
    created_at   timestamptz NOT NULL DEFAULT now()
);

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

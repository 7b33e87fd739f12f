-- The schema of the first release; what it means stands in ../../schema.sql.

CREATE TABLE server (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id           text NOT NULL,
    epoch        bigint NOT NULL DEFAULT 1,
    ticket_key   bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE replicas (
    id           text PRIMARY KEY,
    started_at   timestamptz NOT NULL,
    seen_at      timestamptz NOT NULL
);

CREATE TABLE tokens (
    id           text PRIMARY KEY,
    digest       bytea NOT NULL UNIQUE,
    name         text NOT NULL,
    role         text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
);

CREATE TABLE projects (
    name         text PRIMARY KEY,
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL
);

CREATE TABLE environments (
    project      text NOT NULL REFERENCES projects(name) ON DELETE CASCADE,
    name         text NOT NULL,
    branch       text,
    policy       jsonb,
    live         text,
    live_rollout text,
    freeze_by    text,
    freeze_at    timestamptz,
    freeze_why   text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, name)
);

CREATE TABLE deployments (
    id           varchar(12) PRIMARY KEY,
    project      text NOT NULL REFERENCES projects(name) ON DELETE CASCADE,
    environment  text,
    version      varchar(50) NOT NULL,
    commit_sha   varchar(40),
    branch       varchar(100),
    ref          text,
    author       varchar(255),
    message      text,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    source       text NOT NULL,
    upload       text,
    roll_out     boolean NOT NULL DEFAULT true,
    force        boolean NOT NULL DEFAULT false,
    metadata     jsonb NOT NULL DEFAULT '{}',
    status       varchar(20) NOT NULL DEFAULT 'queued',
    error        text,
    stack        text,
    input_digest text,
    package_hash varchar(64),
    package_url  text,
    manifest_size integer NOT NULL DEFAULT 0,
    files        integer NOT NULL DEFAULT 0,
    bytes        bigint NOT NULL DEFAULT 0,
    build_s      double precision,
    test_s       double precision,
    tests        text,
    rollout      text,
    claimed_by   text,
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
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE packs (
    key          text PRIMARY KEY,
    size         bigint NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE uploads (
    id           text PRIMARY KEY,
    project      text NOT NULL REFERENCES projects(name) ON DELETE CASCADE,
    files        jsonb NOT NULL,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE join_tokens (
    digest       bytea PRIMARY KEY,
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
    public_key   bytea,
    hostname     text,
    agent        text,
    platform     jsonb,

    desired      text,
    generation   bigint NOT NULL DEFAULT 0,
    by_hand      boolean NOT NULL DEFAULT false,
    pinned_by    text,
    pinned_at    timestamptz,
    force        boolean NOT NULL DEFAULT false,
    resume       boolean NOT NULL DEFAULT false,

    session      text,
    session_replica text,
    boot_id      text,
    previous_boots text[] NOT NULL DEFAULT '{}',
    contender    text,
    contender_at timestamptz,
    cloned_at    timestamptz,
    last_seen_at timestamptz,
    acked_events bigint NOT NULL DEFAULT 0,
    acked_logs   bigint NOT NULL DEFAULT 0,

    report       jsonb,
    reported_at  timestamptz,
    running      text,
    running_digest varchar(64),
    healthy      boolean,
    observed_generation bigint NOT NULL DEFAULT 0,
    FOREIGN KEY (project, environment) REFERENCES environments(project, name)
);
CREATE INDEX idx_robots_environment ON robots (project, environment);

CREATE TABLE rollouts (
    id           text PRIMARY KEY,
    project      text NOT NULL,
    environment  text NOT NULL,
    deployment   text NOT NULL REFERENCES deployments(id),
    kind         text NOT NULL,
    status       text NOT NULL DEFAULT 'rolling',
    by_whom      text NOT NULL,
    reason       text NOT NULL DEFAULT '',
    force        boolean NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    previous     text,
    total        integer NOT NULL DEFAULT 0,
    live         integer NOT NULL DEFAULT 0,
    pending      integer NOT NULL DEFAULT 0,
    failed       integer NOT NULL DEFAULT 0,
    idempotency_key text UNIQUE,
    FOREIGN KEY (project, environment) REFERENCES environments(project, name) ON DELETE CASCADE
);
CREATE INDEX idx_rollouts_open ON rollouts (project, environment) WHERE status = 'rolling';
CREATE INDEX idx_rollouts_deployment ON rollouts (deployment, created_at DESC);

CREATE TABLE rollout_robots (
    rollout      text NOT NULL REFERENCES rollouts(id) ON DELETE CASCADE,
    robot        varchar(50) NOT NULL REFERENCES robots(name) ON DELETE CASCADE,
    status       text NOT NULL DEFAULT 'pending',
    previous     text,
    generation   bigint,
    assigned_at  timestamptz,
    confirmed_at timestamptz,
    outcome      jsonb,
    waiting      jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (rollout, robot)
);
CREATE INDEX idx_rollout_robots_robot ON rollout_robots (robot);

CREATE TABLE activations (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project      text NOT NULL,
    environment  text NOT NULL,
    deployment   text NOT NULL REFERENCES deployments(id) ON DELETE CASCADE,
    rollout      text,
    since        timestamptz NOT NULL,
    until        timestamptz,
    good         integer NOT NULL DEFAULT 0,
    healthy      integer NOT NULL DEFAULT 0,
    total        integer NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX idx_activations_open ON activations (project, environment) WHERE until IS NULL;
CREATE INDEX idx_activations_time ON activations (project, environment, since DESC);

CREATE TABLE robot_activations (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    robot        varchar(50) NOT NULL REFERENCES robots(name) ON DELETE CASCADE,
    deployment   varchar(12) NOT NULL,
    deployed_at  timestamptz NOT NULL,
    status       varchar(20) NOT NULL,
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
    metric_type  varchar(50),
    value        numeric,
    timestamp    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_deployment_metrics ON deployment_metrics (deployment_id, robot_id);

CREATE TABLE robot_events (
    robot        varchar(50) NOT NULL REFERENCES robots(name) ON DELETE CASCADE,
    seq          bigint NOT NULL,
    at           timestamptz NOT NULL,
    stored_at    timestamptz NOT NULL DEFAULT now(),
    body         jsonb NOT NULL,
    PRIMARY KEY (robot, seq)
);

CREATE TABLE progress (
    stream       text NOT NULL,
    seq          bigint NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    body         jsonb NOT NULL,
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
    robot        text,
    service      text NOT NULL,
    deployment   text,
    at           timestamptz NOT NULL,
    stored_at    timestamptz NOT NULL DEFAULT now(),
    stream       text NOT NULL,
    level        text,
    text         text NOT NULL
) PARTITION BY RANGE (stored_at);
CREATE INDEX idx_logs_stored ON logs USING brin (stored_at);
CREATE INDEX idx_logs_project ON logs (project, cursor);

CREATE TABLE audit (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT now(),
    actor        text NOT NULL,
    action       text NOT NULL,
    target       text NOT NULL,
    detail       jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE idempotency (
    key          text PRIMARY KEY,
    actor        text NOT NULL,
    request      text NOT NULL,
    claimed_by   text NOT NULL,
    answer       bytea,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE agent_upgrades (
    id           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    release      text NOT NULL,
    again        boolean NOT NULL DEFAULT false,
    by_whom      text NOT NULL,
    created_at   timestamptz NOT NULL,
    status       text NOT NULL DEFAULT 'rolling',
    why          text NOT NULL DEFAULT '',
    ended_at     timestamptz
);
CREATE INDEX idx_agent_upgrades_rolling ON agent_upgrades (id) WHERE status = 'rolling';

CREATE TABLE agent_upgrade_robots (
    upgrade      bigint NOT NULL REFERENCES agent_upgrades(id) ON DELETE CASCADE,
    robot        text NOT NULL REFERENCES robots(name) ON DELETE CASCADE,
    before       text,
    status       text NOT NULL DEFAULT 'pending',
    asked_at     timestamptz,
    why          text NOT NULL DEFAULT '',
    PRIMARY KEY (upgrade, robot)
);
CREATE INDEX idx_agent_upgrade_robots_robot ON agent_upgrade_robots (robot);

ALTER TABLE robots ADD COLUMN agent_wanted jsonb;

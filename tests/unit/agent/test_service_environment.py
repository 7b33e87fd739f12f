from datetime import UTC, datetime
from pathlib import Path

import pytest

from lekiwi_deploy.agent.config import AgentConfig
from lekiwi_deploy.agent.environment import family_prefix, launch, link_interpreter, missing_variables
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ProjectName, RobotId
from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import Manifest, Service

REF = DeploymentRef(
    id=DeploymentId("dep_AAAAAAAA"),
    digest=ManifestDigest("0" * 64),
    manifest_size=1,
    version="v1",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)
WEB = Service(name="web", run=("python3", "web.py"), content="a" * 64, port=8000, env=("KEY", "GONE"), folder="code/w")
CONFIG = AgentConfig(
    server="http://localhost",
    server_id="srv",
    robot=RobotId("r1"),
    project=ProjectName("p"),
    environment=EnvironmentName("e"),
    port_offset=100,
)


def test_a_service_sees_its_own_world_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setenv("SECRET_OF_THE_AGENT", "x")
    manifest = Manifest(
        project="p",
        stack="python",
        files=(),
        services=(WEB,),
        python_path=("deps/lib", "code/src"),
        bin_path=("deps/bin",),
    )
    paths = Paths(Path("/r"))
    found = launch(paths, CONFIG, REF, manifest, WEB, "f", {"KEY": "1", "OTHER": "2"})
    slot = "/r/opt/lekiwi/deployments/dep_AAAAAAAA"
    assert found.folder == Path(slot, "code/w")
    assert found.environment["PATH"] == f"{slot}/deps/bin:/r/var/lib/lekiwi-agent/bin:/usr/bin"
    assert found.environment["PYTHONPATH"] == f"{slot}/deps/lib:{slot}/code/src"
    assert found.environment["PORT"] == "8100"
    assert found.environment["KEY"] == "1"
    assert not {"OTHER", "GONE", "SECRET_OF_THE_AGENT"} & set(found.environment)
    state = f"LEKIWI_STATE={found.environment['LEKIWI_STATE']}"
    assert state.startswith(family_prefix(paths))
    assert found.family == "LEKIWI_INSTANCE=" + found.environment["LEKIWI_INSTANCE"] == "LEKIWI_INSTANCE=web-f@/r"
    assert "KEY" not in repr(found)
    assert missing_variables(WEB, {"KEY": "1"}) == ("GONE",)


def test_python_is_the_agents_own(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.make()
    for interpreter in ("/usr/bin/python3.10", "/usr/bin/python3.11", "/usr/bin/python3.11"):
        link_interpreter(paths, interpreter)
    assert {path.name: str(path.readlink()) for path in paths.bin.iterdir()} == {
        "python": "/usr/bin/python3.11",
        "python3": "/usr/bin/python3.11",
    }

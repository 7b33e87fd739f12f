"""How the relay is started: lean, and on a robot with systemd as a unit of its own."""

from pathlib import Path

import lekiwi_deploy
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.traffic.relay_command import relay_command, relay_environment
from lekiwi_deploy.agent.traffic.relay_unit import has_systemd, start_command

SOCKET = Path("/run/lekiwi/relay.sock")


def test_it_finds_our_package_and_nothing_else() -> None:
    assert relay_command(5, SOCKET)[-2:] == ("5", str(SOCKET))
    (folder,) = relay_environment().values()
    assert Path(folder) / "lekiwi_deploy" == Path(lekiwi_deploy.__file__).resolve().parent


def test_its_unit_may_listen_on_any_port_and_do_nothing_else() -> None:
    command = start_command(SOCKET)
    assert f"--socket-property=ListenStream={SOCKET}" in command and "--socket-property=SocketMode=0600" in command
    assert "--property=CapabilityBoundingSet=CAP_NET_BIND_SERVICE" in command
    assert {"--property=DynamicUser=yes", "--property=NoNewPrivileges=yes"} <= set(command)
    after = command[command.index("--") + 1 :]
    assert after == relay_command(3, SOCKET)


def test_a_robot_in_a_folder_asks_no_systemd(tmp_path: Path) -> None:
    assert not has_systemd(Paths(tmp_path))

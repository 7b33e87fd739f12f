from lekiwi_deploy.server.agent_bundle import client_commands
from lekiwi_deploy.server.agent_bundle.bundle_platforms import bundle_platform

PI = bundle_platform("linux-aarch64-glibc2.36-py3.11")
A, B, C = "a" * 64, "b" * 64, "c" * 64
COMPILED = f"""\
msgspec==0.19.0 \\
    --hash=sha256:{B} \\
    --hash=sha256:{A}
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:{C}
"""


def test_a_lock_lists_every_file_of_every_version_sorted_by_name() -> None:
    text = client_commands.lock_text(COMPILED, [("d" * 64, "__main__.py")])
    assert text.splitlines() == [
        f"{'d' * 64}  __main__.py",
        f"{C}  colorama==0.4.6",
        f"{A}  msgspec==0.19.0",
        f"{B}  msgspec==0.19.0",
    ]


def test_only_wheels_whose_digest_is_listed_are_downloaded() -> None:
    command = client_commands.download_command(("pip",), "pins.txt", "wheels", PI)
    assert {"--require-hashes", "--only-binary=:all:", "--no-deps"} <= set(command)
    assert command[command.index("--python-version") + 1] == "3.11"
    assert [command[i + 1] for i, word in enumerate(command) if word == "--abi"] == ["cp311", "abi3", "none"]


def test_versions_are_those_of_this_server() -> None:
    assert client_commands.constraints([("b", "2"), ("a", "1"), ("a", "1")]) == "a==1\nb==2\n"


def test_a_missing_wheel_is_named_with_the_platform() -> None:
    said = "ERROR: Could not find a version that satisfies the requirement cffi==2.1.1\nERROR: No matching distribution found for cffi==2.1.1"
    assert client_commands.explained(said, bundle_platform("linux-armv7l-glibc2.36-py3.11")) == (
        "cffi 2.1.1 has no wheel for linux-armv7l (glibc 2.34) with Python 3.11, so there is no agent for such robots"
    )


def test_an_unreachable_index_is_told_without_its_address() -> None:
    said = (
        "Request failed cause: Failed to fetch: https://anna:secret@index/simple/ cause: dns error cause: no such host"
    )
    told = client_commands.explained(said, PI)
    assert "does not give them: no such host" in told
    assert "secret" not in told


def test_a_version_that_only_this_server_has_is_named() -> None:
    said = "× No solution found: Because there is no version of kiwi==9.9 and you require kiwi"
    assert "runs kiwi 9.9, which the package index does not have" in client_commands.explained(said, None)


def test_what_is_needed_is_asked_for_the_robots_platform_as_far_as_the_client_knows_it() -> None:
    known = client_commands.compile_command("uv", "in", "c", "out", platform=PI)
    assert known[known.index("--python-platform") + 1] == "aarch64-manylinux_2_34"
    other = client_commands.compile_command(
        "uv", "in", "c", "out", platform=bundle_platform("linux-armv7l-glibc2.36-py3.12")
    )
    assert "--universal" in other and other[other.index("--python-version") + 1] == "3.12"
    everything = client_commands.compile_command("uv", "in", "c", "out", platform=None)
    assert "--universal" in everything and "--generate-hashes" in everything

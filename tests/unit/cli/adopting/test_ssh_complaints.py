"""What ssh says, in words that say what to do."""

import pytest

from lekiwi_deploy.cli.adopting.ssh import Route, checked_target, explained
from lekiwi_deploy.errors import BadInput

PI = Route("pi@192.168.88.21")


@pytest.mark.parametrize(
    ("said", "code", "words", "fix"),
    [
        ("pi@h: Permission denied (publickey,password).", "unauthenticated", "password is wrong", "ssh-copy-id"),
        (
            "ssh: connect to host h port 22: Connection refused",
            "unavailable",
            "takes no SSH connections",
            "raspi-config",
        ),
        ("ssh: connect to host h port 22: Connection timed out", "unavailable", "does not answer", "is it on"),
        ("ssh: connect to host h port 22: No route to host", "unavailable", "does not answer", "is it on"),
        ("ssh: Could not resolve hostname h: Name or service not known", "unavailable", "no machine named", "address"),
        ("Host key verification failed.", "not_allowed", "is not known here", "ssh pi@192.168.88.21"),
        (
            "@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "not_allowed",
            "another host key than before",
            "ssh-keygen -R 192.168.88.21",
        ),
        ("command-line: line 0: Bad configuration option: nonsense", "bad_input", "does not take these options", ""),
        ("kex_exchange_identification: something new", "failed", "something new", "ssh pi@192.168.88.21"),
        ("", "failed", "ssh said nothing", "ssh pi@192.168.88.21"),
    ],
)
def test_every_complaint_says_what_to_do(said: str, code: str, words: str, fix: str) -> None:
    error = explained(said, PI)
    assert error.code == code
    assert words in error.message
    assert fix in "".join(error.next)


def test_a_host_that_was_just_learnt_is_no_complaint() -> None:
    assert "Permanently" not in explained("Warning: Permanently added 'h' (ED25519)\nboom", PI).message


@pytest.mark.parametrize("target", ["pi@192.168.88.21", "robot", "root@robot.local", "pi@fe80::1", "anna@[::1]"])
def test_what_ssh_takes_for_a_machine(target: str) -> None:
    assert checked_target(target) == target


@pytest.mark.parametrize("target", ["-oProxyCommand=evil", "pi@host:/tmp", "two words", "pi@", ""])
def test_what_is_no_machine(target: str) -> None:
    with pytest.raises(BadInput, match="is no machine"):
        checked_target(target)


def test_what_a_person_says_comes_before_our_own_options() -> None:
    words = Route("pi@h", 2222, "key", ("ConnectTimeout=1",)).arguments()
    assert words[:6] == ["-p", "2222", "-i", "key", "-o", "ConnectTimeout=1"]
    assert words.index("ConnectTimeout=1") < words.index("ConnectTimeout=15")

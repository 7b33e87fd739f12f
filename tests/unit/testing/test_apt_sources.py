from pathlib import Path

import pytest

from lekiwi_deploy.testing.machine_image import Sources, apt_sources
from lekiwi_deploy.testing.machine_tools import MachineFailed

STANZAS = """\
Types: deb
# as of some day
URIs: http://mirror.example.test/debian http://other.example.test/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://mirror.example.test/security
Suites: bookworm-security
Components: main
"""


def test_the_first_stanza_with_main_is_where_machines_come_from(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/a.sources").write_text("Types: deb\nURIs: http://x.test\nSuites: y\nComponents: z\n")
    (tmp_path / "sources.list.d/b.sources").write_text(STANZAS)
    keyring = "/usr/share/keyrings/archive.gpg"
    assert apt_sources(tmp_path) == Sources(
        "http://mirror.example.test/debian", "bookworm", ("main", "contrib"), keyring
    )


def test_the_old_form_of_one_line_each_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "# deb http://no.test x main\n"
        "deb-src http://no.test noble main\n"
        "deb [arch=amd64 signed-by=/usr/share/keyrings/u.gpg] http://mirror.test/ubuntu noble main universe\n"
    )
    found = apt_sources(tmp_path)
    assert found == Sources("http://mirror.test/ubuntu", "noble", ("main", "universe"), "/usr/share/keyrings/u.gpg")


def test_a_machine_without_apt_says_so(tmp_path: Path) -> None:
    with pytest.raises(MachineFailed, match="no sources"):
        apt_sources(tmp_path)

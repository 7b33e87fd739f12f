import io
import zipfile

from lekiwi_deploy.server.agent_bundle.archive import Member, archive


def test_an_archive_depends_on_its_members_alone() -> None:
    members = [Member("b/x", b"1" * 1000), Member("a", b"2")]
    for compressed in (True, False):
        assert archive(members, compressed=compressed) == archive(list(members), compressed=compressed)
    with zipfile.ZipFile(io.BytesIO(archive(members, compressed=True))) as file:
        assert [info.filename for info in file.infolist()] == ["b/x", "a"]
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert file.read("b/x") == b"1" * 1000

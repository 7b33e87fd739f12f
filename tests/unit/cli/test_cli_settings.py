import stat
from pathlib import Path

import pytest

from lekiwi_deploy.cli.settings import Profile, Profiles, Target, checked_token, choose, require_token
from lekiwi_deploy.errors import BadInput, Failed, NotAllowed, NotFound, Unauthenticated

ONE, TWO = "https://one.example", "https://two.example"


@pytest.fixture
def profiles(tmp_path: Path) -> Profiles:
    profiles = Profiles(tmp_path / "profiles")
    profiles.write("default", Profile(api=ONE, token="lkd_pat_one"))
    profiles.write("work", Profile(api=TWO, token="lkd_pat_two", insecure_http=True))
    return profiles


def chosen(profiles: Profiles, environ: dict[str, str] | None = None, **given: str | None) -> Target:
    wanted: dict[str, str | None] = {"api": None, "profile": None, "token_file": None, "link_api": None, **given}
    return choose(profiles, environ or {}, insecure_http=False, **wanted)  # type: ignore[arg-type]


def test_a_profile_is_kept_for_its_owner_only(profiles: Profiles) -> None:
    path = profiles.folder / "default.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(profiles.folder.stat().st_mode) == 0o700
    assert [item.name for item in sorted(profiles.folder.iterdir())] == ["default.json", "work.json"]


def test_where_the_server_comes_from_in_order(profiles: Profiles) -> None:
    environ = {"LEKIWI_API": TWO}
    assert chosen(profiles, environ, api="https://three.example").api == "https://three.example"
    assert chosen(profiles, environ, profile="default").api == TWO
    assert chosen(profiles, profile="work", link_api=ONE).api == TWO
    assert chosen(profiles, link_api=TWO).api == TWO
    assert chosen(profiles).api == ONE
    assert chosen(profiles, {"LEKIWI_PROFILE": "work"}).api == TWO


def test_a_stored_token_goes_to_its_own_server_only(profiles: Profiles) -> None:
    assert chosen(profiles).token == "lkd_pat_one"
    assert chosen(profiles, link_api=TWO).token == "lkd_pat_two"
    assert chosen(profiles, api=TWO).token == "lkd_pat_two"
    assert chosen(profiles, api=TWO).insecure_http
    assert chosen(profiles, api="https://three.example").token is None
    assert chosen(profiles, profile="default", api="https://three.example").token is None


def test_a_given_token_goes_before_a_stored_one(profiles: Profiles, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("lkd_pat_file\nmore\n")
    environ = {"LEKIWI_TOKEN": "lkd_pat_env"}
    assert chosen(profiles, environ).token == "lkd_pat_env"
    assert chosen(profiles, environ, token_file=str(file)).token == "lkd_pat_file"


def test_a_given_token_does_not_go_to_what_only_a_folder_names(profiles: Profiles) -> None:
    with pytest.raises(NotAllowed):
        chosen(profiles, {"LEKIWI_TOKEN": "lkd_pat_env"}, link_api="https://evil.example")
    assert chosen(profiles, {"LEKIWI_TOKEN": "lkd_pat_env"}, link_api=TWO).token == "lkd_pat_env"


def test_nobody_is_logged_in_anywhere(tmp_path: Path) -> None:
    with pytest.raises(Unauthenticated):
        chosen(Profiles(tmp_path))
    with pytest.raises(Unauthenticated) as caught:
        require_token(chosen(Profiles(tmp_path), api=ONE))
    assert caught.value.next == (f"lekiwi login {ONE} --token-stdin",)


def test_an_unknown_or_odd_profile_is_told(profiles: Profiles) -> None:
    with pytest.raises(NotFound, match="default, work"):
        chosen(profiles, profile="home")
    with pytest.raises(BadInput):
        profiles.read("../../etc/passwd")


def test_a_damaged_profile_is_told_with_its_file(profiles: Profiles) -> None:
    (profiles.folder / "default.json").write_text("{")
    with pytest.raises(Failed, match=r"default\.json is damaged"):
        profiles.read("default")


@pytest.mark.parametrize(
    "text", ["", "  ", "secret", "lkd_a b", "lkd_é", "lkd_\x00", "lkd_" + "x" * 300, "lkd_a\r\nX: y"]
)
def test_what_is_no_token_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        checked_token(text)
    assert "secret" not in caught.value.message


def test_space_around_a_token_is_nothing() -> None:
    assert checked_token("  lkd_pat_x\r\n") == "lkd_pat_x"

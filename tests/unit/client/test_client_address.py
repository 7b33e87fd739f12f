import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.client.address import check_plain_http, checked_address, is_loopback, path
from lekiwi_deploy.client.proxies import proxy_for
from lekiwi_deploy.errors import BadInput, NotAllowed


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://Deploy.Example.org/", "https://deploy.example.org"),
        ("https://deploy.example.org:443", "https://deploy.example.org"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:80/", "http://127.0.0.1"),
        ("deploy.example.org", "https://deploy.example.org"),
        ("localhost:8080", "http://localhost:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("  https://a.example/lekiwi/ ", "https://a.example/lekiwi"),
    ],
)
def test_a_server_has_one_spelling(text: str, address: str) -> None:
    assert checked_address(text) == address
    assert checked_address(address) == address


@pytest.mark.parametrize(
    "text",
    ["", "https://", "ftp://a.example", "https://lkd_pat_x@a.example", "https://u:lkd_pat_x@a.example", "https://a b", "https://a:x",
     "https://a/?token=lkd_pat_x", "https://a/#x", "https://a\nb", "http://a:99999", "javascript:alert(1)"],
)  # fmt: skip
def test_what_is_no_server_is_refused_without_repeating_a_token(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        checked_address(text)
    assert "lkd_" not in caught.value.message


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.8.9.10", "::1", "[::1]"])
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1.evil.example", "127.1", "localhost.evil.example", "10.0.0.1", "127.0.0.256", ""]
)
def test_what_only_looks_like_loopback_is_not(host: str) -> None:
    assert not is_loopback(host)


def test_a_token_crosses_no_network_in_the_clear() -> None:
    check_plain_http("https://a.example", insecure_http=False)
    check_plain_http("http://127.0.0.1:8080", insecure_http=False)
    check_plain_http("http://10.0.0.1", insecure_http=True)
    with pytest.raises(NotAllowed):
        check_plain_http("http://10.0.0.1", insecure_http=False)


@given(st.text(min_size=1).filter(lambda part: not any(0xD800 <= ord(c) <= 0xDFFF for c in part)))
def test_a_part_of_a_path_stays_one(part: str) -> None:
    made = path("api", part)
    assert made.count("/") == 2
    assert "?" not in made
    assert "#" not in made


def test_proxies_are_taken_from_the_environment() -> None:
    environ = {
        "https_proxy": "proxy:3128",
        "HTTP_PROXY": "http://plain:1",
        "NO_PROXY": "corp.example, .lan,10.0.0.1:80",
    }
    assert proxy_for("https://a.example", environ) == "http://proxy:3128"
    assert proxy_for("http://a.example", environ) == "http://plain:1"
    assert proxy_for("https://x.corp.example", environ) is None
    assert proxy_for("https://corp.example", environ) is None
    assert proxy_for("https://notcorp.example", environ) == "http://proxy:3128"
    assert proxy_for("http://kiwi.lan", environ) is None
    assert proxy_for("http://10.0.0.1", environ) is None
    assert proxy_for("http://127.0.0.1:1", environ) is None
    assert proxy_for("https://a.example", {"all_proxy": "socks:1", "no_proxy": "*"}) is None
    assert proxy_for("https://a.example", {}) is None

import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator

import pytest
from kiwi.web.camera import HEIGHT, WIDTH, frame
from kiwi.web.server import Server


@pytest.fixture
def url() -> Iterator[str]:
    with Server(0, "lekiwi-<1>", "v9") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_health_and_page_answer(url: str) -> None:
    with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
        assert (answer.status, answer.read()) == (200, b'{"ok": true}\n')
    with urllib.request.urlopen(url, timeout=5) as answer:
        html = answer.read().decode()
    assert "lekiwi-&lt;1&gt;" in html
    assert "version v9" in html


def test_the_camera_gives_pictures_one_after_another(url: str) -> None:
    with urllib.request.urlopen(f"{url}/camera", timeout=5) as stream:
        assert stream.headers["Content-Type"].startswith("multipart/x-mixed-replace")
        assert stream.readline() == b"--frame\r\n"


def test_an_unknown_page_is_not_found(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{url}/nowhere", timeout=5)


def test_a_frame_is_a_picture_of_the_size_that_it_says() -> None:
    png = frame(1.0)
    assert png.startswith(b"\x89PNG")
    start = png.index(b"IDAT") + 4
    length = int.from_bytes(png[start - 8 : start - 4], "big")
    assert len(zlib.decompress(png[start : start + length])) == HEIGHT * (WIDTH + 1)
    assert frame(2.0) != png

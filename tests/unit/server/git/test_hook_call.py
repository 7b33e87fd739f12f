from __future__ import annotations

from lekiwi_deploy.server.git.hooks import read_call


def test_what_the_hook_sends_is_read() -> None:
    call = read_call(
        b"folder=/r/a.git\0option=env=staging\0option=wait=false\0LEKIWI_PROJECT=arm\0updates=a b c\nd e f\n"
    )
    assert call.folder == "/r/a.git" and call.options == ("env=staging", "wait=false")
    assert call.env == {"LEKIWI_PROJECT": "arm"} and call.updates == "a b c\nd e f\n"


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert read_call(b"\xff\0updates=\xfe").updates == "\ufffd"

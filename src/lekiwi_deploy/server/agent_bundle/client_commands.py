"""How the package clients are asked, and what their complaints mean. PURE: argument lists and texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lekiwi_deploy.server.agent_bundle.bundle_platforms import OLDEST_PYTHON, wheel_tags
from lekiwi_deploy.server.builds.uv_commands import platform_name, without_wheels
from lekiwi_deploy.wire.platforms import Platform

_PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", re.M)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NO_WHEEL = re.compile(r"No matching distribution found for ([A-Za-z0-9][\w.-]*)==([^\s;]+)")
_KNOWN_TO_UV = ("x86_64", "aarch64")
_NO_VERSION = re.compile(r"there is no version of ([A-Za-z0-9][\w.-]*)==(\S+)")


def compile_command(uv: str, inputs: str, constraints: str, output: str, *, platform: Platform | None) -> list[str]:
    """Pins what `inputs` needs, with the digests of all files of each version. `platform` None: for whatever may run an agent."""
    where = ["--universal", "--python-version", platform.python if platform is not None else f"3.{OLDEST_PYTHON}"]
    if platform is not None and platform.arch in _KNOWN_TO_UV:
        where = ["--python-platform", platform_name(platform), "--python-version", platform.python]
    return [
        uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes", *where,
        "--constraint", constraints, "--output-file", output, inputs,
    ]  # fmt: skip


def download_command(pip: Sequence[str], requirements: str, target: str, platform: Platform) -> list[str]:
    """Brings the pinned wheels for `platform` into the folder `target`; one whose digest is not listed is refused."""
    minor = platform.python.replace(".", "")
    return [
        *pip, "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary=:all:", "--require-hashes",
        *(part for tag in wheel_tags(platform) for part in ("--platform", tag)),
        "--python-version", platform.python, "--implementation", "cp",
        "--abi", f"cp{minor}", "--abi", "abi3", "--abi", "none",
        "--dest", target, "--requirement", requirements,
    ]  # fmt: skip


def constraints(installed: Iterable[tuple[str, str]]) -> str:
    """Exactly these versions (name, version)."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(set(installed)))


def lock_text(compiled: str, own: Iterable[tuple[str, str]]) -> str:
    """Every file that a bundle may hold, on any platform: `<sha256>  <name>`, sorted. `compiled`: what `compile_command` wrote;
    `own`: (digest, name) of files that we add. Its own SHA-256 is what a join line pins."""
    lines = {f"{digest}  {name}" for digest, name in own}
    for block in re.split(r"\n(?=\S)", compiled):
        pinned = _PINNED.match(block)
        if pinned:
            lines |= {f"{digest}  {pinned[1].lower()}=={pinned[2]}" for digest in _HASH.findall(block)}
    return "".join(f"{line}\n" for line in sorted(lines, key=lambda line: (line[66:], line)))


def explained(complaint: str, platform: Platform | None) -> str:
    """A client's complaint as one line for a person."""
    text = re.sub(r"//[^/\s@]+@", "//", " ".join(complaint.split()))
    missing = _NO_WHEEL.search(text)
    names = [f"{missing[1]} {missing[2]}"] if missing else without_wheels(complaint)
    if names and platform is not None:
        return (
            f"{names[0]} has no wheel for {platform.short} ({platform.libc} {platform.libc_version}) with "
            f"Python {platform.python}, so there is no agent for such robots"
        )
    unknown = _NO_VERSION.search(text)
    if unknown:
        return f"this server runs {unknown[1]} {unknown[2]}, which the package index does not have: robots cannot be given it"
    if "Failed to fetch" in text or "NewConnectionError" in text:
        causes = text.rpartition("cause: ")[2] if "cause: " in text else "no connection"
        return f"the agent's dependencies are to be fetched, and the package index does not give them: {causes[:200]}"
    sentence = re.sub(r"^(error:|ERROR:|×)\s*", "", text)
    return f"the agent's dependencies cannot be fetched: {sentence[-400:] or 'the package client said nothing'}"

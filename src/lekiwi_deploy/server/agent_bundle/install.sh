#!/bin/sh
# Makes this machine a robot of the LeKiwi Deploy server below.
#
#   curl -fsSL SERVER/install.sh | sudo sh -s -- --token lkd_enr_… [--sha256 …]
#
# It fetches one archive from that server and from nowhere else (the agent, and the Python packages that it needs), checks every
# file in it, and hands over to `lekiwi-agent install`, which is part of it. Running it again upgrades, or repairs.
#
#   --token TOKEN    from `lekiwi robots add` or `lekiwi robots rejoin`; not needed to upgrade or repair
#   --sha256 DIGEST  install only what was pinned when the line was made
#   --again          join once more, although this machine is a robot already
#   --insecure-http  allow plain HTTP to another machine, on a network that you trust
#
# Undo: sudo lekiwi-agent uninstall
set -eu
server='@SERVER@'

fail() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '  %s\n' "$2" >&2
  exit 1
}

newest_python() {
  for name in python3 python3.11 python3.12 python3.13 python3.14; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  fail "Python 3.11 or newer is needed, and this is $(python3 --version 2>/dev/null || echo 'a machine without Python')" \
    'Debian 12, Raspberry Pi OS 12, Ubuntu 24.04 and newer have it: apt install python3 python3-venv'
}

main() {
  token='' pin='' options=''
  while [ $# -gt 0 ]; do
    case $1 in
      --token) token=${2-} && shift ;;
      --sha256) pin=${2-} && shift ;;
      --again | --insecure-http) options="$options $1" ;;
      *) fail "unknown option $1: there are --token, --sha256, --again and --insecure-http" ;;
    esac
    [ $# -eq 0 ] || shift
  done
  [ "$(uname -s)" = Linux ] || fail "robots run Linux, and this is $(uname -s)"
  [ "$(id -u)" = 0 ] || fail 'this has to run as root, to install services' 'put sudo before sh: curl … | sudo sh -s -- …'
  [ -d /run/systemd/system ] || fail 'the agent is started by systemd, and this machine was not booted with it'
  python=$(newest_python)
  "$python" -c 'import ssl, venv, zipfile' 2>/dev/null ||
    fail "$python lacks parts of the standard library (ssl, venv)" 'apt install python3 python3-venv'
  # shellcheck disable=SC2086 # options are words
  JOIN_TOKEN=$token exec "$python" -I - "$server" "$pin" $options <<'PYTHON'
import hashlib, json, os, subprocess, sys, tempfile, urllib.error, urllib.request, zipfile

def sha256(data):
    return hashlib.sha256(data).hexdigest()

server, pin, *options = sys.argv[1:]
token = os.environ.pop("JOIN_TOKEN")
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION").replace(" ", "")
except (AttributeError, ValueError):
    libc = "musl1.2"
platform = f"linux-{os.uname().machine}-{libc}-py3.{sys.version_info.minor}"
try:
    with urllib.request.urlopen(f"{server}/agent/{platform}/bundle", timeout=900) as answer:
        data = answer.read()
except urllib.error.HTTPError as error:
    body = error.read()
    sys.exit("error: " + (json.loads(body)["message"] if body.startswith(b"{") else f"{server}: {error}"))
except OSError as error:
    sys.exit(f"error: {server} cannot be reached from this machine: {getattr(error, 'reason', error)}")
with tempfile.TemporaryDirectory(prefix="lekiwi-") as folder:
    path = os.path.join(folder, "bundle")
    with open(path, "wb") as file:
        file.write(data)
    try:
        with zipfile.ZipFile(path) as bundle:
            lock = bundle.read("lock.txt")
            listed = {line.split()[0] for line in lock.decode().splitlines()}
            strangers = [n for n in bundle.namelist() if n != "lock.txt" and sha256(bundle.read(n)) not in listed]
    except (zipfile.BadZipFile, KeyError):
        sys.exit(f"error: {server} sent no bundle, or only a part of one: try again")
    if strangers or (pin and sha256(lock) != pin):
        sys.exit("error: the server sent another agent than the one that this line pins: ask for a new line (lekiwi robots rejoin NAME)")
    command = [sys.executable, "-I", path, "--server", server, *options, *(["--token", "-"] if token else [])]
    sys.exit(subprocess.run(command, input=token.encode()).returncode)
PYTHON
}

main "$@"

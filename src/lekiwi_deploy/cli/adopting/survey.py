"""What a machine is and what runs on it today, as one JSON object on stdout. It changes nothing.

This file is sent to the machine and run there by whatever `python3` it has, as root where that can be had, so it imports nothing
but the standard library and is written for Python 3.6. Arguments: the server's URL as the robot is to use it.
"""

# mypy: ignore-errors

import glob
import json
import os
import platform
import pwd
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

PYTHONS = ("python3", "python3.11", "python3.12", "python3.13", "python3.14")
ASK = "import sys, ssl, venv, zipfile; print('%d.%d.%d' % sys.version_info[:3])"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(server):
    os.environ["PATH"] = PATH
    processes = list(running_processes())
    print(
        json.dumps(
            {
                "hostname": socket.gethostname(),
                "system": platform.system(),
                "arch": platform.machine(),
                "libc": libc()[0],
                "libc_version": libc()[1],
                "pythons": pythons(),
                "own_python": platform.python_version(),
                "booted_with_systemd": os.path.isdir("/run/systemd/system"),
                "systemd": systemd_version(),
                "disk_free": free("/opt"),
                "memory": memory(),
                "clock": time.time(),
                "model": first_line("/proc/device-tree/model") or first_line("/sys/class/dmi/id/product_name"),
                "nftables": shutil.which("nft") is not None,
                "memory_limits": "memory" in first_line("/sys/fs/cgroup/cgroup.controllers").split(),
                "robot": joined(),
                "server": reaches(server),
                "ssh_passwords": ssh_passwords(),
                "today": today(processes),
            }
        )
    )


def libc():
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        name, version = "", ""
    if name == "glibc":
        return name, version
    for loader in glob.glob("/lib/ld-musl-*.so.1"):
        found = re.search(r"Version (\S+)", said([loader], errors=True))
        return "musl", found.group(1) if found else ""
    return "", ""


def pythons():
    """[command, version] of every Python here that has what an installation needs; "" for one that lacks parts of it."""
    found = []
    for name in PYTHONS:
        path = shutil.which(name)
        if path is not None:
            found.append([path, said([path, "-I", "-c", ASK]).strip()])
    return found


def systemd_version():
    found = re.match(r"systemd (\d+)", said(["systemctl", "--version"]))
    return int(found.group(1)) if found else 0


def free(folder):
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    where = os.statvfs(folder)
    return where.f_bavail * where.f_frsize


def memory():
    found = re.search(r"MemTotal:\s+(\d+)", text("/proc/meminfo"))
    return int(found.group(1)) * 1024 if found else 0


def joined():
    try:
        known = json.loads(text("/etc/lekiwi/agent.json"))
        return {"server": known["server"], "server_id": known["server_id"], "name": known["robot"]}
    except (ValueError, KeyError):
        return None


def reaches(server):
    """[the server's lasting id, what is wrong]: one of them is empty."""
    if not server:
        return ["", ""]
    try:
        with urllib.request.urlopen(server + "/api/server", timeout=10) as answer:
            return [str(json.loads(answer.read().decode())["server"]), ""]
    except urllib.error.HTTPError as error:
        return ["", "it answers %d %s" % (error.code, error.reason)]
    except (ValueError, KeyError, TypeError):
        return ["", "what answers there is no LeKiwi Deploy server"]
    except OSError as error:
        return ["", str(getattr(error, "reason", None) or error)]


def ssh_passwords():
    """Whether SSH lets people in with a password; None: not to be found out."""
    for program in ("/usr/sbin/sshd", "/usr/bin/sshd"):
        if os.access(program, os.X_OK):
            settings = said([program, "-T"]).split("\n")
            if settings != [""]:
                return "passwordauthentication yes" in settings
    return None


def today(processes):
    """[kind, name, detail] of what a person may have set up here."""
    found = []
    found += ports(processes)
    found += units()
    found += programs(processes)
    found += containers()
    found += starters()
    return found[:200]


def ports(processes):
    owners = {}
    for process in processes:
        for inode in process["sockets"]:
            owners.setdefault(inode, process)
    seen = {}
    for name, kind in (("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp")):
        for line in text("/proc/net/" + name).split("\n")[1:]:
            fields = line.split()
            if (
                len(fields) < 10
                or (kind == "tcp" and fields[3] != "0A")
                or (kind == "udp" and fields[2].split(":")[1] != "0000")
            ):
                continue
            address, port = fields[1].rsplit(":", 1)
            loopback = address in ("0100007F", "00000000000000000000000001000000")
            key = (int(port, 16), kind)
            owner = owners.get(fields[9])
            words = (
                "%s (process %d, %s)" % (owner["words"][:80], owner["pid"], owner["user"])
                if owner
                else "unknown program"
            )
            if key not in seen or not loopback:
                seen[key] = words + (", for this machine only" if loopback else "")
    return [["port", "%d%s" % (port, "/udp" if kind == "udp" else ""), seen[port, kind]] for port, kind in sorted(seen)]


def units():
    found = []
    folders = ["/etc/systemd/system"] + glob.glob("/home/*/.config/systemd/user")
    folders.append(os.path.expanduser("~root") + "/.config/systemd/user")
    for folder in folders:
        for path in sorted(glob.glob(folder + "/*.service") + glob.glob(folder + "/*.timer")):
            name = os.path.basename(path)
            if os.path.islink(path) or name.startswith("lekiwi"):
                continue
            if folder.startswith("/etc"):
                state = "%s, %s" % (
                    said(["systemctl", "is-enabled", name]).strip() or "unknown",
                    said(["systemctl", "is-active", name]).strip(),
                )
            else:
                state = "of a user"
            runs = re.search(r"^ExecStart\s*=\s*(.+)$", text(path), re.M)
            found.append(["unit", name, state + (": " + runs.group(1)[:120] if runs else "")])
    return found


def programs(processes):
    found = []
    for process in processes:
        interpreter = (
            re.match(r"(python[\d.]*|node|ros2|java)$", os.path.basename(process["argv"][0]))
            if process["argv"]
            else None
        )
        ours = "lekiwi" in process["words"] or process["pid"] in (os.getpid(), os.getppid())
        if interpreter and not ours and len(process["argv"]) > 1:
            found.append(["process", str(process["pid"]), "%s (%s)" % (process["words"][:120], process["user"])])
    return found


def containers():
    if shutil.which("docker") is None:
        return []
    lines = said(["docker", "ps", "--format", "{{.Names}}\t{{.Image}}, {{.Status}}"]).split("\n")
    return [["container"] + line.split("\t", 1) for line in lines if "\t" in line]


def starters():
    found = []
    for path in sorted(glob.glob("/var/spool/cron/crontabs/*") + glob.glob("/var/spool/cron/*")):
        if os.path.isfile(path):
            for line in text(path).split("\n"):
                if line.strip() and not line.startswith("#"):
                    found.append(["cron", os.path.basename(path), line.strip()[:120]])
    for path in ("/etc/rc.local",):
        for line in text(path).split("\n"):
            if line.strip() and not line.startswith("#") and line.strip() != "exit 0":
                found.append(["rc.local", "", line.strip()[:120]])
    for path in sorted(glob.glob("/home/*/.config/autostart/*.desktop")):
        found.append(["autostart", os.path.basename(path), path])
    return found


def running_processes():
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        folder = "/proc/" + name
        try:
            with open(folder + "/cmdline", "rb") as file:
                argv = [part.decode("utf-8", "replace") for part in file.read().split(b"\0")[:-1]]
            owner = os.stat(folder).st_uid
        except OSError:
            continue
        sockets = []
        try:
            for fd in os.listdir(folder + "/fd"):
                target = os.readlink(folder + "/fd/" + fd)
                if target.startswith("socket:["):
                    sockets.append(target[8:-1])
        except OSError:
            pass
        yield {"pid": int(name), "argv": argv, "words": " ".join(argv), "user": user(owner), "sockets": sockets}


def user(number):
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def text(path):
    try:
        with open(path, "rb") as file:
            return file.read(200000).decode("utf-8", "replace")
    except OSError:
        return ""


def first_line(path):
    return text(path).split("\n")[0].replace("\0", "").strip()


def said(command, errors=False):
    try:
        done = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = done.communicate(timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (out + err if errors else out).decode("utf-8", "replace")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")

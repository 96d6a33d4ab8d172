"""Seals a decoding process, started as `python -P -m rdbench.runner.seal PLAN command...`; the command takes its place.

The process gets folders of its own for all that programs keep in a user's folders. On Linux, where the kernel lets a
normal user do it (man 7 user_namespaces), it also gets no network, and the files that it must not see are covered by
empty ones. The environment variable SEALED says what was enforced. All of this ends with the process.
"""

import ctypes
import json
import os
import site
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SEALED = "RDBENCH_SEAL"
"""Environment variable that lists what was enforced: `environment`, `network`, `files`, joined by commas."""
FOLDERS = {
    "TMPDIR": "tmp",
    "XDG_CONFIG_HOME": ".config",
    "XDG_CACHE_HOME": ".cache",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_RUNTIME_DIR": "run",
    "TORCHINDUCTOR_CACHE_DIR": ".cache/torchinductor",
    "TRITON_CACHE_DIR": ".cache/triton",
}
"""Variables that name a folder in HOME, and the folder that each gets there."""
REMOVED = ("RDBENCH_DATA", "OLDPWD", "PWD", "TEMP", "TMP")
"""Variables that name folders of the user."""

DRIVER = "libcuda.so.1"
"""The library of NVIDIA's driver."""

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 1 << 12, 1 << 14, 1 << 18
_PR_CAPBSET_DROP, _CAP_SYS_ADMIN = 24, 21


@dataclass(frozen=True)
class Plan:
    """What a process is to see."""

    home: str
    """An empty folder: HOME, and all others of FOLDERS."""
    blank: str
    """An empty file outside `home`, which covers other files."""
    covered: tuple[str, ...]
    """Files and folders to cover."""
    complete: bool
    """Whether nothing that is to be hidden remains visible once those are covered."""
    needed: tuple[str, ...]
    """Files and folders that must remain readable."""
    gpu: bool
    """Whether the process needs the GPU, which must work inside as well."""


def make_plan(scratch: Path, hidden: Iterable[Path], needed: Iterable[Path], gpu: bool = False) -> Plan:
    """A plan with `home` and `blank` in the empty folder `scratch`, which it fills.

    Of a folder to hide that contains something needed, only its other parts are covered.
    """
    home, blank = scratch / "home", scratch / "blank"
    home.mkdir()
    blank.touch()
    keep = {path.resolve() for path in (*needed, scratch) if path.exists()}
    covered: dict[str, None] = {}
    complete = True
    for path in (path.resolve() for path in hidden if path.exists()):
        complete &= path not in keep and path != Path(path.anchor) and _cover(path, keep, covered)
    return Plan(str(home), str(blank), tuple(covered), complete, tuple(sorted(map(str, keep))), gpu)


def _cover(path: Path, keep: Iterable[Path], covered: dict[str, None]) -> bool:
    """Adds what covers the path but for what is to be kept; returns whether no other part of it remains visible."""
    if path in keep:
        return True
    if not any(path in kept.parents for kept in keep):
        covered[str(path)] = None
        return True
    complete = True
    try:
        children = sorted(path.iterdir())
    except OSError:
        return False
    for child in children:
        # a mount on a link would cover its target, which may be anywhere
        complete &= not child.is_symlink() and _cover(child, keep, covered)
    return complete


def sealed_command(plan: Plan, command: Sequence[str]) -> list[str]:
    """The command line that runs the command sealed."""
    return [sys.executable, "-P", "-m", "rdbench.runner.seal", json.dumps(asdict(plan)), *command]


def enforced(environment: Mapping[str, str]) -> list[str]:
    """What the process with this environment was sealed by; empty for one that was not."""
    return [name for name in environment.get(SEALED, "").split(",") if name]


def sealed_environment(environment: Mapping[str, str], home: str) -> dict[str, str]:
    """The environment with the folders of a user in `home`, and without the variables REMOVED."""
    kept = {name: value for name, value in environment.items() if name not in REMOVED}
    inside = {name: os.path.join(home, folder) for name, folder in FOLDERS.items()}
    # Python looks for packages that the user installed below HOME
    return {**kept, "PYTHONUSERBASE": site.getuserbase(), "HOME": home, **inside}


def _enforce(plan: Plan) -> tuple[str, ...]:
    """Applies as much of network and files as the kernel allows, tried in a child process first."""
    if sys.platform != "linux":
        return ()
    for wanted in (("network", "files"), ("network",), ("files",)):
        if _works(wanted, plan):
            _apply(wanted, plan)
            return tuple(name for name in wanted if name != "files" or plan.complete)
    return ()


def _works(wanted: Sequence[str], plan: Plan) -> bool:
    readable = [path for path in plan.needed if os.access(path, os.R_OK)]
    child = os.fork()
    if child == 0:
        try:
            _apply(wanted, plan)
            fine = all(os.access(path, os.R_OK) for path in readable) and (not plan.gpu or _gpu_starts())
            os._exit(0 if fine else 1)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _gpu_starts() -> bool:
    """Whether NVIDIA's driver lets this process use a GPU. Raises OSError where there is no driver."""
    return int(ctypes.CDLL(DRIVER).cuInit(0)) == 0


def _apply(wanted: Sequence[str], plan: Plan) -> None:
    """Leaves the namespaces of the system for new ones. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    files = _CLONE_NEWNS if "files" in wanted else 0
    network = _CLONE_NEWNET if "network" in wanted else 0
    _check(libc.unshare(_CLONE_NEWUSER | files | network))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(text)
    if files:
        _mount(libc, None, "/", None, _MS_REC | _MS_PRIVATE)
        for path in plan.covered:
            if os.path.isdir(path):
                _mount(libc, "tmpfs", path, "tmpfs", _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
            elif os.path.exists(path):  # it may be below a folder that is already covered
                _mount(libc, plan.blank, path, None, _MS_BIND)
    # without this right, root cannot remove the covers either
    _check(libc.prctl(_PR_CAPBSET_DROP, _CAP_SYS_ADMIN, 0, 0, 0))


def _mount(libc: ctypes.CDLL, source: str | None, target: str, kind: str | None, flags: int) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    _check(libc.mount(*words, ctypes.c_ulong(flags), None))


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def main() -> None:
    """Seals this process and runs the command in it."""
    values = json.loads(sys.argv[1])
    plan, command = Plan(**values), sys.argv[2:]
    environment = sealed_environment(os.environ, plan.home)
    for name in FOLDERS:
        os.makedirs(environment[name], mode=0o700, exist_ok=True)
    environment[SEALED] = ",".join(("environment", *_enforce(plan)))
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    main()

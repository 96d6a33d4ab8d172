"""The seal of a decoding process: what it covers, what it leaves, and that it says so truthfully."""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rdbench.runner import seal

PYTHON = [Path(sys.prefix), Path(sys.base_prefix), Path(seal.__file__).parents[1]]
PROBE = """
import json, os, socket, sys
def attempt(work):
    try:
        return work()
    except OSError as error:
        return type(error).__name__
found = {path: attempt(lambda: os.listdir(path) if os.path.isdir(path) else open(path).read()) for path in sys.argv[2:]}
found["port"] = attempt(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5).close())
print(json.dumps([found, dict(os.environ), os.getcwd()]))
"""


def sealed(folder: Path, hidden: list[Path], command: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    """The command run sealed, in the new folder `folder`/work."""
    (folder / "work").mkdir(parents=True)
    plan = seal.make_plan(folder, hidden, PYTHON)
    return subprocess.run(
        seal.sealed_command(plan, command), cwd=folder / "work", capture_output=True, text=True, timeout=60,
        check=False, **options,
    )  # fmt: skip


def allowed() -> list[str]:
    """What the kernel lets this user enforce, found without the module under test."""
    command = ["unshare", "-Urmn", "sh", "-c", "mount -t tmpfs none /mnt"]
    works = shutil.which("unshare") and subprocess.run(command, capture_output=True, check=False).returncode == 0
    return ["network", "files"] if works else []


def has_driver() -> bool:
    """Whether NVIDIA's driver is installed."""
    try:
        ctypes.CDLL(seal.DRIVER)
    except OSError:
        return False
    return True


needs_kernel = pytest.mark.skipif(not allowed(), reason="the kernel forbids namespaces to this user")


def test_the_environment_names_empty_folders_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("RDBENCH_HM", "/opt/hm")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONUSERBASE", "/home/somebody/.local")
    done = sealed(tmp_path / "seal", [], [sys.executable, "-c", PROBE, "1"])
    assert done.returncode == 0, done.stderr
    _, environment, cwd = json.loads(done.stdout)
    names = ("CONFIG_HOME", "CACHE_HOME", "DATA_HOME", "STATE_HOME", "RUNTIME_DIR")
    inside = [environment[name] for name in ("HOME", "TMPDIR", *(f"XDG_{name}" for name in names))]
    assert all(Path(path).is_relative_to(tmp_path / "seal" / "home") and Path(path).is_dir() for path in inside)
    assert not [path for path in (tmp_path / "seal" / "home").rglob("*") if path.is_file()]
    assert "RDBENCH_DATA" not in environment
    assert environment["RDBENCH_HM"] == "/opt/hm"
    assert environment["PYTHONUSERBASE"] == "/home/somebody/.local"
    assert seal.enforced(environment)[0] == "environment"
    assert seal.enforced({}) == []
    assert cwd == str(tmp_path / "seal" / "work")


@needs_kernel
def test_hidden_files_and_the_network_cannot_be_reached(tmp_path: Path) -> None:
    data, clip = tmp_path / "data", tmp_path / "clip.y4m"
    (data / "deep").mkdir(parents=True)
    (data / "deep" / "frame.png").write_text("seen")
    clip.write_text("seen")
    other = tmp_path / "other"
    other.write_text("seen")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        paths = [str(data), str(data / "deep" / "frame.png"), str(clip), str(other), f"/proc/{os.getpid()}/root/"]
        done = sealed(tmp_path / "seal", [data, clip], [sys.executable, "-c", PROBE, port, *paths])
        socket.create_connection(("127.0.0.1", int(port)), 5).close()  # it was open to everybody else
    found, environment, _ = json.loads(done.stdout)
    assert found == {
        str(data): [], str(data / "deep" / "frame.png"): "FileNotFoundError", str(clip): "", str(other): "seen",
        f"/proc/{os.getpid()}/root/": "PermissionError", "port": found["port"],
    }  # fmt: skip
    assert found["port"] in ("OSError", "ConnectionRefusedError")
    assert seal.enforced(environment) == ["environment", "network", "files"]
    assert clip.read_text() == (data / "deep" / "frame.png").read_text() == "seen"  # the covers end with the process


@needs_kernel
def test_the_covers_cannot_be_removed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("seen")
    script = f"umount {secret} 2>/dev/null; cat {secret}/file; unshare -Urm umount {secret}; cat {secret}/file"
    assert "seen" not in sealed(tmp_path / "seal", [secret], ["/bin/sh", "-c", script]).stdout


@needs_kernel
def test_what_cannot_be_hidden_is_not_claimed(tmp_path: Path) -> None:
    done = sealed(tmp_path / "seal", [PYTHON[0]], [sys.executable, "-c", PROBE, "1", str(PYTHON[0])])
    found, environment, _ = json.loads(done.stdout)
    assert "bin" in found[str(PYTHON[0])]
    assert seal.enforced(environment) == ["environment", "network"]


def test_where_the_kernel_refuses_only_the_environment_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan whose cover is no place for a mount stands for a kernel that refuses mounts."""
    (tmp_path / "work").mkdir()
    plan = seal.make_plan(tmp_path, [], [])
    refused = seal.Plan(plan.home, str(tmp_path / "missing"), ("/etc/hostname",), True, (), False)
    done = subprocess.run(seal.sealed_command(refused, ["/usr/bin/env"]), capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(seal.SEALED)]
    assert line.partition("=")[2].split(",") == ["environment", *(["network"] if allowed() else [])]


@pytest.mark.skipif(has_driver(), reason="This machine has NVIDIA's driver.")
def test_a_gpu_that_does_not_work_inside_is_not_sealed_away(tmp_path: Path) -> None:
    """Without NVIDIA's driver the GPU works nowhere, which stands for one that the namespaces keep from working."""
    for gpu, expected in ((True, []), (False, allowed())):
        folder = tmp_path / str(gpu)
        folder.mkdir()
        plan = seal.make_plan(folder, [], [], gpu)
        done = subprocess.run(seal.sealed_command(plan, ["/usr/bin/env"]), capture_output=True, text=True, check=True)
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(seal.SEALED)]
        assert line.partition("=")[2].split(",") == ["environment", *expected]


@pytest.mark.cuda
@pytest.mark.skipif(not has_driver(), reason="There is no GPU here.")
@needs_kernel
def test_a_gpu_works_sealed(tmp_path: Path) -> None:
    (tmp_path / "seal").mkdir()
    plan = seal.make_plan(tmp_path / "seal", [], PYTHON, gpu=True)
    code = f"import os, torch; torch.zeros(1, device='cuda'); print(os.environ[{seal.SEALED!r}])"
    done = subprocess.run(
        seal.sealed_command(plan, [sys.executable, "-c", code]), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "environment,network,files"


def test_exit_status_and_signals_are_those_of_the_command(tmp_path: Path) -> None:
    assert sealed(tmp_path / "a", [], ["/bin/sh", "-c", "exit 7"]).returncode == 7
    assert sealed(tmp_path / "b", [], ["/bin/sh", "-c", "kill -SEGV $$"]).returncode == -signal.SIGSEGV
    (tmp_path / "c").mkdir()
    command = seal.sealed_command(seal.make_plan(tmp_path / "c", [], PYTHON), ["/bin/sh", "-c", "sleep 60; sleep 60"])
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=10) == (b"", None)  # its output is closed: nothing that it started remains
    assert process.returncode == -signal.SIGTERM


def plan_of(tmp_path: Path, hidden: list[Path], needed: list[Path]) -> tuple[list[str], bool]:
    """What is covered, relative to the folder, and whether that is all."""
    scratch = tmp_path / f"scratch{len(list(tmp_path.iterdir()))}"
    scratch.mkdir()
    plan = seal.make_plan(scratch, hidden, needed)
    return [str(Path(path).relative_to(tmp_path.resolve())) for path in plan.covered], plan.complete


def test_what_is_needed_is_left_and_everything_around_it_is_covered(tmp_path: Path) -> None:
    for name in ("data/clips/a.yuv", "data/tools/bin/decoder", "data/tools/notes", "elsewhere/b.yuv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    data, tools = tmp_path / "data", tmp_path / "data" / "tools" / "bin"
    assert plan_of(tmp_path, [data], []) == (["data"], True)
    assert plan_of(tmp_path, [data], [tools]) == (["data/clips", "data/tools/notes"], True)
    assert plan_of(tmp_path, [data], [data]) == ([], False)
    assert plan_of(tmp_path, [tools / "decoder"], [tools]) == (["data/tools/bin/decoder"], True)
    assert plan_of(tmp_path, [tmp_path / "missing"], []) == ([], True)
    (data / "link").symlink_to(tmp_path / "elsewhere")
    assert plan_of(tmp_path, [data], [tools]) == (["data/clips", "data/tools/notes"], False)
    assert plan_of(tmp_path, [data / "link"], []) == (["elsewhere"], True)
    assert plan_of(tmp_path, [Path("/")], []) == ([], False)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become another user")
@needs_kernel
def test_a_plain_user_is_sealed_too(tmp_path: Path) -> None:
    """With a Python that another user can read, and a copy of the one module that runs before the command."""
    python = "/usr/bin/python3"
    user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    check = [*user, python, "-c", "import sys; assert sys.version_info >= (3, 11)"]
    if subprocess.run(check, capture_output=True, check=False).returncode != 0:
        pytest.skip("there is no Python for another user")
    if subprocess.run([*user, "unshare", "-Urmn", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("the kernel forbids namespaces to other users")
    base = Path("/tmp") / f"rdbench-seal-{os.getpid()}"
    try:
        (base / "code" / "rdbench" / "runner").mkdir(parents=True)
        shutil.copy(seal.__file__, base / "code" / "rdbench" / "runner" / "seal.py")
        (base / "data").mkdir()
        (base / "data" / "file").write_text("seen")
        (base / "scratch").mkdir()
        plan = seal.make_plan(base / "scratch", [base / "data"], [])
        subprocess.run(["chown", "-R", "65534:65534", str(base)], check=True)
        command = seal.sealed_command(plan, [python, "-c", PROBE, "1", str(base / "data")])
        done = subprocess.run(
            [*user, python, *command[1:]], cwd=base, env={**os.environ, "PYTHONPATH": str(base / "code")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found, environment, _ = json.loads(done.stdout)
        assert found[str(base / "data")] == []
        assert seal.enforced(environment) == ["environment", "network", "files"]
    finally:
        shutil.rmtree(base)

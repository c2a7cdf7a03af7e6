"""The sandbox worker reaches nothing outside its folder, stays within its limits, and its output is validated."""

from __future__ import annotations

import os
import pickle
import socket
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.hostile_files import Calls, pickle_running, vectorizer_and_model

from relevo.converters.limits import Bounds
from relevo.converters.options import ConversionOptions
from relevo.domain.preprocessing import Column, MatrixSteps
from relevo.domain.signature import Field, FieldKind, Output, RecordInput
from relevo.errors import ConversionError, InvalidManifestError, InvalidOnnxError, RelevoError, SandboxError, SandboxTooWeakError
from relevo.importing.import_model import import_model
from relevo.importing.sandbox import protocol
from relevo.importing.sandbox.client import SandboxResult, convert_in_sandbox
from relevo.importing.sandbox.linux import landlock, seccomp, self_test
from relevo.importing.sandbox.linux.syscall_numbers import DENIED, NUMBERS

pytestmark = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
SOURCE = Path(self_test.__file__).parents[4]
SHORT = Bounds(wall_seconds=20, cpu_seconds=20, memory_mb=3000)


def convert(data: bytes, *, bounds: Bounds = SHORT, need_strong: bool = True) -> SandboxResult:
    return convert_in_sandbox(ConversionOptions(format="pickle"), [data, b"", b""], need_strong=need_strong, bounds=bounds)


def error_text(code: str, bounds: Bounds = SHORT) -> str:
    """Return the error of code that ends in `raise RuntimeError(...)`."""
    with pytest.raises(ConversionError) as caught:
        convert(pickle_running(code), bounds=bounds)
    return str(caught.value)


def test_valid_pair_is_converted() -> None:
    """A DictVectorizer and its model come back as ONNX with the original's outputs, from a strong sandbox."""
    result = convert(pickle.dumps(vectorizer_and_model()))
    assert result.level == "strong"
    assert result.generated
    assert result.converted.outputs is not None
    assert len(result.converted.outputs) == len(result.records) > 0
    assert isinstance(result.converted.input, RecordInput)
    assert {field.name for field in result.converted.input.fields} == {"plan", "months"}


ESCAPES = {
    "read a secret": "open({secret!r}).read()",
    "read the password file": "open('/etc/passwd').read()",
    "list the root": "os.listdir('/')",
    "list the folder": "os.listdir({folder!r})",
    "write outside": "open({canary!r}, 'w').write('x')",
    "overwrite": "open({secret!r}, 'w')",
    "cut": "os.truncate({secret!r}, 0)",
    "remove": "os.unlink({secret!r})",
    "rename": "os.rename({secret!r}, {canary!r})",
    "link": "os.symlink({secret!r}, 'link'); open('link').read()",
    "hard link": "os.link({secret!r}, 'hard')",
    "change a mode": "os.chmod({secret!r}, 0o777)",
    "change an owner": "os.chown({secret!r}, 1, 1)",
    "change a time": "os.utime({secret!r}, (1, 1))",
    "shell": "subprocess.run(['/bin/sh', '-c', 'touch ' + {canary!r}], check=True)",
    "fork": "os.fork()",
    "start a thread": "threading.Thread(target=int).start()",
    "become a program": "os.execv('/bin/true', ['true'])",
    "connect": "socket.create_connection(('127.0.0.1', {port}), 1)",
    "datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "local socket": "socket.socketpair()",
    "signal the parent": "os.kill(os.getppid(), 0)",
    "signal by handle": "os.pidfd_open(os.getppid())",
    "the parent's memory": "open('/proc/%d/mem' % os.getppid(), 'rb')",
    "own memory map": "open('/proc/self/maps').read()",
    "io_uring": "call(425, 4, ctypes.create_string_buffer(120))",
    "another session": "os.setsid()",
    "become root": "os.setuid(0)",
    "memory file": "os.memfd_create('x')",
    "fill the disk": "os.write(os.open('big', os.O_WRONLY | os.O_CREAT), b'x')",
    "more memory": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "have a signal sent": "fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid())",
}


@pytest.fixture(scope="module")
def server() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        yield listening


@pytest.fixture(scope="module")
def escape_results(tmp_path_factory: pytest.TempPathFactory, server: socket.socket) -> tuple[str, Path, Path]:
    """Try every escape in one sandbox; return the names of those that worked, the secret file and the canary."""
    folder = tmp_path_factory.mktemp("outside")
    folder.chmod(0o755)
    secret, canary = folder / "secret", folder / "canary"
    secret.write_text("the secret")
    values = {"secret": str(secret), "canary": str(canary), "folder": str(folder), "port": server.getsockname()[1]}
    operations = {name: code.format(**values) for name, code in ESCAPES.items()}
    code = f"""
import os, socket, subprocess, ctypes, resource, fcntl, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), 'refused')
worked = []
for name, act in {operations!r}.items():
    try:
        exec(act)
    except BaseException:
        continue
    worked.append(name)
raise RuntimeError('worked:' + ','.join(worked) + ';')
"""
    return error_text(code), secret, canary


def test_no_escape_works(escape_results: tuple[str, Path, Path]) -> None:
    """No escape from the sandbox works, neither for root nor for another user."""
    assert "worked:;" in escape_results[0]


def test_nothing_outside_was_touched(escape_results: tuple[str, Path, Path], server: socket.socket) -> None:
    """After all attempts the secret is unchanged, no canary exists and no connection was made."""
    _, secret, canary = escape_results
    assert secret.read_text() == "the secret"
    assert stat.S_IMODE(secret.stat().st_mode) != 0o777
    assert secret.stat().st_mtime > 1000
    assert not canary.exists()
    with pytest.raises(TimeoutError):
        server.accept()


def test_same_operations_work_outside(tmp_path: Path) -> None:
    """The attempts are real: outside the sandbox they succeed."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    names = ("list the folder", "change a mode", "change a time", "signal the parent", "cut", "remove")
    for name in names:
        exec("import os\n" + ESCAPES[name].format(secret=str(secret), canary="", folder=str(tmp_path), port=1))  # noqa: S102 - the list above
    assert not secret.exists()


def test_a_shell_command_does_not_run(tmp_path: Path) -> None:
    """A pickle that calls the shell leaves no trace."""
    canary = tmp_path / "canary"
    with pytest.raises(RelevoError):
        convert(pickle.dumps(Calls(f"touch {canary}")))
    assert not canary.exists()


def test_the_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker inherits no environment variable and no open file but its own two pipes."""
    monkeypatch.setenv("RELEVO_SECRET", "abc123")
    with open("/etc/hostname", "rb") as inherited:  # noqa: PTH123 - an inheritable descriptor is wanted
        os.set_inheritable(inherited.fileno(), True)  # noqa: FBT003 - its only form
        message = error_text("""
            import os
            held = []
            for number in range(100):
                try:
                    held.append(os.fstat(number))
                except OSError:
                    pass
            raise RuntimeError(f"held {len(held)}; secret {'RELEVO_SECRET' in os.environ}; {sorted(os.environ)[:2]}")
            """)
    assert "held 5; secret False" in message


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("while True: pass", "longer than"),
        ("import time; time.sleep(1000)", "longer than"),
        ("import os; os._exit(3)", "code 3"),
        ("import os, ctypes; ctypes.string_at(0)", "crashed"),
        ("x = bytearray(10**12)", "memory"),
        ("x = []\nwhile True: x.append(bytearray(2**26))", "memory|longer than"),
        (
            "import os\nfor n in range(3, 20):\n  try:\n    while True: os.write(n, b'x' * 65536)\n  except OSError: pass",
            "more than|cannot be read",
        ),
        (
            "import os, time\nfor n in range(3, 20):\n  try: os.close(n)\n  except OSError: pass\ntime.sleep(100)",
            "went on|longer than",
        ),
    ],
    ids=["loop", "sleep", "exit", "crash", "bomb", "slow-bomb", "flood", "silence"],
)
def test_excessive_use_ends_in_bounded_time(code: str, word: str) -> None:
    """Endless loops, memory bombs, floods and crashes end in SandboxError within the time limit."""
    started = time.monotonic()
    with pytest.raises(SandboxError, match=word):
        convert(pickle_running(code), bounds=Bounds(wall_seconds=8, cpu_seconds=30, memory_mb=1500, output_mb=1))
    assert time.monotonic() - started < 20


def test_processor_time_is_bounded() -> None:
    """The kernel ends a loop that exceeds its processor time."""
    with pytest.raises(SandboxError, match="processor time"):
        convert(pickle_running("while True: pass"), bounds=Bounds(wall_seconds=20, cpu_seconds=4))


def test_limits_grow_with_file_size() -> None:
    """The limits grow with a 548 MiB file (VGG19), which is in memory several times; a small file gets the defaults."""
    heavy, light = (Bounds().for_bytes(size * 2**20) for size in (548, 0))
    assert light == Bounds()
    assert heavy.memory_mb >= light.memory_mb + 4 * 548
    assert heavy.wall_seconds - light.wall_seconds == heavy.cpu_seconds - light.cpu_seconds > 200


def test_small_file_has_short_time_limit_unless_set() -> None:
    """Below 10 MiB an import has less than 30 s of processor time and memory in proportion; explicit limits take precedence."""
    small = Bounds().for_bytes(9 * 2**20)
    replay = Bounds().for_bytes(9 * 2**20, replay=True)
    assert small.cpu_seconds + replay.cpu_seconds < 32
    assert small.data_mb - Bounds().for_bytes(0).data_mb == 16 * 9
    explicit = Bounds(cpu_seconds=100, data_mb=4000).for_bytes(2**20)
    assert (explicit.cpu_seconds, explicit.data_mb) == (100, 4000)


def test_exceeded_limit_names_its_flag() -> None:
    """Exceeding time or memory names the command line flag that raises the limit."""
    with pytest.raises(SandboxError, match="more than the 2 seconds of processor time it is given; --max-seconds allows more"):
        convert(pickle_running("while True: pass"), bounds=Bounds(wall_seconds=60, cpu_seconds=2))
    with pytest.raises(SandboxError, match="needs more memory than it is given; --max-memory allows more"):
        convert(pickle_running("bytearray(10**12)"))


def test_missing_module_is_named(tmp_path: Path) -> None:
    """A pickle that needs a user's own module names it; no other scikit-learn is suggested or installed."""
    (tmp_path / "m.pkl").write_bytes(b"cmy_own_transformers\nDropper\n.")
    began = time.monotonic()
    for releases in ((), ("scikit-learn==1.1.3",)):
        with pytest.raises(ConversionError, match="needs the Python module 'my_own_transformers', which is not installed here"):
            import_model(tmp_path / "m.pkl", name="m", trust_pickle=True, releases=releases)
    assert time.monotonic() - began < 60


def test_memory_limit_grows_with_request() -> None:
    """The worker's memory limit grows by four times the size of what it is sent."""
    code = "import resource\nraise RuntimeError(f'may hold {resource.getrlimit(resource.RLIMIT_AS)[0] // 2**20}')"
    with pytest.raises(ConversionError, match=r"may hold 3080"):
        convert_in_sandbox(
            ConversionOptions(format="pickle"), [pickle_running(code), b"", bytes(20 * 2**20)], need_strong=True, bounds=SHORT
        )


def test_fork_is_denied() -> None:
    """Every fork is denied."""
    assert "forks 0" in error_text("""
        import os, threading
        forks = 0
        for _ in range(100):
            try:
                pid = os.fork()
                if pid == 0: os._exit(0)
                forks += 1
            except OSError:
                pass
        raise RuntimeError(f"forks {forks}")
        """)


def pickle_that_sends(frame: bytes) -> bytes:
    """A pickle that writes its own frame into the pipe and exits with code 0."""
    return pickle_running(f"""
import os
for number in range(3, 20):
    try:
        if os.write(number, {frame!r}) > 0: os._exit(0)
    except OSError:
        pass
""")


def forged_frame(numbers: bytes = b"", **changes: Any) -> bytes:
    record = RecordInput(fields=(Field(name="a", kind=FieldKind.NUMBER),))
    fields: dict[str, Any] = {
        "input": record,
        "steps": MatrixSteps(input="x", columns=(Column(field="a"),)),
        "output": Output(name="y", labels=("no", "yes")),
        "framework": "scikit-learn 1.0",
        "converter": {},
        "outputs": None,
        "samples": "generated",
        "bodies": (0, 0, 0),
    }
    header = protocol.ConvertedMessage(**{**fields, **changes})
    return protocol.pack(header, [valid_onnx(), numbers, b'[{"a": 1.0}]'])


def valid_onnx() -> bytes:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Sigmoid", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    return bytes(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())


def test_forged_onnx_is_audited() -> None:
    """ONNX bytes that come out of the sandbox are audited like an untrusted file."""
    header = next(iter(protocol.frames(forged_frame(), protocol.ConvertedMessage))).header
    frame = protocol.pack(header, [b"\x08junk", b"", b""])
    with pytest.raises(InvalidOnnxError):
        convert(pickle_that_sends(frame))


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\x80\x04N.", id="pickle"),
        pytest.param(struct.pack("<I", 2**32 - 1) + b"{}", id="endless header"),
        pytest.param(struct.pack("<I", 2) + b"{}", id="empty header"),
        pytest.param(forged_frame() + forged_frame(), id="twice"),
        pytest.param(forged_frame()[:-3], id="cut off"),
        pytest.param(forged_frame(outputs=(1000, 1000)), id="array of another size"),
        pytest.param(forged_frame(np.array([0.5, 2.0]).tobytes(), outputs=(1, 2), predicted=True), id="a label that is none"),
        pytest.param(forged_frame(np.array([0.5]).tobytes(), outputs=(1, 1), predicted=True), id="labels without scores"),
        pytest.param(forged_frame(predicted=True), id="labels alone"),
        pytest.param(protocol.pack(protocol.SandboxStatus(level="strong", failed_checks=())), id="walls again"),
    ],
)
def test_forged_message_is_rejected(frame: bytes) -> None:
    """A message that does not match the protocol exactly is rejected."""
    with pytest.raises(SandboxError):
        convert(pickle_that_sends(frame))


@pytest.mark.parametrize("labels", [("yes", "yes"), ("one",)])
def test_forged_manifest_is_rejected(labels: tuple[str, ...], tmp_path: Path) -> None:
    """Labels and fields that come out of the sandbox are checked for consistency before a package is written."""
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle_that_sends(forged_frame(output=Output(name="y", labels=labels))))
    with pytest.raises(InvalidManifestError):
        import_model(path, name="forged", trust_pickle=True, out=tmp_path / "out", bounds=SHORT)
    assert not (tmp_path / "out").exists()


def endless_onnx() -> bytes:
    """A graph that loops 2**62 times before it returns."""
    from onnx import TensorProto, helper

    condition = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["a", "a"], ["b"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), condition, helper.make_tensor_value_info("a", 1, [None, 1])],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("b", 1, [None, 1])],
    )
    count = helper.make_tensor("n", TensorProto.INT64, [], [2**62])
    yes = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    graph = helper.make_graph(
        [helper.make_node("Loop", ["n", "c", "x"], ["y"], body=body)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [count, yes],
    )
    data: bytes = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    return data


def test_endless_graph_ends_in_sandbox(tmp_path: Path) -> None:
    """An endless ONNX graph returned by a hostile pickle does not hang the importing process."""
    path = tmp_path / "model.pkl"
    header = next(iter(protocol.frames(forged_frame(), protocol.ConvertedMessage))).header
    path.write_bytes(pickle_that_sends(protocol.pack(header, [endless_onnx(), b"", b'[{"a": 1.0}]'])))
    started = time.monotonic()
    with pytest.raises(SandboxError, match=r"longer than|processor time"):
        import_model(path, name="endless", trust_pickle=True, bounds=Bounds(wall_seconds=10, cpu_seconds=8))
    assert time.monotonic() - started < 25


def test_error_text_is_printable() -> None:
    """An error text from the sandbox is short, on one line and without control characters."""
    message = error_text(r"raise RuntimeError('\x1b[2J\n\x00' + 'x' * 10**6)")
    assert len(message) < 600
    assert all(character.isprintable() for character in message)


@pytest.mark.parametrize(("walls", "level"), [(("landlock",), "partial"), (("seccomp",), "partial"), ((), "none")])
def test_weak_sandbox_opens_no_pickle(walls: tuple[str, ...], level: str, tmp_path: Path) -> None:
    """Where an isolation layer is missing the file is not opened, and the error names the level and the flag."""
    canary = tmp_path / "canary"
    with pytest.raises(SandboxTooWeakError, match=f"only a {level}.*--accept-weak-quarantine"):
        convert(pickle_running(f"open({str(canary)!r}, 'w')"), bounds=Bounds(walls=walls, wall_seconds=20))
    assert not canary.exists()


def test_accepted_weak_sandbox_is_recorded(tmp_path: Path) -> None:
    """With a weak sandbox allowed the model is imported, and the package records the level."""
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(vectorizer_and_model()))
    package = import_model(path, name="weak", trust_pickle=True, accept_weak=True, bounds=Bounds(walls=("landlock",)))
    assert package.manifest.lineage.sandbox == "partial"


def test_isolation_levels() -> None:
    """All checks passed is strong; only files or network isolated is partial; neither is none."""
    assert self_test.isolation_level(()) == "strong"
    assert self_test.isolation_level(("process: trace",)) == "partial"
    assert self_test.isolation_level(("file: read outside",)) == "partial"
    assert self_test.isolation_level(("file: read outside", "network: io_uring")) == "none"


def test_self_test_fails_outside_sandbox(tmp_path: Path) -> None:
    """Without a sandbox the self-test reports the operations as possible."""
    code = f"""
import sys
sys.path.insert(0, {str(SOURCE)!r})
from relevo.importing.sandbox.linux import self_test
print(self_test.isolation_level(self_test.run_self_test({str(tmp_path)!r})))
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert process.stdout.strip() == "none"


@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_well_formed(machine: str, threads: bool) -> None:  # noqa: FBT001 - a table's column
    """Every jump of the filter lands inside it, and it ends in an action, for both architectures."""
    lines = seccomp.program(machine, 4242, threads=threads)
    assert len(lines) < 4096
    assert lines[-1][0] == 0x06
    for at, (code, yes, no, _) in enumerate(lines):
        if code in (0x15, 0x35, 0x45):
            assert 0 <= yes < 256
            assert 0 <= no < 256
            assert at + 1 + max(yes, no) < len(lines)
    numbers = [NUMBERS[name][0 if machine == "x86_64" else 1] for name in DENIED]
    known = [number for number in numbers if number is not None]
    assert len(known) == len(set(known))
    assert set(known) <= {constant for code, *_, constant in lines if code == 0x15}

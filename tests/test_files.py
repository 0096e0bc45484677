"""Files on disk: a crash leaves the old one, damage is told, two processes do not meet."""

import contextlib
import errno
import json
import os
import re
import stat
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from common import PROGRAMS, small
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygpt
from nn import files
from nn.files import (
    load_arrays,
    locked,
    read_json,
    save_arrays,
    write_atomically,
    write_json,
)

DTYPES = [np.dtype(name) for name in "bool f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8".split()]
TINY = {"b": np.array([1.5, -2], np.float32), "a": np.array([[32], [32]], np.uint8)}  # 32: space
posix = pytest.mark.skipif(os.name != "posix", reason="locks and limits of POSIX")


pytestmark = pytest.mark.usefixtures("no_wait_for_the_disk")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """One file for all examples of Hypothesis."""
    return tmp_path_factory.mktemp("files") / "file"


def python(program, *arguments):
    """A Python that runs one of tests/programs beside this one."""
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS / program), *map(str, arguments)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def same(arrays, expected):
    """Names, dtypes, shapes and bits, also those of a NaN."""
    assert sorted(arrays) == sorted(expected)
    for name, array in arrays.items():
        assert type(array) is np.ndarray and array.dtype == expected[name].dtype
        assert array.shape == expected[name].shape and array.tobytes() == expected[name].tobytes()


def flips(path):
    """Flip every bit of a file in turn, and back."""
    with open(path, "r+b", buffering=0) as file:
        for i, byte in enumerate(path.read_bytes()):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), i)
                yield f"bit {bit} of byte {i}"
            os.pwrite(file.fileno(), bytes([byte]), i)


# ---------------------------------------------------------------- one file in place of another


@pytest.mark.parametrize(
    "crash", [RuntimeError("odd"), KeyboardInterrupt(), SystemExit(1), MemoryError()]
)
@pytest.mark.parametrize("old", ["old", None])
def test_a_crash_keeps_the_old_file(tmp_path, crash, old):
    path = tmp_path / "file"
    if old:
        path.write_text(old)

    def write(name):
        assert re.fullmatch(r"\.file\..*\.tmp", Path(name).name)  # what locked() removes
        Path(name).write_text("half")
        raise crash

    with pytest.raises(type(crash)) as caught:
        write_atomically(path, write)
    assert caught.value is crash
    assert [p.name for p in tmp_path.iterdir()] == (["file"] if old else [])
    assert not old or path.read_text() == old


@pytest.mark.parametrize(
    "step", ["os.fsync", "os.replace", "os.chmod", "tempfile.mkstemp", "pathlib.Path.write_text"]
)
def test_a_full_disk_keeps_the_old_file_and_is_told(tmp_path, monkeypatch, step):
    path = tmp_path / "settings.json"
    write_json(path, {"old": 1})
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "another name")

    with monkeypatch.context() as patch:
        patch.setattr(step, full)
        with pytest.raises(OSError) as caught:
            write_json(path, {"new": 2})
    assert str(caught.value) == f"cannot write {path}: No space left on device"
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@posix
def test_a_file_that_does_not_fit(tmp_path):
    """The kernel refuses in the middle of a write, as on a full disk."""
    out, error = python("full_disk_files.py", tmp_path).communicate(timeout=60)
    assert out.splitlines() == [
        f"cannot write {tmp_path / name}: {os.strerror(errno.EFBIG)}" for name in ("arrays", "json")
    ], error
    same(load_arrays(tmp_path / "arrays", sealed=True)[0], {"x": np.zeros(9)})
    assert read_json(tmp_path / "json") == {"x": 0}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arrays", "json"]


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for name in ("folder", "file/file", "file/missing/file"):
        with pytest.raises(OSError) as caught:
            write_json(tmp_path / name, {})
        assert str(caught.value).startswith(f"cannot write {tmp_path / name}: ")
    with pytest.raises(OSError, match=r"/file/file: .*/file is a file, not a folder$"):
        save_arrays(tmp_path / "file" / "file", TINY)
    with pytest.raises(OSError, match=r"^cannot write .*file: no number$"):
        write_atomically(
            tmp_path / "file", lambda name: (_ for _ in ()).throw(OSError("no number"))
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("kind", [str, Path])
def test_missing_folders_are_made_for_every_kind_of_file(tmp_path, kind):
    """By each function that writes, from a path of either type."""
    model, tokenizer = small(), tinygpt.CharTokenizer("abcdefghijk")
    for n, write in enumerate((
        lambda path: save_arrays(path, TINY), lambda path: write_json(path, {"x": 1}),
        lambda path: write_atomically(path, lambda name: Path(name).touch()), tokenizer.save,
        lambda path: files.save_model(path, model, tokenizer), model.save_pretrained,
        lambda path: tinygpt.save(path, model, tokenizer),
    )):  # fmt: skip
        path = kind(tmp_path / str(n) / "a" / "b")
        write(path)
        assert Path(path).exists()
    same(load_arrays(kind(tmp_path / "0" / "a" / "b"))[0], TINY)
    assert read_json(kind(tmp_path / "1" / "a" / "b")) == {"x": 1}
    assert tinygpt.load(kind(tmp_path / "6" / "a" / "b"))[0].config == model.config
    with locked(kind(tmp_path / "c" / "d")):
        assert files.checksum(kind(tmp_path / "1" / "a" / "b"))


def test_a_name_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_arrays("x", TINY)
    same(load_arrays("x")[0], TINY)
    write_json("y", {"x": 1})
    assert read_json("y") == {"x": 1}


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
                                   OSError(errno.EROFS, os.strerror(errno.EROFS))])  # fmt: skip
def test_a_folder_that_cannot_be_written_or_made(tmp_path, monkeypatch, error):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    for write in (tinygpt.CharTokenizer("abc").save, small().save_pretrained):
        with pytest.raises(OSError, match=f"^cannot write {tmp_path}/.*: {error.strerror}$"):
            write(tmp_path)
    monkeypatch.setattr("os.mkdir", refuse)
    with pytest.raises(OSError, match=f"^cannot write {tmp_path}/new/file: {error.strerror}$"):
        save_arrays(tmp_path / "new" / "file", TINY)


@posix
def test_a_file_is_on_the_disk_before_it_takes_the_place(tmp_path, monkeypatch):
    """Or a power cut leaves an empty file under the right name."""
    path, events = tmp_path / "file", []
    path.write_text("old")
    fsync, replace = os.fsync, os.replace

    def watched_fsync(handle):
        content = Path(f"/proc/self/fd/{handle}").resolve()
        events.append("folder" if content == tmp_path.resolve() else content.read_text())
        fsync(handle)

    def watched_replace(source, target):
        events.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    write_atomically(path, lambda name: Path(name).write_text("new"))
    assert events == ["new", "replace", "folder"] and path.read_text() == "new"


@posix
def test_a_folder_that_cannot_be_forced_to_the_disk_is_told(tmp_path, monkeypatch):
    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=f"^cannot write {tmp_path / 'file'}: Input/output error$"):
        write_json(tmp_path / "file", {})


@posix
def test_no_file_stays_open(tmp_path):
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        save_arrays(tmp_path / "file", TINY)
        load_arrays(tmp_path / "file")
        with locked(tmp_path), pytest.raises(ValueError, match="another"):
            locked(tmp_path).__enter__()
    assert len(os.listdir("/dev/fd")) == before


@posix
def test_others_may_read_what_is_written(tmp_path):
    write_json(tmp_path / "file", {})
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json(Path("file"), {"x": 1})
    assert read_json(Path("file")) == {"x": 1}


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_and_shape_comes_back(tmp_path, dtype):
    arrays = {"first": np.zeros(1, np.int8)}
    for shape in [(), (0,), (3, 0, 2), (1,), (2, 3, 4)]:
        array = np.arange(np.prod(shape, dtype=int)) % 2
        arrays[str(shape)] = array.astype(dtype).reshape(shape)
    save_arrays(tmp_path / "file", arrays)
    same(load_arrays(tmp_path / "file", sealed=True)[0], arrays)
    same(safetensors.numpy.load_file(tmp_path / "file"), arrays)


ARRAYS = st.dictionaries(
    st.text().filter(lambda name: name != "__metadata__"),
    st.sampled_from(DTYPES).flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0))),
    max_size=4,
)


@given(
    arrays=ARRAYS, header=st.dictionaries(st.text().filter(lambda k: k != "checksum"), st.text())
)
def test_any_arrays_come_back(path, arrays, header):
    save_arrays(path, arrays, header)
    loaded, again = load_arrays(path, sealed=True)
    same(loaded, arrays)
    assert again == {"format": "pt", **header}
    same(safetensors.numpy.load_file(path), arrays)
    before = path.read_bytes()
    save_arrays(path, loaded, again)
    assert path.read_bytes() == before


def test_views_are_saved_as_they_look(tmp_path):
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    views = {
        "transposed": base.T, "backwards": base[::-1, ::-1], "strided": base[1::2, ::3],
        "fortran": np.asfortranarray(base), "broadcast": np.broadcast_to(base[0], (3, 6)),
        "scalar": base[2, 3], "diagonal": np.diagonal(base),
    }  # fmt: skip
    save_arrays(tmp_path / "file", views)
    expected = {name: np.array(view, order="C") for name, view in views.items()}
    same(load_arrays(tmp_path / "file", sealed=True)[0], expected)
    same(safetensors.numpy.load_file(tmp_path / "file"), expected)


def test_long_names_and_many_arrays(tmp_path):
    arrays = {f"{'블록.' * 2000}{i}": np.full(i, i) for i in range(50)}
    save_arrays(tmp_path / "file", arrays, {"note": "\0 \n 😀" * 5000})
    loaded, header = load_arrays(tmp_path / "file", sealed=True)
    same(loaded, arrays)
    assert header["note"] == "\0 \n 😀" * 5000


def test_loaded_arrays_can_be_written(tmp_path):
    save_arrays(tmp_path / "file", TINY)
    load_arrays(tmp_path / "file")[0]["b"][:] = 0
    same(load_arrays(tmp_path / "file", sealed=True)[0], TINY)


def test_equal_arrays_make_equal_files(tmp_path):
    save_arrays(tmp_path / "one", TINY, {"x": "1", "y": "2"})
    again = {name: array[::-1].copy()[::-1] for name, array in reversed(TINY.items())}
    save_arrays(tmp_path / "two", again, {"x": "1", "y": "2"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_bytes_of_a_file(tmp_path):
    """A change here makes files of before unreadable, or unsealed."""
    save_arrays(tmp_path / "file", TINY, {"key": "한글"})
    one, two = b"\x20\x20", b"\x00\x00\xc0\x3f\x00\x00\x00\xc0"
    sealed = b'[["format", "pt"], ["key", "\\ud55c\\uae00"]]'
    sealed += b"a uint8 (2, 1)" + one + b"b float32 (2,)" + two
    text = (
        b'{"__metadata__": {"checksum": "%08x", "format": "pt", "key": "\\ud55c\\uae00"}, '
        b'"a": {"dtype": "U8", "shape": [2, 1], "data_offsets": [0, 2]}, '
        b'"b": {"dtype": "F32", "shape": [2], "data_offsets": [2, 10]}}'
    )
    text %= zlib.crc32(sealed)
    assert len(text) % 8 == 6
    text += b"  "  # lest the data is not aligned
    assert (tmp_path / "file").read_bytes() == len(text).to_bytes(8, "little") + text + one + two


@pytest.mark.parametrize("arrays", [TINY, {}, {"x": np.zeros(0)}], ids=["two", "none", "empty"])
def test_no_flipped_bit_goes_unseen(tmp_path, arrays):
    """Without a seal, one in the name of the checksum does, which changes no array."""
    path = tmp_path / "file"
    save_arrays(path, arrays, {"key": "value"})
    for flip in flips(path):
        with pytest.raises(ValueError, match="file"):
            load_arrays(path, sealed=True)
            pytest.fail(flip)
        with contextlib.suppress(ValueError):
            loaded, header = load_arrays(path)
            same(loaded, arrays)
            assert len(header) == 3 and "checksum" not in header


@pytest.mark.parametrize("sealed", [True, False])
def test_no_missing_end_goes_unseen(tmp_path, sealed):
    path = tmp_path / "file"
    save_arrays(path, TINY)
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0")
    for n in [len(whole) + 1, *range(len(whole) - 1, -1, -1)]:
        os.truncate(path, n)
        with pytest.raises(ValueError, match="file is damaged, or not a safetensors file"):
            load_arrays(path, sealed)
            pytest.fail(f"{n} bytes")


def test_what_is_wrong_with_a_file_is_told(tmp_path):
    save_arrays(tmp_path / "file", TINY)
    data = (tmp_path / "file").read_bytes()
    for changed, message in (
        (data[:-1] + b"\0", "file is not what was written: it was damaged since; take a copy"),
        (data.replace(b"checksum", b"checkout"), "file has no checksum; take a copy"),
    ):
        (tmp_path / "file").write_bytes(changed)
        with pytest.raises(ValueError, match=message):
            load_arrays(tmp_path / "file", sealed=True)


def entry(**changes):
    return {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


@pytest.mark.parametrize(
    "header",
    [
        [], None, 3, "text", {}, {"x": None}, {"x": []}, {"x": {}}, {"x": {"dtype": "F32"}},
        entry(dtype="F64"), entry(dtype="F33"), entry(dtype=None), entry(dtype=["F32"]),
        entry(shape=[3]), entry(shape=[1]), entry(shape=[-1]), entry(shape=[-1, -2]),
        entry(shape=[-2, -1]), entry(shape=[2.0]), entry(shape=["2"]), entry(shape=2),
        entry(shape=None), entry(shape=[1 << 62, 1 << 62]), entry(data_offsets=[0, 9]),
        entry(data_offsets=[1, 9]), entry(data_offsets=[-8, 0]), entry(data_offsets=[8, 0]),
        entry(data_offsets=[8]), entry(data_offsets=[0, 4, 8]), entry(data_offsets=8),
        entry(data_offsets=["0", "8"]), entry(data_offsets=[0.0, 8.0]), entry(more=1),
        entry(shape=[1], data_offsets=[0, 4]),
        {**entry(), "__metadata__": None}, {**entry(), "__metadata__": 3},
        {**entry(), "__metadata__": "text"}, {**entry(), "__metadata__": {"checksum": 3}},
        {**entry(), "__metadata__": {"seals": {}}}, {**entry(), "__metadata__": {"notes": None}},
    ],
    ids=str,
)  # fmt: skip
def test_headers_that_are_wrong(tmp_path, header):
    text = json.dumps(header).encode()
    (tmp_path / "file").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(ValueError, match="file is "):
        load_arrays(tmp_path / "file")


@given(data=st.binary(max_size=40).filter(lambda d: d.strip() != b"{}"), sealed=st.booleans())
def test_other_files_are_refused(path, data, sealed):
    for content in (data, len(data).to_bytes(8, "little") + data):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is damaged, or not a safetensors file"):
            load_arrays(path, sealed)


def test_a_file_of_another_program(tmp_path):
    safetensors.numpy.save_file(TINY, tmp_path / "file", {"format": "pt", "of": "another"})
    loaded, header = load_arrays(tmp_path / "file")
    same(loaded, TINY)
    assert header == {"format": "pt", "of": "another"}
    with pytest.raises(ValueError, match="file has no checksum; take a copy"):
        load_arrays(tmp_path / "file", sealed=True)
    safetensors.numpy.save_file(TINY, tmp_path / "file")
    assert load_arrays(tmp_path / "file")[1] == {}


def with_an_entry(path, dtype, data):
    entry = {"dtype": dtype, "shape": [3], "data_offsets": [0, len(data)]}
    text = json.dumps({"x": entry}).encode()  # not a multiple of 8 bytes: the data is not aligned
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    numbers = np.array([1.5, -3.0, 2.0**100], np.float32)
    halves = (numbers.view(np.uint32) >> 16).astype("<u2")
    arrays, _ = load_arrays(with_an_entry(tmp_path / "file", "BF16", halves.tobytes()))
    assert arrays["x"].dtype == np.float32
    np.testing.assert_array_equal(arrays["x"], numbers)
    text = b'{"x": {"dtype": "BF16", "shape": [], "data_offsets": [0, 2]}}'
    (tmp_path / "file").write_bytes(len(text).to_bytes(8, "little") + text + b"\xc0\x3f")
    same(load_arrays(tmp_path / "file")[0], {"x": np.array(1.5, np.float32)})


def test_a_dtype_that_numpy_has_not(tmp_path):
    with pytest.raises(ValueError, match=r"file is damaged.*x has dtype F8_E4M3, which NumPy has"):
        load_arrays(with_an_entry(tmp_path / "file", "F8_E4M3", bytes(3)))


def test_a_file_is_mapped_and_stays_as_it_is(tmp_path):
    save_arrays(tmp_path / "file", {"x": np.ones(3)})
    before = (tmp_path / "file").read_bytes()
    arrays, _ = load_arrays(tmp_path / "file")
    arrays["x"][:] = 2
    assert type(arrays["x"]) is np.ndarray and (tmp_path / "file").read_bytes() == before


@pytest.mark.parametrize("dtype", [">f4", "c8", "c16", "U2", "S2", "O", "M8[s]", "f4,i4"])
def test_a_dtype_that_could_not_be_read_is_not_written(tmp_path, dtype):
    save_arrays(tmp_path / "file", TINY)
    with pytest.raises(TypeError, match="cannot save wrong of dtype"):
        save_arrays(tmp_path / "file", {"x": np.ones(2), "wrong": np.zeros(2, dtype)})
    same(load_arrays(tmp_path / "file", sealed=True)[0], TINY)


def test_the_header_holds_strings(tmp_path):
    with pytest.raises(TypeError, match="cannot save step in the header: expected a string, got 3"):
        save_arrays(tmp_path / "file", TINY, {"step": 3})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seals", ["", "[1]", "3", "null", '"text"', "{", "[" * 100_000])
def test_seals_that_are_damaged(tmp_path, seals):
    with pytest.raises(ValueError, match=f"the seals in model.safetensors of {tmp_path} are damag"):
        files.check_seals(tmp_path, {"seals": seals})


def test_nothing_to_load(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*missing"):
        load_arrays(tmp_path / "missing")
    with pytest.raises(ValueError, match=f"cannot read {tmp_path}: "):
        load_arrays(tmp_path)


# ---------------------------------------------------------------- JSON

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=[])),  # file names can have half a surrogate pair
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(content=st.dictionaries(st.text(), JSON))
def test_any_json_comes_back(path, content):
    write_json(path, content)
    assert read_json(path, " ".join(k for k in content if k.split() == [k])) == content


def test_json_can_be_read_by_people(tmp_path):
    write_json(tmp_path / "file", {"text": "한국어 😀", "lines": "a\r\nb"})
    assert (tmp_path / "file").read_bytes().decode() == (
        '{\n "text": "한국어 😀",\n "lines": "a\\r\\nb"\n}\n'
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged, or not a JSON file"),
        (b'{"a": 1', "is damaged, or not a JSON file"),
        (b'{"a": 1} x', "is damaged, or not a JSON file"),
        (b'{"a": "\xff"}', "is damaged, or not a JSON file"),
        (b"[" * 100_000, "is damaged, or not a JSON file"),
        (b"null", "is damaged, or of another program: no object is in it"),
        (b'["a", "b", "c"]', "is damaged, or of another program: no object is in it"),
        (b'"a b c"', "is damaged, or of another program: no object is in it"),
        (b'{"b": 1}', "is damaged, or of another program: no a, c in it"),
    ],
)
def test_json_that_is_not_right(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=f"file {message}"):
        read_json(tmp_path / "file", "a b c")


def test_json_that_asks_for_no_names(tmp_path):
    (tmp_path / "file").write_text("[1]")
    with pytest.raises(ValueError, match="no object"):
        read_json(tmp_path / "file")
    (tmp_path / "file").write_text("{}")
    assert read_json(tmp_path / "file") == {}


def test_no_json(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*missing"):
        read_json(tmp_path / "missing")
    with pytest.raises(ValueError, match=f"cannot read {tmp_path}: Is a directory"):
        read_json(tmp_path)


# ---------------------------------------------------------------- a directory for one process

def test_a_directory_is_made_and_unlocked_again(tmp_path):
    directory = tmp_path / "a" / "b"
    for _ in range(2):
        with locked(directory):
            assert directory.is_dir()
            with pytest.raises(ValueError, match=f"another process is at work in {directory}: "):
                locked(directory).__enter__()
    with pytest.raises(KeyboardInterrupt), locked(directory):
        raise KeyboardInterrupt
    with locked(directory), locked(tmp_path):
        pass


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("kept")
    for name in ("file", "file/below"):
        with pytest.raises(OSError) as caught, locked(tmp_path / name):
            pass
        assert str(caught.value).startswith(f"cannot write to the directory {tmp_path / name}: ")
    assert (tmp_path / "file").read_text() == "kept"


def test_only_what_was_half_written_is_removed(tmp_path):
    for name in (".file.ab12.tmp", ".tmp", ".x.tmp", "x.tmp", ".hidden", "file"):
        (tmp_path / name).touch()
    with locked(tmp_path):
        names = {path.name for path in tmp_path.iterdir()}
    assert names - {".tmp"} == {"x.tmp", ".hidden", "file", ".lock"}


@posix
def test_the_second_of_two_processes_is_refused(tmp_path):
    (tmp_path / "file").write_text("old")
    with python("hold_lock.py", tmp_path) as first:
        assert first.stdout.readline() == "writing\n"
        with pytest.raises(ValueError, match="another process"), locked(tmp_path):
            pass
        assert len(list(tmp_path.glob(".file.*.tmp"))) == 1  # the first is still at it
        assert first.communicate(timeout=60) == ("", "")
    assert (tmp_path / "file").read_text() == "half"
    with locked(tmp_path), python("hold_lock.py", tmp_path) as second:
        out, error = second.communicate(timeout=60)
    assert second.returncode == 1 and not out
    assert f"ValueError: another process is at work in {tmp_path}: wait for its end" in error


@posix
def test_a_killed_process_leaves_the_old_file_and_no_lock(tmp_path):
    (tmp_path / "file").write_text("old")
    with python("hold_lock.py", tmp_path) as process:
        assert process.stdout.readline() == "writing\n"
        process.kill()
        process.wait(timeout=60)
    assert len(list(tmp_path.glob(".file.*.tmp"))) == 1
    with locked(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {"file", ".lock"}
    assert (tmp_path / "file").read_text() == "old"


def test_a_place_without_locks(tmp_path, monkeypatch):
    """Windows: the directory is made and swept, and nothing is refused."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    (tmp_path / ".file.1.tmp").touch()
    with locked(tmp_path), locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_public_names_have_a_docstring():
    assert all(getattr(files, name).__doc__ for name in files.__all__)

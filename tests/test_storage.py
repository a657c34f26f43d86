"""Storage: whole files or none, a journal that survives a kill, and names that stay inside their folder."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from alternet.storage import Journal, safe_name, sole_writer, tidy, write_atomically, write_json


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("resnet50", "resnet50"),
        ("tv:vit_b_16@weights/a.pth", "tv_vit_b_16_weights_a.pth"),
        ("../../etc/passwd", "_._.._etc_passwd"),
        ("..", "_."),
        (".hidden", "_hidden"),
        ("-rf", "_rf"),
        ("", "_"),
        ("  ", "_"),
        ("ünï", "_n_"),
        ("a\nb\0c", "a_b_c"),
        ("x" * 500, "x" * 200),
    ],
)
def test_a_name_becomes_one_folder(name, folder, tmp_path):
    assert safe_name(name) == folder
    assert (tmp_path / safe_name(name)).resolve().parent == tmp_path.resolve()


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_atomically(path, "första")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_scrap(tmp_path, monkeypatch, where):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, where, full)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_readable(tmp_path):
    write_json(tmp_path / "a.json", {"name": "naïve"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "name": "naïve"\n}\n'


def note(folder, *items, identity="a", part=0):
    with Journal(folder, identity=identity, part=part) as journal:
        for item in items:
            journal.add(item, [[item, 0.1]])


def test_items_are_on_the_disk_before_add_returns(tmp_path):
    with Journal(tmp_path, identity="a") as journal:
        journal.add("x", [[1, 0.1 + 0.2, None, float("inf")]])
        assert Journal(tmp_path, identity="a").done() == {"x": [[1, 0.1 + 0.2, None, float("inf")]]}


def test_the_journals_of_all_processes_are_read(tmp_path):
    note(tmp_path, "x", "z", part=0)
    note(tmp_path, "y", part=1)
    assert set(Journal(tmp_path, identity="a").done()) == {"x", "y", "z"}


@pytest.mark.parametrize("kept", [1, 2, 10, 20, -2, -1])
def test_a_line_that_was_cut_off_is_dropped_and_overwritten(tmp_path, kept):
    note(tmp_path, "x", "y")
    path = tmp_path / "items.0.jsonl"
    *before, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(before) + last[:kept])
    assert set(Journal(tmp_path, identity="a").done()) == {"x"}
    note(tmp_path, "z")
    assert set(Journal(tmp_path, identity="a").done()) == {"x", "z"}
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize("content", [b"", b'{"ident', b"\xff\xfe\x00"])
def test_a_journal_that_was_cut_off_at_once_is_empty(tmp_path, content):
    (tmp_path / "items.0.jsonl").write_bytes(content)
    assert Journal(tmp_path, identity="a").done() == {}
    note(tmp_path, "x")
    assert set(Journal(tmp_path, identity="a").done()) == {"x"}


def test_a_file_name_that_is_no_text_is_stored_and_read_back(tmp_path):
    name = b"bad\xff.jpg".decode("utf-8", "surrogateescape")
    write_json(tmp_path / "a.json", {"skipped": [name]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"skipped": [name]}


def test_another_measurement_is_refused(tmp_path):
    note(tmp_path, "x")
    with pytest.raises(ValueError, match="half-finished measurement with other settings"):
        Journal(tmp_path, identity="b").done()


def test_a_journal_goes_when_its_tables_are_safe(tmp_path):
    note(tmp_path, "x")
    note(tmp_path, "y", part=3)
    (tmp_path / "table.csv").touch()
    Journal(tmp_path, identity="a").remove()
    assert [path.name for path in Path(tmp_path).iterdir()] == ["table.csv"]


def test_only_one_writes_into_a_folder(tmp_path):
    folder = tmp_path / "deep" / "folder"
    with sole_writer(folder):
        refused = pytest.raises(ValueError, match=rf"is being written by process {os.getpid()} on .*another --out")
        with refused, sole_writer(folder):
            pass
        with sole_writer(tmp_path / "deep"):
            pass
    with pytest.raises(ZeroDivisionError), sole_writer(folder):
        raise ZeroDivisionError
    with sole_writer(folder):
        pass
    assert not list(folder.iterdir())


@pytest.mark.slow
def test_a_lock_ends_with_its_owner(tmp_path):
    code = "lock = sole_writer(Path(sys.argv[1])); lock.__enter__(); print(1, flush=True); input()"
    call = [sys.executable, "-c", f"import sys; from alternet.storage import *; {code}", str(tmp_path)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as owner:
        assert owner.stdout is not None and owner.stdout.readline()
        with pytest.raises(ValueError, match=f"process {owner.pid} "), sole_writer(tmp_path):
            pass
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    with sole_writer(tmp_path):
        pass


def test_what_killed_writers_left_goes_with_the_next_one_and_nothing_else(tmp_path):
    (tmp_path / "snapshots" / "ema").mkdir(parents=True)
    left = [
        ".table.csv.ab12_x9z",
        ".items.0.jsonl.abcdefgh",
        "snapshots/.warmup.safetensors.abcdefgh",
        "snapshots/ema/.epoch-0001.safetensors.abcdefgh",
    ]
    kept = [
        ".hidden",
        ".env.abcdefgh",
        ".table.csv.backup12345",
        "table.csv.abcdefgh",
        ".notes.txt.abcdefgh",
        "items.0.jsonl",
    ]
    for name in (*left, *kept):
        (tmp_path / name).touch()
    with sole_writer(tmp_path):
        assert not [name for name in left if (tmp_path / name).exists()]
    assert [name for name in kept if not (tmp_path / name).exists()] == []


def test_a_writer_that_is_refused_removes_nothing_of_another(tmp_path):
    with sole_writer(tmp_path):
        (tmp_path / ".table.csv.abcdefgh").touch()  # which it is writing now
        with pytest.raises(ValueError, match="is being written"), sole_writer(tmp_path):
            pass
        assert (tmp_path / ".table.csv.abcdefgh").exists()


def test_who_has_just_locked_a_folder_is_named_as_soon_as_it_says_so(tmp_path):
    note = tmp_path / ".lock-holder"
    with sole_writer(tmp_path):
        said = note.read_text()
        note.unlink()
        late = threading.Timer(0.05, note.write_text, (said,))
        late.start()
        with pytest.raises(ValueError, match=rf"is being written by process {os.getpid()} on"), sole_writer(tmp_path):
            pass
        late.join()


def test_beside_a_finished_result_nothing_is_removed_while_somebody_writes(tmp_path):
    for name in ("items.0.jsonl", ".table.csv.abcdefgh", "table.csv"):
        (tmp_path / name).touch()
    with sole_writer(tmp_path):
        (tmp_path / ".run.json.abcdefgh").touch()
        before = sorted(tmp_path.iterdir())
        tidy(tmp_path)
        assert sorted(tmp_path.iterdir()) == before
    tidy(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_a_rename_is_flushed_with_its_folder(tmp_path, monkeypatch):
    flushed = []
    flush = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (flushed.append(os.readlink(f"/proc/self/fd/{descriptor}")), flush(descriptor))
    )
    write_json(tmp_path / "a.json", {})
    assert flushed[0].startswith(f"{tmp_path}/.a.json.") and flushed[1:] == [str(tmp_path)]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("precious")], ids=["a pipe", "a link"])
def test_what_lies_where_the_holder_of_a_lock_is_noted_is_neither_waited_for_nor_written_through(tmp_path, make):
    (tmp_path / "precious").write_text("kept")
    make(tmp_path / ".lock-holder")
    with sole_writer(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock-holder").read_text()
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_full_disk_is_told_with_the_file_that_was_to_be_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for where in ("fsync", "replace"):
        with monkeypatch.context() as broken:
            broken.setattr(os, where, full)
            with pytest.raises(OSError, match="No space left") as caught:
                write_json(tmp_path / "a.json", {})
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "a.json"))
    assert not list(tmp_path.iterdir())


def test_what_was_left_beside_a_file_without_a_lock_goes_when_it_is_written_again(tmp_path):
    def left(age, mode=0o600):
        descriptor, name = tempfile.mkstemp(dir=tmp_path, prefix=".report.html.")
        os.close(descriptor)
        os.chmod(name, mode)
        os.utime(name, (time.time() - age,) * 2)
        return Path(name)

    killed, filling, mine = left(120), left(5), left(120, mode=0o644)
    other = tmp_path / ".report.html.backup"
    other.touch(mode=0o600)
    os.utime(other, (0, 0))
    write_atomically(tmp_path / "report.html", "")
    assert not killed.exists() and filling.exists() and mine.exists() and other.exists()


def test_an_item_without_room_is_told_once(tmp_path):
    journal = Journal(tmp_path, identity="a").__enter__()
    os.dup2(os.open("/dev/full", os.O_WRONLY), journal._file.fileno())
    with pytest.raises(OSError, match="No space left"):
        journal.add("x", [[1]])
    journal.__exit__()  # which would say it again, of what the file still holds
    assert Journal(tmp_path, identity="a").done() == {}

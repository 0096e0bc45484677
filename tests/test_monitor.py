"""What one sees of a training: lines that are true, a file that survives, a picture."""

import dataclasses
import json
import os
import re
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn.run import monitor
from nn.run.monitor import (
    Metrics,
    Progress,
    byte_progress,
    fonts_for,
    plot_losses,
    read_metrics,
)

pytestmark = pytest.mark.usefixtures("no_wait_for_the_disk")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """One file for all examples of Hypothesis."""
    return tmp_path_factory.mktemp("metrics") / "metrics.jsonl"


@pytest.fixture
def clock(monkeypatch):
    """A list with the time in seconds, for Progress."""
    seconds = [1000.0]
    monkeypatch.setattr(monitor, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    return seconds


# ---------------------------------------------------------------- on the screen


def test_plain_lines_where_there_is_no_terminal(clock, capsys):
    with Progress(100) as progress:
        for _ in range(100):
            clock[0] += 0.5
            progress.update(loss="1.234", speed="9 tokens/s")
    out, err = capsys.readouterr()
    assert not out and err.splitlines() == [
        f"training: {n} % ({n} of 100), loss 1.234, speed 9 tokens/s, 00:{(100 - n) // 2:02} left"
        for n in (20, 40, 60, 80, 100)
    ]


def test_a_quiet_time_between_two_lines(clock, capsys, monkeypatch):
    monkeypatch.setattr(monitor, "_QUIET", 3.0)
    with Progress(10, job="encoding", unit="token") as progress:
        for seconds in (2.9, 0.2, 2.9, 0.2):
            clock[0] += seconds
            progress.update()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" %")[0] for line in lines] == ["encoding: 20", "encoding: 40"]


def test_the_end_is_told_unless_it_comes_at_once(clock, capsys):
    for seconds, lines in ((0.9, 0), (1.1, 1)):
        with Progress(7) as progress:
            progress.update(3)
            clock[0] += seconds
            progress.update(4)
        err = capsys.readouterr().err
        assert err == "training: 100 % (7 of 7), 00:00 left\n" * lines


def test_a_resumed_training_takes_no_credit_for_what_was_done(clock, capsys, monkeypatch):
    monkeypatch.setattr(monitor, "_QUIET", 0.0)
    progress = Progress(1000, done=900)
    clock[0] += 60
    progress.update(10)
    assert capsys.readouterr().err == "training: 91 % (910 of 1,000), 09:00 left\n"


def test_a_job_of_no_size(clock, capsys, monkeypatch):
    monkeypatch.setattr(monitor, "_QUIET", 0.0)
    with Progress(0) as progress:
        progress.update(0)
    with byte_progress("encoding", 0) as advance:
        advance(0)
    err = capsys.readouterr().err
    assert err == "training: 0 % (0 of 0), 00:00 left\nencoding: 0 % (0.00 of 0.00), 00:00 left\n"


def test_reading_counts_bytes(clock, capsys, monkeypatch):
    monkeypatch.setattr(monitor, "_QUIET", 0.0)
    with byte_progress("checking the text", 4_000_000) as advance:
        clock[0] += 30
        advance(1_000_000)
    assert capsys.readouterr().err == ("checking the text: 25 % (1.00M of 4.00M), 01:30 left\n")


def test_a_bar_in_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(monitor, "_QUIET", 0.0)
    with Progress(10, done=4) as progress:
        progress.update(6, loss="1.234")
        progress.write("a sample\nof text")
    out, err = capsys.readouterr()
    assert out == "a sample\nof text\n" and "\rtraining: " in err
    last = err.split("\r")[-1]
    assert re.match(r"training: 100%\|█+\| 10/10, 00:00 left, loss 1\.234\n$", last)
    assert "% (" not in err  # none of the plain lines
    with byte_progress("encoding", 4_000_000) as advance:
        advance(3_000_000)
    assert re.search(r"encoding:  75%.* 3\.00M/4\.00M, .* left, .*B/s\n$", capsys.readouterr().err)


FIGURES_OF_A_LONG_RUN = {"loss": "1.234", "validation": "1.567", "speed": "123,456 tokens/s"}


@pytest.mark.parametrize(
    ("columns", "total", "shown"),
    [
        (120, 2000, ["loss 1.234", "validation 1.567", "123,456 tokens/s"]),
        (100, 2000, ["loss 1.234", "validation 1.567", "123,456 tokens/s"]),
        (80, 2000, ["loss 1.234", "validation 1.567"]),
        (80, 20000, ["loss 1.234", "validation 1.567"]),
        (60, 2000, ["loss 1.234"]),
        (50, 2000, []),
    ],
)
def test_a_bar_has_room_and_no_figure_is_cut(clock, capsys, monkeypatch, columns, total, shown):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    with Progress(total) as progress:
        for _ in range(2):
            clock[0] += 3600
            progress.update(total // 2, **FIGURES_OF_A_LONG_RUN)
    line = capsys.readouterr().err.split("\r")[-1].rstrip("\n")
    assert len(line) == columns and "it/s" not in line
    assert line.split("| ")[1].split(", ")[2:] == shown
    assert line.count("█") >= monitor._BAR


def test_a_bar_knows_the_terminal_it_is_in(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(fileno=lambda: 77))
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((fd, 24)))
    assert monitor._columns() == 77  # and not the width of the standard output, which may be a file


def test_a_text_is_written_without_a_bar_as_well(capsys):
    with Progress(10) as progress:
        progress.write("가 a sample")
    assert capsys.readouterr() == ("가 a sample\n", "")


def test_an_error_passes_through_a_progress(capsys):
    with pytest.raises(KeyboardInterrupt), Progress(10):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), byte_progress("encoding", 10):
        raise KeyboardInterrupt


# ---------------------------------------------------------------- in a file


def test_metrics_are_one_line_each_iteration(tmp_path):
    path = tmp_path / "metrics.jsonl"
    metrics = Metrics(path)
    assert path.read_bytes() == b""
    metrics.add(1, loss=3.25, tokens_per_second=100)
    assert path.read_bytes() == b'{"iteration": 1, "loss": 3.25, "tokens_per_second": 100}\n'
    metrics.add(3, loss=2.5)
    metrics.add(3, validation_loss=2.75)
    metrics.sync()
    assert path.read_text().splitlines() == [
        '{"iteration": 1, "loss": 3.25, "tokens_per_second": 100}',
        '{"iteration": 3, "loss": 2.5, "validation_loss": 2.75}',
    ]
    assert read_metrics(path) == [
        {"iteration": 1, "loss": 3.25, "tokens_per_second": 100},
        {"iteration": 3, "loss": 2.5, "validation_loss": 2.75},
    ]


def test_a_figure_can_be_replaced_by_a_shorter_one(tmp_path):
    metrics = Metrics(tmp_path / "file")
    metrics.add(1, loss=1.2345678901234567)
    metrics.add(1, loss=2.0)
    assert (tmp_path / "file").read_bytes() == b'{"iteration": 1, "loss": 2.0}\n'
    metrics.add(2, loss=3.0)
    assert [m["loss"] for m in read_metrics(tmp_path / "file")] == [2.0, 3.0]


@pytest.mark.parametrize("iteration", range(5))
def test_metrics_go_on_after_an_iteration(tmp_path, iteration):
    path = tmp_path / "file"
    before = Metrics(path)
    for i in (1, 2, 4):
        before.add(i, loss=i / 4)
    metrics = Metrics(path, iteration)
    kept = [{"iteration": i, "loss": i / 4} for i in (1, 2, 4) if i <= iteration]
    assert read_metrics(path) == kept
    if iteration:
        metrics.add(kept[-1]["iteration"], validation_loss=9.0)
        kept[-1]["validation_loss"] = 9.0
    metrics.add(5, loss=0.0)
    assert read_metrics(path) == [*kept, {"iteration": 5, "loss": 0.0}]


FIGURES = st.dictionaries(
    st.sampled_from(["loss", "validation_loss", "grad_norm"]),
    st.floats(allow_nan=False) | st.integers(0, 9),
)
STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 2), FIGURES), max_size=12)


@given(steps=STEPS)
def test_any_metrics_are_in_the_file(path, steps):
    """Objects added, extended, and a training resumed from before: as a dictionary has it."""
    path.unlink(missing_ok=True)
    metrics, model, last = Metrics(path), {}, 1
    for resume, back, figures in steps:
        if resume:
            last = max(1, last - back)
            model = {i: m for i, m in model.items() if i <= last}
            metrics = Metrics(path, last)
        else:
            last += back
            metrics.add(last, **figures)
            model.setdefault(last, {"iteration": last}).update(figures)
        assert read_metrics(path) == list(model.values())


def test_a_torn_last_line_is_left_out(tmp_path):
    path = tmp_path / "file"
    metrics = Metrics(path)
    for i in (1, 2, 3):
        metrics.add(i, loss=1 / i)
    whole = path.read_bytes()
    for n in range(len(whole), -1, -1):
        os.truncate(path, n)
        assert [m["iteration"] for m in read_metrics(path)] == [1, 2, 3][: whole[:n].count(b"\n")]
    path.write_bytes(whole[:-3])
    metrics = Metrics(path, 3)
    metrics.add(3, loss=9.0)
    assert [m["loss"] for m in read_metrics(path)] == [1.0, 0.5, 9.0]


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"{} {}", b"\xff", b"null", b"3", b"[1]", b"{}", b'{"loss": 1.0}',
        b'{"iteration": "2"}', b'{"iteration": 2.0}', b'{"iteration": true}',
        b'{"iteration": null}', b'{"iteration": 1}', b'{"iteration": 0}', b'{"iteration": -2}',
    ],
)  # fmt: skip
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "file"
    path.write_bytes(b'{"iteration": 1, "loss": 2.0}\n' + line + b'\n{"iteration": 3}\n')
    before = path.read_bytes()
    for read in (read_metrics, Metrics):
        with pytest.raises(ValueError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path} is damaged in line 2: take the line away")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("numbers", "damaged"), [([0], 1), (["x"], 1), ([1, 3, 2, 4], 3), ([2, 3, 3], 3), ([5, 1], 2)]
)
def test_iterations_count_up_from_one(tmp_path, numbers, damaged):
    text = "".join(f'{{"iteration": {number}}}\n' for number in numbers)
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=f"file is damaged in line {damaged}: "):
        read_metrics(tmp_path / "file")


def test_a_new_training_forgets_the_metrics_of_another(tmp_path):
    Metrics(tmp_path / "file").add(1, loss=2.0)
    Metrics(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b""


def test_metrics_are_forced_to_the_disk(tmp_path, monkeypatch):
    forced = []
    metrics = Metrics(tmp_path / "file")
    monkeypatch.setattr(os, "fsync", lambda handle: forced.append(os.fstat(handle)))
    metrics.add(1, loss=2.0)
    assert not forced  # not in each iteration
    metrics.sync()
    found = (tmp_path / "file").stat()
    assert [(f.st_ino, f.st_size) for f in forced] == [(found.st_ino, found.st_size)]


def test_metrics_of_a_training_that_diverged(tmp_path):
    metrics = Metrics(tmp_path / "file")
    metrics.add(1, loss=float("nan"), grad_norm=float("inf"))
    (found,) = read_metrics(tmp_path / "file")
    assert np.isnan(found["loss"]) and found["grad_norm"] == float("inf")


def test_metrics_that_cannot_be_read_or_written(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read .*missing: No such file"):
        read_metrics(tmp_path / "missing")
    with pytest.raises(ValueError, match="Is a directory"):
        read_metrics(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write .*file.*metrics"):
        Metrics(tmp_path / "file" / "metrics")


# ---------------------------------------------------------------- as a picture


def run(n, every=0):
    """Metrics of n iterations, each some with a validation loss."""
    metrics = [{"iteration": i, "loss": 4 / i + 1} for i in range(1, n + 1)]
    for m in metrics[every - 1 :: every] if every else []:
        m["validation_loss"] = m["loss"] + 0.5
    return metrics


ALONE = [{"iteration": 50, "validation_loss": 2.0}]
INFINITE = [*run(9), {"iteration": 10, "loss": float("inf")}]
RUNS = {
    "one": {"a": run(300, 100)},
    "one point": {"a": run(1)},
    "none yet": {"a": []},
    "validation alone": {"a": ALONE},
    "several": {"a": run(300, 100), "b": run(30), "c": run(1, 1), "d": ALONE, "e": []},
    "several without validation": {"a": run(30), "b": run(1), "c": []},
    "diverged": {"a": [*INFINITE, {"iteration": 11, "loss": float("nan")}]},
}


@pytest.fixture
def axes(monkeypatch):
    """Draws runs and returns the axes, and not the picture."""
    backend = pytest.importorskip("matplotlib.backends.backend_agg")

    def draw(path, runs):
        kept = []

        class Canvas:
            def __init__(self, figure):
                kept.append(figure)

            def print_png(self, name):
                pass

        monkeypatch.setattr(backend, "FigureCanvasAgg", Canvas)
        plot_losses(path, runs)
        return kept[0].axes[0]

    return draw


@pytest.mark.parametrize("name", RUNS)
def test_a_picture_of_losses(tmp_path, name):
    path = tmp_path / "loss.png"
    path.write_text("old")
    plot_losses(path, RUNS[name])
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82")
    assert struct.unpack(">II", data[16:24]) == (1200, 675)
    assert [p.name for p in tmp_path.iterdir()] == ["loss.png"]


def lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_lines_of_one_run(tmp_path, axes):
    metrics = run(300, 100)
    drawn = axes(tmp_path / "file", {"a": metrics})
    assert labels(drawn) == ["training, each batch", "training, mean of 6", "validation"]
    losses = np.array([m["loss"] for m in metrics])
    each, mean, validation = lines(drawn).values()
    np.testing.assert_array_equal(each, np.stack([np.arange(1, 301), losses], axis=1))
    means = [losses[i : i + 6].mean() for i in range(295)]
    np.testing.assert_allclose(mean, np.stack([np.arange(4, 299), means], axis=1))
    assert validation.tolist() == [[m["iteration"], m["validation_loss"]] for m in metrics[99::100]]
    assert drawn.get_xlim() == (0, 300) and drawn.get_title() == "Loss"
    assert drawn.get_ylim()[0] == 0  # from 5 down to 1


def test_the_lines_of_several_runs(tmp_path, axes):
    runs = {"one": run(10, 5), "two": run(400, 200), "three": run(10), "four": []}
    drawn = axes(tmp_path / "file", runs)
    assert drawn.get_title() == "Validation loss (dots) and training loss (lines)"
    assert "nats per token" in drawn.get_ylabel() and drawn.get_xlabel() == "iteration"
    thin = drawn.lines[2].get_xydata()  # the training of the second: mean of 8
    losses = [m["loss"] for m in runs["two"]]
    assert drawn.lines[2].get_color() == "C1" and len(thin) == 393
    np.testing.assert_allclose(
        thin[[0, -1]], [[5, np.mean(losses[:8])], [397, np.mean(losses[-8:])]]
    )
    shown = ["one", "two", "three (no validation yet)", "four (no validation yet)"]
    assert labels(drawn) == shown and drawn.get_xlim() == (0, 400)
    assert lines(drawn)["one"].tolist() == [[5, 2.3], [10, 1.9]]
    colors = {line.get_label(): line.get_color() for line in drawn.lines}
    assert [colors[name] for name in shown] == ["C0", "C1", "C2", "C3"]
    assert len(drawn.lines) == 8


def test_a_loss_that_hardly_falls_is_seen_from_near(tmp_path, axes):
    flat = [{"iteration": i, "loss": 4 - i / 1000} for i in range(1, 101)]
    low, high = axes(tmp_path / "file", {"a": flat}).get_ylim()
    assert 3.5 < low < 3.9 < high < 4.5
    falling = [{"iteration": i, "loss": 4 / i} for i in range(1, 101)]
    assert axes(tmp_path / "file", {"a": falling, "b": flat}).get_ylim()[0] == 0
    assert axes(tmp_path / "file", {"a": flat, "b": falling}).get_ylim()[0] == 0


def test_what_lies_beyond_the_last_batch_is_in_the_picture(tmp_path, axes):
    drawn = axes(tmp_path / "file", {"a": [*run(9), {"iteration": 20, "validation_loss": 1.0}]})
    assert drawn.get_xlim() == (0, 20)


def test_a_run_without_validation_has_none_in_its_legend(tmp_path, axes):
    drawn = axes(tmp_path / "file", {"a": run(10)})
    assert labels(drawn) == ["training, each batch", "training, mean of 1"]
    assert len(drawn.lines) == 2


def test_a_run_that_diverged_does_not_hide_the_others(tmp_path, axes):
    wild = [{"iteration": i, "loss": 3.0**i} for i in range(1, 12)]
    assert axes(tmp_path / "file", {"a": run(10), "b": wild}).get_yscale() == "log"
    assert axes(tmp_path / "file", {"a": run(10), "b": INFINITE}).get_yscale() == "linear"


@pytest.fixture
def fonts(monkeypatch):
    """Only the fonts that come with Matplotlib."""
    manager = pytest.importorskip("matplotlib.font_manager")
    own = [f for f in manager.fontManager.ttflist if "mpl-data" in f.fname]
    monkeypatch.setattr(manager.fontManager, "ttflist", own)
    monkeypatch.setattr(manager, "findSystemFonts", lambda: [])
    return own


NAMES = ["$a_b$", "_c", "$", r"d\$e", "x" * 200, "한국어", "中文", "日本語", "🙂", "عربي",
         "a\nb", "\udcff"]  # fmt: skip


def test_any_name_of_a_run_is_drawn_as_it_is(tmp_path, fonts):
    note = plot_losses(tmp_path / "file", {name: run(3, 3) for name in NAMES})
    assert note.endswith(
        "한 🙂 (boxes in the picture): install Noto Sans CJK and Symbola, on Debian or Ubuntu by: "
        "apt install fonts-noto-cjk fonts-symbola"
    )
    assert note.startswith("No font here has the letters ") and note.count("\n") == 0
    assert plot_losses(tmp_path / "file", {name: run(3, 3) for name in NAMES[:5]}) == ""
    assert plot_losses(tmp_path / "file", {"한국어": run(3, 3)}) == ""  # one run: no name is drawn


def test_the_names_in_a_legend(tmp_path, axes, fonts):
    drawn = axes(tmp_path / "file", {name: run(3, 3) for name in NAMES})
    texts = drawn.get_legend().get_texts()
    assert not any(text.get_parse_math() for text in texts)
    shown = ["$a_b$", " _c", "$", r"d\$e", "\u2026" + "x" * 59, *NAMES[5:10], r"a\nb", r"\udcff"]
    assert [text.get_text() for text in texts] == shown


def test_a_font_that_has_the_letters_is_found(fonts, monkeypatch):
    import matplotlib
    from matplotlib.ft2font import FT2Font

    letters = {f.name: set(map(chr, FT2Font(f.fname).get_charmap())) for f in fonts}
    (other,) = [f for f in fonts if f.name == "STIXGeneral" and f.style == "normal"
                and f.weight in (400, "normal", "regular")]  # fmt: skip
    only = min(set(map(chr, FT2Font(other.fname).get_charmap())) - letters["DejaVu Sans"])
    monkeypatch.setattr(matplotlib.font_manager.fontManager, "ttflist",
                        [f for f in fonts if f.name == "DejaVu Sans" or f is other])  # fmt: skip
    with fonts_for(["abc", only]) as note:
        assert note == "" and matplotlib.rcParams["font.family"] == ["DejaVu Sans", "STIXGeneral"]
    assert monitor._find_fonts({"a"}) == (["DejaVu Sans"], set())
    # A font that was installed after Matplotlib made its list:
    new = [f for f in fonts if f.name == "DejaVu Sans"]
    monkeypatch.setattr(matplotlib.font_manager.fontManager, "ttflist", new)
    assert monitor._find_fonts({only}) == (["DejaVu Sans"], {only})
    monkeypatch.setattr(matplotlib.font_manager, "findSystemFonts", lambda: [other.fname, __file__])
    assert monitor._find_fonts({only}) == (["DejaVu Sans", "STIXGeneral"], set())


def test_fonts_of_an_environment_that_is_gone(tmp_path, fonts, monkeypatch):
    from matplotlib import font_manager

    gone = [dataclasses.replace(font, fname=str(tmp_path / "gone" / font.name)) for font in fonts]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", gone)
    assert plot_losses(tmp_path / "file", {"a": run(3, 3), "b": run(3, 3)}) == ""
    assert (tmp_path / "file").stat().st_size > 10_000


def test_a_picture_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write .*file.*loss.png"):
        plot_losses(tmp_path / "file" / "loss.png", RUNS["one"])


def test_metrics_can_be_drawn_as_they_are_read(tmp_path):
    metrics = Metrics(tmp_path / "metrics.jsonl")
    for m in run(5, 5):
        metrics.add(**json.loads(json.dumps(m)))
    plot_losses(tmp_path / "loss.png", {"a": read_metrics(tmp_path / "metrics.jsonl")})
    assert (tmp_path / "loss.png").stat().st_size > 1000


def test_public_names_have_a_docstring():
    assert all(getattr(monitor, name).__doc__ for name in monitor.__all__)

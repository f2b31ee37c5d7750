"""run.py sets the project up without ever harming an environment that is there."""

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def calls():
    """Every process that run.py would have started, as its argument list."""
    return []


@pytest.fixture
def run(tmp_path, monkeypatch, calls):
    """run.py as a module, in a place of its own, with a Python that always works and processes that only pretend."""
    spec = importlib.util.spec_from_file_location("run_under_test", ROOT / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    venv = tmp_path / ".venv"
    (tmp_path / "constraints.txt").write_text("one==1\n")
    for name, value in (
        ("ROOT", tmp_path),
        ("VENV", venv),
        ("PYTHON", venv / "bin" / "python"),
        ("PINS", tmp_path / "constraints.txt"),
        ("STAMP", venv / "constraints.sha256"),
        ("BENCHMARKS", tmp_path / "Benchmarks"),
    ):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "_usable", lambda python: python.exists())

    def pretend(arguments, **_):
        calls.append([str(part) for part in arguments])
        if "venv" in calls[-1]:
            (venv / "bin").mkdir(parents=True, exist_ok=True)
            (venv / "bin" / "python").touch()
        return 0

    monkeypatch.setattr(subprocess, "call", pretend)
    return module


def installs(calls) -> int:
    return sum("install" in call for call in calls)


def test_a_first_call_makes_the_environment_and_installs_the_pins(run, calls):
    run.set_up()

    assert "venv" in calls[0] and "install" in calls[1] and str(run.PINS) in calls[1]
    assert run.STAMP.read_text() == hashlib.sha256(b"one==1\n").hexdigest()


def test_a_second_call_starts_nothing(run, calls):
    run.set_up()
    calls.clear()

    run.set_up()

    assert calls == []


def test_changed_constraints_are_installed_into_the_same_environment(run, calls):
    run.set_up()
    calls.clear()
    run.PINS.write_text("one==2\n")

    run.set_up()

    assert installs(calls) == 1 and not any("venv" in call for call in calls)


@pytest.mark.parametrize("stamp", [None, "", "garbage", '{"constraints": "0", "python": "3.11"}', "0" * 64])
def test_whatever_the_stamp_says_no_file_of_an_environment_is_deleted(run, calls, stamp):
    """An older stamp once looked like another Python, and a working environment was cleared under running programs."""
    package = run.VENV / "lib" / "package.py"
    package.parent.mkdir(parents=True)
    package.touch()
    run.PYTHON.parent.mkdir()
    run.PYTHON.touch()
    if stamp is not None:
        run.STAMP.write_text(stamp)

    run.set_up()

    assert package.exists()
    assert installs(calls) == 1
    assert not any("venv" in call or "--clear" in call for call in calls)


def test_making_an_environment_never_clears_what_is_there(run, calls):
    run.set_up()

    assert not any("--clear" in call for call in calls)


def test_an_interrupted_installation_is_taken_up_again(run, calls, monkeypatch):
    run.set_up()
    run.PINS.write_text("one==2\n")

    def interrupted(arguments, **_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(subprocess, "call", interrupted)
        run.set_up()
    calls.clear()
    run.set_up()

    assert installs(calls) == 1


def test_a_failing_pip_says_what_can_be_done_and_leaves_no_stamp(run, monkeypatch):
    run.set_up()
    run.PINS.write_text("one==2\n")
    monkeypatch.setattr(subprocess, "call", lambda *_, **__: 1)

    with pytest.raises(SystemExit) as left:
        run.set_up()

    assert "HTTPS_PROXY" in str(left.value) and "pip download" in str(left.value)
    assert not run.STAMP.exists()


def test_an_environment_that_does_not_start_is_reported_and_left_alone(run, monkeypatch):
    run.set_up()
    monkeypatch.setattr(run, "_usable", lambda python: False)
    run.STAMP.unlink()

    with pytest.raises(SystemExit, match="delete that folder"):
        run.set_up()

    assert run.PYTHON.exists()


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["nonsense"], 2), (["--help"], 0)])
def test_usage_is_shown_without_setting_anything_up(run, calls, capsys, arguments, code):
    assert run.main(arguments) == code
    assert calls == []
    assert "usage: python3 run.py" in "".join(capsys.readouterr())


def test_the_app_is_the_host_with_the_arguments_passed_on(run, calls, monkeypatch):
    monkeypatch.setattr(run, "_have_slicer_libraries", lambda: True)

    run.app(["scan.nii.gz", "--screenshot", "a.png"])

    assert calls[-1][1:] == ["-m", "Testing.SlicerHost", "scan.nii.gz", "--screenshot", "a.png"]


def test_without_the_libraries_for_its_views_the_app_names_the_packages_to_install(run, calls, monkeypatch, capsys):
    monkeypatch.setattr(run, "_have_slicer_libraries", lambda: False)
    monkeypatch.setattr(run, "_missing_libraries", lambda: ["EGL"])

    assert run.app([]) == 1 and calls == []
    assert "EGL" in capsys.readouterr().err


def test_an_unknown_benchmark_is_named_with_those_there_are(run, capsys):
    run.BENCHMARKS.mkdir()
    (run.BENCHMARKS / "bench_search.py").touch()

    assert run.bench(["serach"]) == 2
    assert "serach" in (text := capsys.readouterr().err) and "search" in text


def test_a_failing_benchmark_is_not_hidden_by_a_later_one(run, monkeypatch):
    run.BENCHMARKS.mkdir()
    (run.BENCHMARKS / "bench_a.py").touch()
    (run.BENCHMARKS / "bench_b.py").touch()
    monkeypatch.setattr(run, "_run", lambda path: -9 if path.stem == "bench_a" else 0)

    assert run.bench([]) == -9


def test_run_needs_nothing_but_the_standard_library():
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import run; print(sorted(sys.modules))"

    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True).stdout

    assert "numpy" not in loaded and "TumorRetrievalLib" not in loaded


def test_each_ring_of_tests_runs_in_a_process_of_its_own(run, calls, monkeypatch):
    monkeypatch.setattr(run, "_have_slicer_libraries", lambda: True)

    assert run.test([]) == 0

    assert [call[-1].rsplit("/", 1)[-1] for call in calls if "pytest" in call] == ["unit", "data", "scene", "gui"]


def test_without_the_libraries_the_rings_of_slicer_are_left_out_loudly(run, calls, monkeypatch, capsys):
    monkeypatch.setattr(run, "_have_slicer_libraries", lambda: False)
    monkeypatch.setattr(run, "_missing_libraries", lambda: ["EGL"])

    run.test([])

    assert [call[-1].rsplit("/", 1)[-1] for call in calls if "pytest" in call] == ["unit", "data"]
    assert "LEFT OUT" in capsys.readouterr().err


def test_one_failing_ring_fails_the_command_and_the_others_still_run(run, calls, monkeypatch):
    monkeypatch.setattr(run, "_have_slicer_libraries", lambda: True)
    monkeypatch.setattr(
        run, "_run", lambda *arguments: calls.append(arguments) or int(str(arguments[-1]).endswith("data"))
    )

    assert run.test([]) == 1 and len(calls) == 5

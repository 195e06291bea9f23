"""The on-device classifier: images, labels, quantized input and output, devices, and every documented exit code."""

from __future__ import annotations

import ctypes
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgevit.errors import DeviceError, ToolNotFound, UsageError
from edgevit_coral import runtime
from edgevit_coral.mapping import predict
from edgevit_coral.runner import load_image, load_labels, main, softmax, stored_pixels, takes_bytes
from edgevit_coral.runtime import open_session
from edgevit_coral.writer import write
from tests.coral.mapping_models import colour_classifier
from tests.tools import REPO, requires

litert = requires("litert")
COLOUR = (200, 100, 50)
COMPILED = b"\0\0\0\0TFL3....edgetpu-custom-op"
PLAIN = b"\0\0\0\0TFL3...."


def _write_bytes(folder: Path, content: bytes) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return path


def _write_model(folder: Path, **options: Any) -> Path:
    return _write_bytes(folder, write(colour_classifier(**options)))


def _write_image(folder: Path, colour: tuple[int, int, int] = COLOUR, size: tuple[int, int] = (20, 30)) -> Path:
    path = folder / "image.png"
    Image.new("RGB", size, colour).save(path)
    return path


def _run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main([*map(str, arguments), "--json", "--device", "cpu"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@litert
@pytest.mark.parametrize("io_type", ["uint8", "int8"])
@pytest.mark.parametrize("extra", [(), ("--reference",)])
def test_logits_and_scores(
    io_type: str, extra: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, image = _write_model(tmp_path, io=io_type), _write_image(tmp_path)
    result = _run(model, image, "--repeat", 3, *extra, capsys=capsys)
    logits = [entry["logit"] for entry in result["top"]]
    assert [entry["index"] for entry in result["top"]] == [0, 1, 2]
    assert logits == pytest.approx([10 * value / 255 for value in COLOUR], abs=10 / 255)
    expected = np.exp(logits) / np.exp(logits).sum()
    assert [entry["score"] for entry in result["top"]] == pytest.approx(expected)
    assert len(result["latency_ms"]) == 3
    assert result["median_ms"] == sorted(result["latency_ms"])[1]
    assert (result["place"], result["on_edge_tpu"], result["device"]) == ("CPU, not Edge TPU", False, "cpu")


def test_the_test_model_is_one_that_the_edge_tpu_takes_whole() -> None:
    assert predict(colour_classifier()).summary.fraction == 1.0


@litert
def test_a_model_that_ends_in_softmax_gets_no_second_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, image = _write_model(tmp_path, softmax=True), _write_image(tmp_path)
    top = _run(model, image, capsys=capsys)["top"]
    assert [entry["score"] for entry in top] == [entry["logit"] for entry in top]
    assert top[0]["score"] == pytest.approx(0.977, abs=2 / 256)


@litert
def test_an_input_that_takes_no_plain_bytes_is_remarked_upon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, image = _write_model(tmp_path, scale=1 / 32), _write_image(tmp_path)
    result = _run(model, image, capsys=capsys)
    assert "none that take plain bytes" in result["notes"][0]


@litert
def test_labels_and_the_number_of_classes_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, image, labels = _write_model(tmp_path), _write_image(tmp_path, (0, 30, 220)), tmp_path / "labels.txt"
    labels.write_text("rouge\nvert\nbleu foncé\n\n", encoding="utf-8")
    assert main([str(model), str(image), "--labels", str(labels), "--top", "2", "--device", "cpu"]) == 0
    output = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in output[:2]] == ["bleu foncé", "vert"]
    assert "CPU, not Edge TPU" in output[2]
    assert len(output) == 3


@litert
def test_labels_of_another_model_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\n")
    arguments = [str(_write_model(tmp_path)), str(_write_image(tmp_path)), "--device", "cpu", "--labels", str(labels)]
    assert main(arguments) == 2
    assert "2 labels for a model of 3 classes" in capsys.readouterr().err


def test_numbered_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("0  background\n1  tench, Tinca\n")
    assert load_labels(path) == ("background", "tench, Tinca")
    path.write_text("1 first\n2 second\n")
    assert load_labels(path) == ("1 first", "2 second")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x" * (4 * 2**20 + 1)])
def test_files_that_are_no_labels(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        load_labels(path)
    with pytest.raises(UsageError):
        load_labels(tmp_path / "absent")


def test_the_centre_of_a_wide_image_is_cropped_and_stretch_keeps_all(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    Image.fromarray(pixels).save(path)
    assert load_image(path, 10, 10).min() == 255
    stretched = load_image(path, 10, 30, stretch=True)
    assert np.array_equal(stretched, pixels)
    assert load_image(path, 6, 6, stretch=True)[:, 0].max() < 128


def test_pixels_of_the_right_size_are_untouched(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    assert np.array_equal(load_image(path, 8, 8), pixels)
    assert load_image(path, 8, 8, channels=1).shape == (8, 8, 1)


def test_the_orientation_tag_is_obeyed(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 3
    image.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(load_image(tmp_path / "turned.png", 8, 8), pixels[::-1, ::-1])


@given(st.integers(0, 255), st.sampled_from([np.uint8, np.int8]))
def test_the_exporters_inputs_take_raw_bytes(pixel: int, dtype: type[np.generic]) -> None:
    value = stored_pixels(np.array([pixel], np.uint8), dtype)
    assert value.dtype == dtype
    assert int(value.astype(int)[0]) == (pixel if dtype is np.uint8 else pixel - 128)


@pytest.mark.parametrize(("scale", "zero"), [(1 / 128, 128), (1 / 255, 0), (1.0, 0)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_grids_whose_integers_are_the_pixels(scale: float, zero: int, dtype: type[np.generic]) -> None:
    shift = 0 if dtype is np.uint8 else 128
    assert takes_bytes(float(np.float32(scale)), zero - shift, dtype)
    assert not takes_bytes(scale, zero - shift + 1, dtype)
    assert not takes_bytes(scale * 1.1, zero - shift, dtype)


def test_softmax_of_large_logits() -> None:
    assert softmax(np.array([1000.0, 1000.0, -1000.0])) == pytest.approx([0.5, 0.5, 0.0])


@litert
@pytest.mark.parametrize("content", [b"", b"GIF89a", b"not an image at all" * 100])
def test_corrupt_images(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "bad.jpg"
    image.write_bytes(content)
    assert main([str(_write_model(tmp_path)), str(image), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert f"error: {image}: cannot be read as an image" in error
    assert "hint:" in error


def test_a_truncated_image(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 80).save(buffer, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(buffer.getvalue()[:5000])
    with pytest.raises(UsageError, match="cannot be read as an image"):
        load_image(tmp_path / "cut.jpg", 8, 8)


@litert
def test_an_absent_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(_write_model(tmp_path)), str(tmp_path / "absent.png"), "--device", "cpu"]) == 2
    assert "no such image" in capsys.readouterr().err


@litert
@pytest.mark.parametrize("cut", [0, 4, 20, 500])
def test_wrong_model_files(cut: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = _write_model(tmp_path)
    model.write_bytes(model.read_bytes()[:cut])
    assert main([str(model), str(_write_image(tmp_path)), "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert "model.tflite" in error
    assert "hint:" in error


def test_an_absent_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "absent.tflite"), str(_write_image(tmp_path)), "--device", "cpu"]) == 2
    assert "absent.tflite: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["m"], ["m", "i", "--top", "0"], ["m", "i", "--repeat", "x"], ["m", "i", "--device", "gpu"]]
)
def test_usage_errors_exit_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2


def test_reference_kernels_and_a_device_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--reference"):
        open_session(tmp_path / "model.tflite", "usb", reference=True)


class _Delegates:
    """Stands for a TensorFlow Lite interpreter module and its Edge TPU delegate."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failure: Exception | None = None) -> None:
        self.options: list[dict[str, str]] = []
        self.loaded: list[object] = []
        self.resolvers: list[object] = []
        self.failure = failure
        fake = SimpleNamespace(
            __name__="tflite_runtime.interpreter",
            load_delegate=self.load_delegate,
            Interpreter=self.interpreter,
            OpResolverType=SimpleNamespace(BUILTIN_REF="reference"),
        )
        monkeypatch.setattr(runtime, "_find_runtime", lambda: fake)
        monkeypatch.setattr(ctypes, "CDLL", lambda name: object())

    def load_delegate(self, library: str, options: dict[str, str]) -> str:
        if self.failure is not None:
            raise self.failure
        self.options.append(options)
        return f"delegate of {library}"

    def interpreter(self, **options: object) -> SimpleNamespace:
        self.loaded.append(options.get("experimental_delegates"))
        self.resolvers.append(options.get("experimental_op_resolver_type"))
        return SimpleNamespace(allocate_tensors=lambda: None)


@pytest.mark.parametrize("device", ["usb", "pci", ":1"])
def test_a_compiled_model_goes_to_the_device_that_was_asked_for(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = _Delegates(monkeypatch)
    session = open_session(_write_bytes(tmp_path, COMPILED), device)
    assert (session.on_edge_tpu, session.device, session.note) == (True, device, "")
    assert fake.options == [{"device": device}]
    assert fake.loaded == [["delegate of libedgetpu.so.1"]]


def test_a_model_that_was_not_compiled_is_not_said_to_be_on_the_edge_tpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Delegates(monkeypatch)
    session = open_session(_write_bytes(tmp_path, PLAIN), "usb")
    assert not session.on_edge_tpu
    assert "run edgetpu_compiler" in session.note


def test_no_device_exits_with_7(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _Delegates(monkeypatch, ValueError("Failed to load delegate from libedgetpu.so.1\n"))
    assert main([str(_write_bytes(tmp_path, PLAIN)), str(_write_image(tmp_path)), "--device", "usb"]) == 7
    error = capsys.readouterr().err
    assert "Failed to load delegate" in error
    assert "--device cpu" in error


def test_auto_without_a_device_says_that_it_runs_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _Delegates(monkeypatch, ValueError("Failed to load delegate"))
    session = open_session(_write_bytes(tmp_path, PLAIN), "auto")
    assert (session.device, session.on_edge_tpu) == ("cpu", False)
    assert session.note == "no Edge TPU (Failed to load delegate (device any)): running on the CPU"
    assert fake.loaded == [None]


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_a_compiled_model_does_not_run_on_the_cpu(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _Delegates(monkeypatch, ValueError("Failed to load delegate"))
    with pytest.raises(DeviceError, match="cannot run on the CPU") as error:
        open_session(_write_bytes(tmp_path, COMPILED), device)
    assert error.value.exit_code == 7


def test_reference_kernels_run_on_the_cpu_without_asking_for_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = _Delegates(monkeypatch)
    session = open_session(_write_bytes(tmp_path, PLAIN), "auto", reference=True)
    assert (session.device, fake.options, fake.resolvers) == ("cpu", [], ["reference"])
    open_session(_write_bytes(tmp_path, PLAIN), "cpu")
    assert fake.resolvers == ["reference", None]


def test_no_interpreter_exits_with_6(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_RUNTIMES", ("edgevit_absent_runtime",))
    with pytest.raises(ToolNotFound, match="pip install ai-edge-litert") as error:
        open_session(_write_bytes(tmp_path, PLAIN), "cpu")
    assert error.value.exit_code == 6


def _command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(REPO / folder) for folder in (".", "backends/coral", "kernels"))
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )


@litert
def test_no_library_exits_with_6_and_auto_falls_back(tmp_path: Path) -> None:
    arguments = ["-m", "edgevit_coral", str(_write_model(tmp_path)), str(_write_image(tmp_path))]
    refused = _command(*arguments, "--device", "usb")
    assert refused.returncode == 6
    assert "libedgetpu.so.1: cannot open shared object file" in refused.stderr
    assert "Traceback" not in refused.stderr
    fallback = _command(*arguments)
    assert fallback.returncode == 0
    assert "running on the CPU" in fallback.stderr
    assert "CPU, not Edge TPU" in fallback.stdout


@requires("litert", "cc")
def test_a_library_without_device_exits_with_7(tmp_path: Path) -> None:
    source, library = tmp_path / "fake.c", tmp_path / "libedgetpu.so.1"
    source.write_text(
        "typedef void (*report_t)(const char *);\n"
        "void *tflite_plugin_create_delegate(char **keys, char **values, unsigned long n, report_t report)\n"
        "{ (void)keys; (void)values; (void)n; (void)report; return 0; }\n"
        "void tflite_plugin_destroy_delegate(void *delegate) { (void)delegate; }\n"
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    arguments = ["-m", "edgevit_coral", str(_write_model(tmp_path)), str(_write_image(tmp_path)), "--device", "usb"]
    result = _command(*arguments, LD_LIBRARY_PATH=str(tmp_path))
    assert result.returncode == 7
    assert "Failed to load delegate" in result.stderr
    assert "plugged in" in result.stderr


@litert
def test_a_board_needs_numpy_pillow_and_an_interpreter_only(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'typer', 'rich', 'pydantic', 'scipy', 'timm', 'pycoral', 'safetensors'):\n"
        "    sys.modules[name] = None\n"
        "from edgevit_coral.runner import main\n"
        "code = main(sys.argv[1:])\n"
        "ours = sorted(name for name in sys.modules if name.startswith('edgevit.'))\n"
        "assert ours == ['edgevit.errors'], ours\n"
        "sys.exit(code)\n"
    )
    result = _command("-c", script, str(_write_model(tmp_path)), str(_write_image(tmp_path)), "--device", "cpu")
    assert result.returncode == 0, result.stderr
    assert "class 0" in result.stdout

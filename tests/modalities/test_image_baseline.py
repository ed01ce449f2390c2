import numpy as np
import pytest
from PIL import Image

from headstart.errors import DataError
from headstart.modalities.image_baseline import Descriptors, make
from headstart.types import Task


def stripes(horizontal, shade=200):
    pixels = np.full((40, 40), 60, np.uint8)
    pixels[::8] = pixels[1::8] = pixels[2::8] = pixels[3::8] = shade
    return Image.fromarray(pixels if horizontal else pixels.T)


def test_descriptors_have_one_width_for_every_image(tmp_path):
    Image.new("RGB", (500, 20), "red").save(tmp_path / "a.png")
    found = Descriptors().transform([tmp_path / "a.png", Image.new("L", (3, 90)), stripes(True)])
    assert found.shape == (3, 5 * 5 * 2 * 2 * 9 + 8**3)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_gradients_tell_directions_and_the_histogram_tells_colours():
    lying, standing, red, blue = Descriptors().transform(
        [stripes(True), stripes(False), Image.new("RGB", (9, 9), "red"), Image.new("RGB", (9, 9), "blue")]
    )
    assert lying[900:] == pytest.approx(standing[900:])
    assert np.abs(lying[:900] - standing[:900]).max() > 0.1
    assert red[:900] == pytest.approx(blue[:900])
    assert (red[900:] ** 2).sum() == pytest.approx(1)
    assert np.flatnonzero(red[900:]) != np.flatnonzero(blue[900:])


def test_scaling_is_of_the_training_rows_and_tames_constant_columns():
    raw = np.array([[0.0, 1.0], [2.0, 1.0]], np.float32)
    scale = Descriptors().scaling(raw)
    assert scale(raw) == pytest.approx(np.array([[-1, 0], [1, 0]]), abs=1e-2)
    assert np.isfinite(Descriptors().scaling(raw[:1])(raw)).all()


def test_a_broken_file_is_an_error_that_names_it(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="broken.png"):
        make(Task("classification", "image", ("a",), "accuracy"), 0).fit([tmp_path / "broken.png"], np.array([0]))

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from headstart import TransferClassifier, TransferRegressor, data
from headstart.config import FitConfig
from headstart.errors import DataError, UsageError
from headstart.features import Embedder

SOURCE = "wordllama"

# --- scikit-learn's own checks ----------------------------------------------------------------------

WORDS = (
    ("cat", "dog"), ("king", "tree"), ("water", "fire"), ("car", "song"), ("green", "seven"),
    ("doctor", "ship"), ("bread", "law"), ("mountain", "email"), ("gold", "school"), ("football", "moon"),
)  # fmt: skip
"""Two words a feature, no word twice."""
LEVELS = 8


def texts_of(table: Any) -> list[str]:
    """A text for each row of numbers: of a feature's two words the first is said the oftener the larger it is."""
    shares = np.rint(LEVELS * (np.tanh(np.asarray(table, float) / 2.5) + 1) / 2).astype(int)
    said = [[f"{high} " * n + f"{low} " * (LEVELS - n) for n, (high, low) in zip(row, WORDS * 9)] for row in shares]  # noqa: B905
    return ["".join(parts) for parts in said]


class AcceptsTables:
    """Lets scikit-learn hand over tables of numbers."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.two_d_array, tags.input_tags.one_d_array, tags.input_tags.string = True, False, False
        return tags


class SaysRows(AcceptsTables):
    """Turns every row of numbers into a text first, so that scikit-learn's checks can feed their tables.

    What they ask of a table itself (its shape, its number of features, that it is finite) is
    answered by scikit-learn's own ``validate_data``; all else is the estimator's work.
    """

    def fit(self, X: Any, y: Any) -> Any:
        return super().fit(texts_of(validate_data(self, X)), y)  # type: ignore[misc]

    def transform(self, X: Any) -> Any:
        return super().transform(self.said(X))  # type: ignore[misc]

    def predict(self, X: Any) -> Any:
        return super().predict(self.said(X))  # type: ignore[misc]

    def said(self, X: Any) -> list[str]:
        check_is_fitted(self)
        return texts_of(validate_data(self, X, reset=False))


class TabularClassifier(SaysRows, TransferClassifier):
    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(self.said(X))

    def decision_function(self, X: Any) -> Any:
        return super().decision_function(self.said(X))


class TabularRegressor(SaysRows, TransferRegressor):
    pass


class BareClassifier(AcceptsTables, TransferClassifier):
    pass


class BareRegressor(AcceptsTables, TransferRegressor):
    pass


@parametrize_with_checks([TabularClassifier(source=SOURCE), TabularRegressor(source=SOURCE)])
def test_scikit_learn_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


TABLE = "X is a table of numbers, but inputs are texts or images"
MESSAGE = "asks for a message about features, which inputs do not have"
EXCEPTIONS = {
    **dict.fromkeys(
        (
            "check_classifier_data_not_an_array",
            "check_classifiers_classes",
            "check_classifiers_train",
            "check_decision_proba_consistency",
            "check_dict_unchanged",
            "check_dont_overwrite_parameters",
            "check_dtype_object",
            "check_estimators_dtypes",
            "check_estimators_fit_returns_self",
            "check_estimators_overwrite_params",
            "check_estimators_pickle",
            "check_f_contiguous_array_estimator",
            "check_fit2d_predict1d",
            "check_fit_check_is_fitted",
            "check_fit_idempotent",
            "check_fit_score_takes_y",
            "check_methods_sample_order_invariance",
            "check_methods_subset_invariance",
            "check_n_features_in",
            "check_n_features_in_after_fitting",
            "check_pipeline_consistency",
            "check_positive_only_tag_during_fit",
            "check_readonly_memmap_input",
            "check_regressor_data_not_an_array",
            "check_regressors_int",
            "check_regressors_no_decision_function",
            "check_regressors_train",
            "check_supervised_y_2d",
            "check_transformer_data_not_an_array",
            "check_transformer_general",
        ),
        TABLE,
    ),
    "check_estimators_empty_data_messages": MESSAGE,
    "check_estimators_nan_inf": MESSAGE,
    "check_fit2d_1feature": MESSAGE,
}
"""Checks that the estimators themselves cannot pass; their tabular forms above pass them all."""


@pytest.mark.parametrize("kind", [TransferClassifier, TransferRegressor])
def test_every_other_check_passes_on_the_estimator_itself(kind: type) -> None:
    bare = type(kind.__name__, (AcceptsTables, kind), {})(source=SOURCE)
    results = check_estimator(bare, expected_failed_checks=EXCEPTIONS, on_skip=None)
    passed = {result["check_name"] for result in results if result["status"] == "passed"}
    failed = {result["check_name"] for result in results if result["status"] == "xfail"}
    assert not passed & EXCEPTIONS.keys()
    assert failed <= EXCEPTIONS.keys()
    assert len(passed) > 20


# --- what scikit-learn does not check ---------------------------------------------------------------

COOKING = [
    "the soup needs salt",
    "dough rises overnight",
    "butter burns fast",
    "rice wants more water",
    "bake the cake",
]
FOOTBALL = [
    "the striker scored",
    "our keeper saved it",
    "the referee saw a foul",
    "they won on penalties",
    "a late goal",
]
WEATHER = ["it rains in the north", "the storm brought hail", "clouds hide the sun", "frost at night", "a warm breeze"]
TEXTS = [*COOKING, *FOOTBALL, *WEATHER]
TOPICS = ["cooking"] * 5 + ["football"] * 5 + ["weather"] * 5
UNSEEN = ["salt the rice and the soup", "the goal of the striker", "rain and clouds and a storm"]


def classifier(**settings: Any) -> TransferClassifier:
    return TransferClassifier(source=SOURCE, **settings)


@pytest.fixture(scope="module")
def fitted() -> TransferClassifier:
    return classifier().fit(TEXTS, TOPICS)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ([2, 1], "i"),
        (np.array([-7, 300], np.int16), "i"),
        ([1.0, 2.0], "f"),
        ([False, True], "b"),
        (["no", "yes"], "U"),
        (["1", "1.0"], "U"),
        ([" a", "a"], "U"),
        (pd.Series(["no", "yes"]), None),
        (pd.Categorical(["no", "yes"]), None),
        (np.array(["no", "yes"], object), "O"),
    ],
)
def test_classes_are_the_callers_values(names: Any, kind: str | None) -> None:
    values = [names[0], names[1]]
    y = pd.Series(values * 5) if kind is None else np.array(values * 5, getattr(names, "dtype", None))
    model = classifier().fit(COOKING + FOOTBALL, np.sort(y) if kind else y.sort_values())
    found = model.predict(["our keeper saved the goal"])
    assert model.classes_.tolist() == sorted(values)
    assert found[0] == sorted(values)[1]
    assert found.dtype == model.classes_.dtype == np.asarray(y).dtype


def test_outputs_agree(fitted: TransferClassifier) -> None:
    chances, logits, labels = (
        getattr(fitted, name)(UNSEEN) for name in ("predict_proba", "decision_function", "predict")
    )
    assert labels.tolist() == ["cooking", "football", "weather"]
    assert chances.shape == logits.shape == (3, 3)
    np.testing.assert_allclose(chances.sum(1), 1)
    np.testing.assert_allclose(np.log(chances) - np.log(chances[:, :1]), logits - logits[:, :1], atol=1e-9)
    assert fitted.transform(UNSEEN).shape == (3, fitted.source_.dim)
    assert fitted.score(TEXTS, TOPICS) == 1
    assert fitted.ranking_.chosen == fitted.arm_.source == SOURCE
    assert "source" in fitted._repr_html_()


def test_two_classes_have_one_decision() -> None:
    model = classifier().fit(COOKING + FOOTBALL, [0] * 5 + [1] * 5)
    decisions = model.decision_function(UNSEEN)
    assert decisions.shape == (3,)
    assert model.predict(UNSEEN).tolist() == (decisions > 0).astype(int).tolist()
    np.testing.assert_allclose(model.predict_proba(UNSEEN)[:, 1], 1 / (1 + np.exp(-decisions)))


def test_a_regressor_learns_values() -> None:
    table = np.random.default_rng(0).normal(size=(60, 2))
    texts, values = texts_of(table), 10 + 3 * table[:, 0]
    model = TransferRegressor(source=SOURCE).fit(texts[:40], values[:40])
    assert model.score(texts[40:], values[40:]) > 0.9
    assert not hasattr(model, "classes_")
    same = TransferRegressor(source=SOURCE).fit(texts[:40], [str(value) for value in values[:40]])
    np.testing.assert_array_equal(same.predict(texts[40:]), model.predict(texts[40:]))


def test_every_row_is_trained_on(fitted: TransferClassifier) -> None:
    split = data.split(data.read((TEXTS, TOPICS)), seed=3, test_share=0.0)
    assert split.train.tolist() == list(range(15))
    assert len(split.test) == len(split.validation) == 0
    assert split.how == "No test rows: all 15 labelled rows are train rows."
    assert len(fitted.arm_.validation.ids) == 15
    with pytest.raises(UsageError, match="test_share"):
        FitConfig(test_share=0.0)


def test_the_order_of_rows_does_not_matter(fitted: TransferClassifier) -> None:
    order = np.random.default_rng(1).permutation(15)
    other = classifier().fit([TEXTS[i] for i in order], [TOPICS[i] for i in order])
    np.testing.assert_allclose(other.predict_proba(UNSEEN), fitted.predict_proba(UNSEEN), atol=1e-5)


def test_the_same_seed_gives_the_same_bits(fitted: TransferClassifier) -> None:
    def chances(seed: Any) -> Any:
        return classifier(random_state=seed).fit(TEXTS, TOPICS).predict_proba(UNSEEN)

    np.testing.assert_array_equal(chances(0), fitted.predict_proba(UNSEEN))
    np.testing.assert_array_equal(chances(np.random.RandomState(5)), chances(np.random.RandomState(5)))
    drawn = np.random.RandomState(5)
    state = drawn.get_state()[2]
    chances(drawn)
    assert drawn.get_state()[2] != state
    assert chances(None).shape == (3, 3)


def test_arguments_stay_as_they_are() -> None:
    X, y = list(TEXTS), np.array(TOPICS, object)
    model = classifier(random_state=np.int64(4), budget=60)
    before = model.get_params()
    model.fit(X, y)
    assert all(model.get_params()[name] is value for name, value in before.items())
    assert TEXTS == X
    assert y.tolist() == TOPICS
    assert clone(model).get_params() == before
    assert not hasattr(clone(model), "arm_")


def test_the_environment_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_BUDGET", "no number")
    assert classifier().fit(TEXTS, TOPICS).arm_.seed == 0


def test_scikit_learns_tools() -> None:
    X, y = np.array(TEXTS, object), np.array(TOPICS)
    assert cross_val_score(classifier(), TEXTS, TOPICS, cv=2).mean() > 0.5
    search = GridSearchCV(classifier(), {"source": [SOURCE, "all-minilm-l6-v2"]}, cv=2).fit(X, y)
    assert search.best_estimator_.source == search.best_params_["source"]
    assert set(search.predict(UNSEEN)) <= set(TOPICS)
    lowered = make_pipeline(FunctionTransformer(lambda texts: [text.lower() for text in texts]), classifier())
    assert lowered.fit([text.upper() for text in TEXTS], TOPICS).score(TEXTS, TOPICS) == 1
    votes = VotingClassifier([("a", classifier()), ("b", classifier(random_state=1))], voting="soft").fit(X, y)
    assert votes.predict(UNSEEN).tolist() == ["cooking", "football", "weather"]
    calibrated = CalibratedClassifierCV(classifier(), cv=2).fit(X, y)
    assert calibrated.predict_proba(UNSEEN).shape == (3, 3)


def test_embeddings_feed_other_estimators(fitted: TransferClassifier) -> None:
    head = make_pipeline(classifier(), LogisticRegression()).fit(TEXTS, TOPICS)
    assert head.predict(UNSEEN).tolist() == ["cooking", "football", "weather"]
    frame = clone(fitted).set_output(transform="pandas").fit_transform(TEXTS, TOPICS)
    np.testing.assert_array_equal(frame.to_numpy(), fitted.transform(TEXTS))
    assert frame.columns[0] == "transferclassifier0"


def test_a_pickle_holds_what_was_learned_only(fitted: TransferClassifier) -> None:
    stored = pickle.dumps(fitted)
    again = pickle.loads(stored)
    assert len(stored) < 100_000
    np.testing.assert_array_equal(again.predict_proba(UNSEEN), fitted.predict_proba(UNSEEN))
    again.source_ = replace(again.source_, weights_sha256="0" * 64)
    with pytest.raises(UsageError, match="same version of their package"):
        pickle.loads(pickle.dumps(again)).predict(UNSEEN)


def test_several_threads_may_predict(fitted: TransferClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most, embed = 0, 0, Embedder.embed

    def watched(*arguments: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.005)
        try:
            return embed(*arguments)
        finally:
            inside -= 1

    monkeypatch.setattr(Embedder, "embed", watched)
    texts = [f"{first}, and {second}" for first in TEXTS for second in UNSEEN]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(fitted.predict_proba, [[text] for text in texts]))
    assert most == 1
    np.testing.assert_allclose(np.concatenate(found), fitted.predict_proba(texts), atol=1e-9)


def test_without_a_cache_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    classifier(cache=False).fit(TEXTS, TOPICS).predict(UNSEEN)
    assert not (tmp_path / "cache" / "embeddings").exists()
    classifier().fit(TEXTS, TOPICS)
    assert (tmp_path / "cache" / "embeddings").exists()


# --- images -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Six noisy red squares, then six noisy blue ones, 32 pixels wide."""
    rng = np.random.default_rng(2)
    colours = [(200, 40, 40)] * 6 + [(40, 40, 200)] * 6
    arrays = [np.clip(np.array(colour) + rng.normal(0, 20, (32, 32, 3)), 0, 255) for colour in colours]
    return [Image.fromarray(array.astype(np.uint8)) for array in arrays]


def test_images_as_pictures_paths_and_pixels(pictures: list[Image.Image], tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    model = TransferClassifier(source="efficientnet-lite0").fit(pictures, [0] * 6 + [1] * 6)
    expected = model.predict_proba(pictures)
    assert model.predict(pictures).tolist() == [0] * 6 + [1] * 6
    assert model.source_.input.size < 224
    for same in (paths, [str(path) for path in paths], np.stack([np.asarray(picture) for picture in pictures])):
        np.testing.assert_array_equal(model.predict_proba(same), expected)
    with pytest.raises(DataError, match=r"1 of 2 examples.*absent.png: file does not exist"):
        model.predict([paths[0], tmp_path / "absent.png"])


def test_a_source_for_the_other_modality_is_refused(pictures: list[Image.Image]) -> None:
    with pytest.raises(UsageError, match="is for texts, the data are images"):
        classifier().fit(pictures, [0] * 6 + [1] * 6)


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([], [], "too few labels"),
        (["one"], ["a"], "n_samples = 1"),
        (TEXTS, None, "requires y to be passed"),
        (TEXTS, TOPICS[:-1], "X has 15 examples but y has 14 labels"),
        (TEXTS, ["same"] * 15, "one class, 'same'"),
        (TEXTS, [1, "1"] * 7 + [1], "mixes texts with numbers"),
        (TEXTS, np.array([1, "1"] * 7 + [1], object), "mixes texts with numbers"),
        (TEXTS, np.array([1, b"1"] * 7 + [1], object), "labels of several kinds"),
        (TEXTS, csr_array((15, 1)), "headstart.fit"),
        (TEXTS, [*TOPICS[:2], None, *TOPICS[3:]], "NaN or empty labels: 'row 3'"),
        (TEXTS, [*TOPICS[:2], float("nan"), *TOPICS[3:]], "NaN or empty labels: 'row 3'"),
        (TEXTS, pd.Series([1, 2, None] * 5, dtype="Int64"), "NaN or empty labels: 'row 3', 'row 6'"),
        (TEXTS, [1.0, float("inf")] * 7 + [1.0], "infinity"),
        (TEXTS, np.linspace(0, 1, 15), "continuous.*TransferRegressor"),
        (TEXTS, np.zeros((15, 2), int), r"\(15, 2\).*headstart.fit"),
        (TEXTS, "cooking", "headstart.fit"),
        (np.zeros((15, 4)), TOPICS, "row 1 of X holds numbers; each example is one text, image path"),
        (np.zeros((15, 4)).tolist(), TOPICS, "row 1 of X holds numbers"),
        (np.zeros(15), TOPICS, "row 1 of X holds float"),
        (pd.DataFrame(np.zeros((15, 4))), TOPICS, "X is a frame of 4 columns"),
        (csr_array((15, 4)), TOPICS, "sparse"),
        ("one text", TOPICS, "X is a str"),
        ([*TEXTS[:2], " ", *TEXTS[3:]], TOPICS, "row 3: empty text"),
        ([*TEXTS[:2], None, *TEXTS[3:]], TOPICS, "row 3: empty text"),
    ],
)
def test_data_that_cannot_be_used(X: Any, y: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        classifier().fit(X, y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (TOPICS, "numbers.*cooking.*TransferClassifier"),
        ([1 + 2j] * 15, "Complex data not supported. Give one"),
        (np.array(["2020-01-01"] * 15, "datetime64[D]"), "numbers"),
        ([3] * 15, "nothing to learn"),
        ([1, float("nan")] * 7 + [1], "NaN"),
        ([1, float("inf")] * 7 + [1], "infinity"),
    ],
)
def test_values_that_cannot_be_used(y: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TransferRegressor(source=SOURCE).fit(TEXTS, y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "wordlama"}, "did you mean 'wordllama'"),
        ({"method": "prob"}, "did you mean 'probe'"),
        ({"modality": "texts"}, "did you mean 'text'"),
        ({"budget": -1}, "budget"),
        ({"random_state": -1}, "seed"),
        ({"random_state": "x"}, "seed"),
    ],
)
def test_arguments_that_are_wrong_are_refused_by_fit(settings: dict[str, Any], message: str) -> None:
    model = TransferClassifier(**{"source": SOURCE, **settings})
    with pytest.raises(UsageError, match=message):
        model.fit(TEXTS, TOPICS)
    assert not hasattr(model, "arm_")


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "transform"])
def test_nothing_is_predicted_before_fit(method: str) -> None:
    with pytest.raises(NotFittedError):
        getattr(classifier(), method)(UNSEEN)


@pytest.mark.parametrize("X", [[], np.zeros((3, 2)), ["fine", ""], "one text"])
def test_inputs_that_cannot_be_predicted(X: Any, fitted: TransferClassifier) -> None:
    with pytest.raises(DataError, match="X is|row"):
        fitted.predict(X)


def test_a_failed_fit_keeps_the_last_one() -> None:
    model = classifier().fit(TEXTS, TOPICS)
    before = model.predict_proba(UNSEEN)
    with pytest.raises(DataError):
        model.fit(TEXTS, TOPICS[:-1])
    np.testing.assert_array_equal(model.predict_proba(UNSEEN), before)

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge

from headstart.classical import FeatureBaseline, compact, dealt_folds, fit_linear, prior_logits
from headstart.types import Task

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(80, 12))
CLASSES = np.argmax(FEATURES[:, :3] + RNG.normal(size=(80, 3)), axis=1)
LABELS = FEATURES[:, :4] + RNG.normal(size=(80, 4)) > 0.5
VALUES = FEATURES[:, 0] * 3 + RNG.normal(size=80) + 40


class Plain:
    """Inputs that are features already."""

    def fit(self, inputs):
        return np.asarray(inputs)

    transform = fit

    def scaling(self, raw):
        return lambda rows: rows


def baseline(problem, outputs=3, strengths=(0.01, 1.0)):
    labels = tuple(f"c{i}" for i in range(outputs)) if problem != "regression" else ()
    return FeatureBaseline(Task(problem, "text", labels, "accuracy"), 0, Plain(), "plain", "numbers", strengths)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
def test_softmax_fit_matches_scikit_learn(kind, strength):
    theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=5000).fit(FEATURES, CLASSES)
    found = fit_linear(kind(FEATURES), np.eye(3)[CLASSES], strength, "classification", tolerance=1e-8)
    assert found[:-1] == pytest.approx(theirs.coef_.T, abs=1e-4)
    assert found[-1] - found[-1].mean() == pytest.approx(theirs.intercept_ - theirs.intercept_.mean(), abs=1e-4)


def test_sigmoid_fit_is_one_binary_fit_a_label():
    found = fit_linear(FEATURES, LABELS.astype(float), 2.0, "multilabel", tolerance=1e-8)
    for label in range(4):
        theirs = LogisticRegression(C=2.0, tol=1e-10, max_iter=5000).fit(FEATURES, LABELS[:, label])
        assert found[:, label] == pytest.approx(np.append(theirs.coef_, theirs.intercept_), abs=1e-4)


def test_identity_fit_is_ridge():
    theirs = Ridge(alpha=1 / 0.3).fit(FEATURES, VALUES)
    found = fit_linear(FEATURES, VALUES[:, None], 0.3, "regression", tolerance=1e-9)[:, 0]
    assert found == pytest.approx(np.append(theirs.coef_, theirs.intercept_), abs=1e-4)


def test_a_start_changes_the_way_and_not_the_end():
    responses = np.eye(3)[CLASSES]
    cold = fit_linear(FEATURES, responses, 10.0, "classification", tolerance=1e-8)
    near = fit_linear(FEATURES, responses, 1.0, "classification")
    assert fit_linear(FEATURES, responses, 10.0, "classification", near, 1e-8) == pytest.approx(cold, abs=1e-4)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_few_rows_of_many_columns_give_the_same_model_in_fewer(kind):
    wide = np.where(RNG.random((40, 400)) < 0.1, RNG.random((40, 400)), 0.0)
    wide[7] = wide[3]  # rows of equal features, and empty ones, span nothing of their own
    wide[9] = 0
    responses = np.eye(3)[CLASSES[:40]]
    small, widened = compact(kind(wide))
    assert small.shape == (40, 38)
    found = widened(fit_linear(small, responses, 5.0, "classification", tolerance=1e-9))
    assert found == pytest.approx(fit_linear(kind(wide), responses, 5.0, "classification", tolerance=1e-9), abs=1e-6)
    assert compact(FEATURES)[0] is FEATURES


def test_separable_classes_keep_the_fit_finite():
    found = fit_linear(FEATURES * 100, np.eye(2)[(FEATURES[:, 0] > 0).astype(int)], 1e6, "classification")
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("problem", "targets"), [("classification", CLASSES), ("multilabel", LABELS), ("regression", VALUES)]
)
def test_out_of_fold_logits_have_not_seen_their_fold(problem, targets):
    folds, outputs = np.arange(80) % 4, {"classification": 3, "multilabel": 4, "regression": 1}[problem]
    made = baseline(problem, outputs, (1.0,)).fit(FEATURES, targets, folds)
    assert sorted(made.held_out) == list(range(80))
    spoiled = targets.copy()
    spoiled[folds == 2] = spoiled[folds == 2][::-1]
    again = baseline(problem, outputs, (1.0,)).fit(FEATURES, spoiled, folds)
    row = (folds == 2)[made.held_out]
    first, second = made.out_of_fold[row] * made.temperature, again.out_of_fold[row] * again.temperature
    assert first == pytest.approx(second, abs=1e-9)
    assert made.logits(FEATURES) != pytest.approx(again.logits(FEATURES), abs=1e-3)


def test_the_penalty_is_chosen_by_held_out_loss():
    noise = np.random.default_rng(1).integers(0, 2, 80)
    assert baseline("classification", 2, (1e-6, 1e3)).fit(FEATURES, noise).strength == 1e-6
    assert baseline("regression", 1, (1e-6, 1.0)).fit(FEATURES, VALUES).strength == 1.0


def test_a_class_missing_from_the_training_rows_gets_the_odds_of_half_an_example():
    made = baseline("classification", 5, (1.0,)).fit(FEATURES, CLASSES)
    raw = made.logits(FEATURES) * made.temperature
    assert raw[:, 3:] == pytest.approx(np.log(0.5 / 80))
    assert np.exp(raw[:, :3]).sum(axis=1) == pytest.approx(1)


def test_a_class_missing_from_one_fold_keeps_finite_logits():
    targets = np.append(np.zeros(40, int), [1] * 39 + [2])
    made = baseline("classification").fit(FEATURES, targets, np.arange(80) % 5)
    assert np.isfinite(made.out_of_fold).all()
    assert made.out_of_fold[made.held_out == 79][0, 2] == pytest.approx(np.log(0.5 / 64) / made.temperature)


def test_one_class_only():
    made = baseline("classification", 1).fit(FEATURES, np.zeros(80, int))
    assert made.logits(FEATURES) == pytest.approx(np.zeros((80, 1)))


def test_one_row_has_nothing_to_hold_out():
    made = baseline("classification", 2, (1.0, 2.0, 3.0)).fit(FEATURES[:1], np.array([1]), np.zeros(1, int))
    assert (made.strength, made.temperature, len(made.held_out)) == (2.0, 1.0, 0)
    assert made.logits(FEATURES).argmax(axis=1).tolist() == [1] * 80


def test_large_problems_hold_out_one_fold(monkeypatch):
    monkeypatch.setattr("headstart.classical.AFFORDABLE", 10)
    made = baseline("classification").fit(FEATURES, CLASSES, np.arange(80) % 4)
    assert made.held_out.tolist() == list(range(0, 80, 4))
    monkeypatch.setattr("headstart.classical.LARGE", 20)
    assert baseline("classification").fit(FEATURES, CLASSES).strength == 0.01


def test_arguments_are_left_alone():
    features, targets = FEATURES.copy(), VALUES.copy()
    baseline("regression").fit(features, targets)
    assert (features == FEATURES).all()
    assert (targets == VALUES).all()


def test_dealt_folds_are_stratified_and_decided_by_the_seed():
    targets = np.repeat([0, 1], [50, 10])
    folds = dealt_folds(targets, 3)
    assert np.bincount(folds[targets == 1]).tolist() == [2] * 5
    assert (folds == dealt_folds(targets, 3)).all()
    assert (folds != dealt_folds(targets, 4)).any()
    assert np.bincount(dealt_folds(LABELS, 0)).tolist() == [16] * 5


def test_prior_logits_are_the_log_frequencies():
    labels = ("a", "b", "c")
    found = prior_logits(Task("classification", "text", labels, ""), np.array([0, 0, 0, 1]))
    assert np.exp(found) == pytest.approx([0.75, 0.25, 0.125])
    many = prior_logits(Task("multilabel", "text", labels[:2], ""), np.array([[True, False]] * 3 + [[False, False]]))
    assert many == pytest.approx([np.log(3.5 / 1.5), np.log(0.5 / 4.5)])
    assert prior_logits(Task("regression", "text", (), ""), np.array([1.0, 2.0])) == pytest.approx([1.5])

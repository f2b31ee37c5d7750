from collections import Counter

from TumorRetrievalLib.cohort.labels import TYPES
from TumorRetrievalLib.synthesis.cohort import bundled_cohort


def test_the_cohort_has_the_composition_of_the_papers_table_and_250_gliomas():
    scans, tumors = Counter(), Counter()
    for recipe in bundled_cohort():
        scans[recipe.tumor_type] += 1
        tumors[recipe.tumor_type] += recipe.lesion_count

    assert scans == {"metastasis": 399, "meningioma": 339, "schwannoma": 251, "glioma": 250}
    assert tumors == {"metastasis": 1636, "meningioma": 414, "schwannoma": 258, "glioma": 250}


def test_the_cohort_is_always_the_same():
    assert bundled_cohort() == bundled_cohort()


def test_every_case_has_an_id_and_a_seed_of_its_own_that_no_training_patient_has():
    recipes = bundled_cohort()

    assert len({recipe.case_id for recipe in recipes}) == len(recipes)
    assert len({recipe.seed for recipe in recipes}) == len(recipes)
    assert all(100_000 <= recipe.seed < 1_000_000 for recipe in recipes)


def test_every_case_has_a_known_type_and_a_plausible_number_of_tumors():
    for recipe in bundled_cohort():
        assert recipe.tumor_type in TYPES
        assert 1 <= recipe.lesion_count <= (20 if recipe.tumor_type == "metastasis" else 5)


def test_most_metastases_come_in_numbers_and_nearly_all_schwannomas_alone():
    counts = {t: [r.lesion_count for r in bundled_cohort() if r.tumor_type == t] for t in ("metastasis", "schwannoma")}

    assert sum(n > 1 for n in counts["metastasis"]) > 200
    assert sum(n == 1 for n in counts["schwannoma"]) >= 240

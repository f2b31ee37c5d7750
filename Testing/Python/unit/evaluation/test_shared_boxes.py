"""Tumors that share a box: the command's table on drawn patients."""

import json

from TumorRetrievalLib.evaluation.shared_boxes import KINDS, evaluate_shared_boxes


def test_single_tumors_and_several_have_rows_of_their_own(tmp_path):
    result = evaluate_shared_boxes(2, first=2, json_path=tmp_path / "table.json")

    assert json.loads((tmp_path / "table.json").read_text()) == result
    assert [kind for kind, _ in (KINDS[2], KINDS[3])] == ["glioma", "metastasis"]
    assert list(result["table"]) == [
        "one tumor, T1c", "one tumor, T1c and FLAIR", "several tumors, T1c", "several tumors, T1c and FLAIR",
    ]  # fmt: skip
    one, several = (result["table"][f"{kind}, T1c and FLAIR"] for kind in ("one tumor", "several tumors"))
    assert one["divided"] == 0 and one["as drawn"] == one["each by itself"] > 0.6
    assert several["divided"] == 1 and several["each by itself"] > several["as drawn"] + 0.1
    assert one["boxes"] == several["boxes"] == 1

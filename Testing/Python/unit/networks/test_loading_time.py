"""What a search waits for before it starts."""

import subprocess
import sys


def test_reading_a_model_does_not_load_monai_which_takes_seconds():
    code = "import sys; from TumorRetrievalLib.networks import default, weights; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert "torch" in loaded and not [name for name in loaded if name.split(".")[0] == "monai"]

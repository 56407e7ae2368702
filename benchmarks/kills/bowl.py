"""A training script whose values depend on hyperparameters and epoch alone; it resumes from a checkpoint if it has one.

SECONDS is how long it takes, EPOCHS the number of its epochs. Only the first host prints values.
"""

import json
import os
import time
from pathlib import Path

given = json.loads(os.environ["SM_HPS"])
epochs = int(os.environ["EPOCHS"])
checkpoint = Path(os.environ["SAGEMAKER_BASE_DIR"], "checkpoints", f"{os.environ['SM_CURRENT_HOST']}.txt")
begin = int(checkpoint.read_text()) + 1 if checkpoint.is_file() else 0
for epoch in range(begin, epochs):
    time.sleep(float(os.environ["SECONDS"]) / epochs)
    value = (given["x"] - 0.3) ** 2 + given["n"] / (epoch + 1)
    print(
        f"epoch {epoch} loss={value!r}" if os.environ["SM_CURRENT_HOST"] == "algo-1" else f"epoch {epoch}", flush=True
    )
    if checkpoint.parent.is_dir():
        draft = checkpoint.with_suffix(".part")
        draft.write_text(str(epoch))
        draft.replace(checkpoint)
Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(json.dumps(given))

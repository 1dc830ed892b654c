"""A model of transformers as a graph of OpenVINO."""

import os
import warnings
from pathlib import Path
from typing import Any

from db.errors import RegistryError, one_line
from worker.builds import Unbuildable
from worker.engines.torch_model import LOGITS_ALONE
from worker.openvino_runtime import openvino


def converted(folder: Path) -> Any:
    """Return the merged model in `folder` as an `openvino.Model`, for any rows and any length.

    Its inputs are `input_ids` and `attention_mask`, int64 [rows, tokens]; its output is float32
    [rows, labels]. Raises `Unbuildable` for an architecture that cannot be converted, another
    `RegistryError` for files that cannot be read.
    """
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            **LOGITS_ALONE,
        ).eval()
        # No dimension of the example may be 1, which a trace could take for a constant.
        example = {
            name: torch.ones(2, 8, dtype=torch.long) for name in ("input_ids", "attention_mask")
        }
        # With padding: a mask that hides nothing may be left out of what is traced.
        example["attention_mask"][1, 5:] = 0
        with torch.no_grad(), warnings.catch_warnings():
            # The tracer warns of every shape that it turns into a number; what comes of it is
            # checked on texts of all lengths.
            warnings.simplefilter("ignore")
            found = openvino().convert_model(model, example_input=example)
    except OSError as error:
        # No fault of the architecture: it may be converted when its files can be read.
        raise RegistryError(
            f"the model in {folder} cannot be read: {error.strerror or one_line(error)}"
        ) from None
    except Exception as error:  # noqa: BLE001  (tracer and frontend raise what they like)
        raise Unbuildable(
            f"the model in {folder} cannot be converted to OpenVINO ({type(error).__name__})"
        ) from None
    if {parameter.any_name for parameter in found.inputs} != set(example):
        raise Unbuildable(f"the model in {folder} needs more than ids and a mask")
    return found

"""The constant engine behind a version's own tokenizer: the cost of everything but the arithmetic."""

from pathlib import Path

from worker.encoder import TokenizerEncoder
from worker.engines.constant import ConstantEngine


class ConstantTokenisedEngine(ConstantEngine):
    """Says what the constant engine says, of rows that were tokenised as for the model.

    `folder` holds the merged model, of which only the tokenizer is read. Equal rows are computed
    once, as for every engine that computes with a model.
    """

    name = "constant-tokenised"

    def __init__(self, labels: int, folder: Path, max_length: int) -> None:
        super().__init__(labels)
        self.encoder = encoder = TokenizerEncoder(folder, max_length)
        self.padding_id = encoder.padding_id

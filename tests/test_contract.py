"""A second class of models, a recurrent one, goes through all that a run is."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import RNG, TEXT, iterate, metrics, weights

import nn
import tinygpt
from autograd import Tensor, stack, tanh
from nn.config import option, require
from nn.functional import IGNORE_INDEX, linear_cross_entropy
from nn.run.contract import Architecture, LanguageModel
from nn.run.directory import RunRequest, load_folder, open_run
from nn.run.evaluation import mean_loss
from nn.run.team import Team
from nn.run.training import TrainConfig, Training
from nn.sampling import generate


@dataclass
class RecurrentConfig:
    """The shape of a Recurrent."""

    vocab_size: int
    block_size: int = option(8, "the longest context, in tokens")
    width: int = option(12, "channels of the state")

    def __post_init__(self):
        require(self, "vocab_size block_size width", 1)


class Recurrent(nn.Module):
    """h = tanh(x + h W): integers (..., T) to logits (..., T, V). Elman, Cognitive Science 1990."""

    def __init__(self, config: RecurrentConfig, rng: np.random.Generator | None):
        self.config = config
        self.table = nn.Embedding(config.vocab_size, config.width, rng)
        self.layers = [nn.Linear(config.width, config.width, rng)]  # not called blocks
        self.dropout = nn.Dropout(0.1, rng)

    def _hidden(self, ids: Any) -> Tensor:
        x = self.dropout(self.table(ids))  # (..., T, C)
        state, states = Tensor(np.zeros(x[..., 0, :].shape, np.float32)), []
        for t in range(x.shape[-2]):
            state = tanh(x[..., t, :] + self.layers[0](state))
            states.append(state)
        return stack(states, axis=-2)

    def __call__(self, ids: Any) -> Tensor:
        return self._hidden(np.asarray(ids)) @ self.table.weight.T

    def loss(self, ids: Any, targets: Any, ignore_index: int = IGNORE_INDEX) -> Tensor:
        return linear_cross_entropy(self._hidden(ids), self.table.weight, targets, ignore_index)

    def matrices(self) -> list[Tensor]:
        return [self.layers[0].weight]


RECURRENT = Architecture(Recurrent, RecurrentConfig)
MODEL: type[LanguageModel] = Recurrent  # for mypy: it has what is asked for
OPTIONS = dict(
    batch_size=4,
    max_iters=9,
    eval_interval=4,
    eval_iters=2,
    save_seconds=0,
    warmup_iters=0,
    learning_rate=0.03,
)


pytestmark = pytest.mark.usefixtures("short_reports", "no_wait_for_the_disk")


class Killed(BaseException):
    """No code can catch it, as if the process had been killed."""


def run(directory, text=None, resume=False, **model):
    """Train a recurrent model; returns what is said at the end."""
    files = [str(text)] if text else []
    request = RunRequest(directory, files, resume, model, {} if resume else OPTIONS)
    with open_run(request, RECURRENT, Team()) as opened:
        assert "parameters" in opened.plan(1)
        tinygpt.train(opened.training, opened.next_batch, opened)
        return opened.report()


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


def test_a_second_model_is_trained_saved_opened_and_generated_from(tmp_path, text):
    report = run(tmp_path / "run", text, width=16)
    assert "Finished after 9 iterations" in report and "bits per byte" in report
    losses = [m["loss"] for m in metrics(tmp_path / "run")]
    assert losses[-1] < losses[0]
    model, tokenizer = load_folder(tmp_path / "run", RECURRENT)
    assert type(model) is Recurrent and model.config.width == 16
    tokens = np.array(tokenizer.encode(TEXT))
    assert mean_loss(model, tokens) < np.log(tokenizer.vocab_size)
    prompts = [tokenizer.encode("To be"), tokenizer.encode("not")]
    both = generate(model, prompts, 20, temperature=0)  # of different lengths, beyond the context
    for prompt, row in zip(prompts, both, strict=True):
        assert row.tolist() == generate(model, prompt, 20, temperature=0).tolist()
        assert row.tolist() == tinygpt.generate(model, prompt, 20, tinygpt.Sampling(0), RNG(0))


def test_killed_at_any_iteration_and_resumed_it_is_the_same(tmp_path, text, monkeypatch):
    run(tmp_path / "whole", text)
    step = Training.step
    for stop in range(0, 9, 2):

        def killed(training, stop=stop):
            if training.iteration == stop:
                raise Killed
            step(training)

        monkeypatch.setattr(Training, "step", killed)
        with pytest.raises(Killed):
            again = (tmp_path / "run" / "state.safetensors").exists()
            run(tmp_path / "run", None if again else text, resume=again)
    monkeypatch.undo()
    run(tmp_path / "run", resume=True)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert weights(tmp_path / "run", "state") == weights(tmp_path / "whole", "state")


def test_a_folder_of_another_model_is_refused(tmp_path, text):
    run(tmp_path / "run", text)
    other = Path(shutil.copytree(tmp_path / "run", tmp_path / "other"))
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        tinygpt.load(other)
    gpt, tokenizer = tinygpt.TinyGPT(tinygpt.GPTConfig(22), None), load_folder(other, RECURRENT)[1]
    tinygpt.save(other, gpt, tokenizer)
    with pytest.raises(ValueError, match=r"other cannot be opened: .*block_size|n_layer"):
        load_folder(other, RECURRENT)


def test_muon_moves_what_the_model_names(tmp_path):
    training = Training(Recurrent(RecurrentConfig(11), RNG(0)), TrainConfig())
    model = training.model
    assert [id(p) for p in training.muon.parameters] == [id(model.layers[0].weight)]
    before = {name: array.copy() for name, array in model.state_dict().items()}
    iterate(training, lambda rng: tinygpt.random_batch(np.arange(99) % 11, 8, 5, rng))
    assert all((array != before[name]).any() for name, array in model.state_dict().items())
    with pytest.raises(ValueError, match="this model cannot compute its blocks again"):
        Training(model, TrainConfig(activation_checkpointing=True))

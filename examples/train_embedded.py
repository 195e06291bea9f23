"""Train the embedded model from nothing on the CIFAR-10 container, as its shipped weights were trained.

    python -m examples.train_embedded --data ../shared/data --out out/train --threads 2

Writes ``checkpoint.safetensors`` after each epoch and ``weights.safetensors``, the averaged weights, at the end.
Started again with the same options, it goes on after the last finished epoch and ends with the same weights as an
uninterrupted run.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from torch.nn import functional

from edgevit.data import from_npz
from edgevit.embedded import CLASSES, MEAN, PREPROCESS, STD
from edgevit.embedded.model import SmallViT, saved_state
from edgevit.errors import EdgevitError, UsageError
from examples.augmentation import augment, punch_hole


@dataclass(frozen=True)
class Recipe:
    """What decides the outcome of a run besides its pictures; rates are per step, shares are in [0, 1]."""

    epochs: int = 28
    batch: int = 256
    learning_rate: float = 2e-3
    warmup_steps: int = 400
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.99)
    label_smoothing: float = 0.05
    max_gradient_norm: float = 1.0
    hole_edge: int = 12
    hole_share: float = 0.5
    mixup_beta: float = 0.2
    mixup_share: float = 0.5
    mixup_until: float = 0.85
    drop_path: float = 0.03
    average_decay: float = 0.999
    seed: int = 0


class Training:
    """A run: the model, its moving average, the optimizer, and the number of finished ``epochs``."""

    def __init__(self, recipe: Recipe, images: Tensor, labels: Tensor) -> None:
        """``images`` uint8 (N, 3, 32, 32) and ``labels`` int64 (N,), both on the device to train on."""
        if len(images) < recipe.batch:
            hint = "give a smaller --batch"
            raise UsageError(f"{len(images)} images do not fill a batch of {recipe.batch}", where="training", hint=hint)
        self.recipe, self.images, self.labels = recipe, images, labels
        self.model = initial_model(recipe.seed).to(images.device)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.optimizer = make_optimizer(self.model, recipe)
        self.epochs = 0
        self.generator = Generator(images.device)
        attach_drop_path(self.model, recipe.drop_path, self.generator)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass; the pictures of an incomplete one wait for another epoch's order."""
        return len(self.images) // self.recipe.batch

    def epoch(self) -> Iterator[float]:
        """One pass over the pictures; yields the loss of each step.

        Random numbers depend on seed and epoch only, so that a checkpoint needs no generator state.
        """
        seed = self.recipe.seed * 1_000_003 + self.epochs
        self.generator.manual_seed(seed)
        mixing = random.Random(seed)
        order = torch.randperm(len(self.images), generator=self.generator, device=self.images.device)
        for position in range(self.steps_per_epoch):
            chosen = order[position * self.recipe.batch : (position + 1) * self.recipe.batch]
            yield self._step(self.epochs * self.steps_per_epoch + position, chosen, mixing)
        self.epochs += 1

    def _step(self, number: int, chosen: Tensor, mixing: random.Random) -> float:
        """Step ``number`` of the run on the pictures ``chosen``; returns its loss."""
        recipe = self.recipe
        total = recipe.epochs * self.steps_per_epoch
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(number, total, recipe)
        pictures = normalize(augment(self.images[chosen] / 255, self.generator))
        pictures = punch_hole(pictures, recipe.hole_edge, recipe.hole_share, self.generator)
        labels = self.labels[chosen]
        other, weight = labels, 1.0
        if number < recipe.mixup_until * total and mixing.random() < recipe.mixup_share:
            weight, other = mixing.betavariate(recipe.mixup_beta, recipe.mixup_beta), labels.flip(0)
            pictures = weight * pictures + (1 - weight) * pictures.flip(0)
        logits = mixed_precision(self.model.train(), pictures)
        smoothing = recipe.label_smoothing
        loss = weight * functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        loss = loss + (1 - weight) * functional.cross_entropy(logits, other, label_smoothing=smoothing)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), recipe.max_gradient_norm)
        self.optimizer.step()
        # A young average forgets faster, or it would keep the random initial weights through a short run.
        update_average(self.average, self.model, min(recipe.average_decay, (1 + number) / (10 + number)))
        return float(loss.detach())


def initial_model(seed: int) -> SmallViT:
    """The untrained model: torch's own initialization, token and positions normal with deviation 0.02."""
    torch.manual_seed(seed)
    model = SmallViT(classes=len(CLASSES))
    nn.init.trunc_normal_(model.cls_token, std=0.02)
    nn.init.trunc_normal_(model.pos_embed, std=0.02)
    return model


def make_optimizer(model: SmallViT, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays weights of linear layers and convolutions; no bias, norm, class token or position embedding."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim >= 2 and name not in {"cls_token", "pos_embed"}
        (decayed if is_matrix else free).append(parameter)
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas)


def attach_drop_path(model: SmallViT, highest: float, generator: Generator) -> None:
    """Stochastic depth: in training, drop each branch of block b for whole samples, at a rate rising from 0 to
    ``highest``.
    """

    def hook_for(rate: float) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def hook(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if not module.training:
                return output
            draw = torch.rand(len(output), 1, 1, generator=generator, device=output.device)
            return output * (draw >= rate).to(output.dtype) / (1 - rate)

        return hook

    last = len(model.blocks) - 1
    for index, block in enumerate(model.blocks):
        for branch in ("attn", "mlp"):
            block.get_submodule(branch).register_forward_hook(hook_for(highest * index / last))


def learning_rate(step: int, total: int, recipe: Recipe) -> float:
    """Linear from 0 over the first ``warmup_steps``, then a half cosine down to 0 at step ``total``."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(1, total - recipe.warmup_steps)
    return recipe.learning_rate * (1 + math.cos(math.pi * progress)) / 2


def normalize(pictures: Tensor) -> Tensor:
    """Pictures (S, 3, H, W) in [0, 1] as the model wants them."""
    mean, std = (torch.tensor(values, device=pictures.device).view(3, 1, 1) for values in (MEAN, STD))
    return (pictures - mean) / std


def mixed_precision(model: SmallViT, pictures: Tensor) -> Tensor:
    """Float32 logits; the stem runs in float32, the rest in bfloat16 where autocast allows."""
    patches = model.patch_embed(pictures)
    with torch.autocast(pictures.device.type, dtype=torch.bfloat16):
        logits = model.classify(patches)
    return logits.float()


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the averaged parameters, and the running statistics of batch normalization, towards the model's."""
    current = saved_state(model)
    for name, tensor in saved_state(average).items():
        tensor.lerp_(current[name], 1 - decay)


@torch.inference_mode()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of uint8 ``images`` whose largest logit, computed in float32, is that of its label."""
    right = 0
    for start in range(0, len(images), 500):
        logits = model(normalize(images[start : start + 500] / 255))
        right += int((logits.argmax(1) == labels[start : start + 500]).sum())
    return right / len(images)


def load_pictures(path: Path, device: torch.device) -> tuple[Tensor, Tensor]:
    """All pictures of a container as uint8 (N, 3, 32, 32), and their labels int64 (N,)."""
    pictures = from_npz(path, size=PREPROCESS.size)
    batches = [(batch.images, batch.labels) for batch in pictures.batches(1000)]
    labels = [torch.from_numpy(labels) for _, labels in batches if labels is not None]
    if not labels:
        raise UsageError("has no labels", where=str(path), hint="training needs one per picture")
    images = torch.cat([torch.from_numpy(images).permute(0, 3, 1, 2) for images, _ in batches])
    return images.contiguous().to(device), torch.cat(labels).to(device)


def save_checkpoint(training: Training, path: Path) -> None:
    """Write everything that the rest of the run depends on."""
    tensors = {f"model.{name}": tensor for name, tensor in saved_state(training.model).items()}
    tensors |= {f"average.{name}": tensor for name, tensor in saved_state(training.average).items()}
    for name, parameter in training.model.named_parameters():
        for moment in ("exp_avg", "exp_avg_sq"):
            tensors[f"{moment}.{name}"] = training.optimizer.state[parameter][moment]
    save(tensors, path, {"epochs": str(training.epochs), "recipe": json.dumps(asdict(training.recipe))})


def load_checkpoint(training: Training, path: Path) -> None:
    """Put ``training`` where the checkpoint left off; raises :class:`UsageError` if it is of another recipe."""
    try:
        with safe_open(path, "pt", device=str(training.images.device)) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.offset_keys()}
    except SafetensorError as error:
        raise UsageError(f"is damaged ({error})", where=str(path), hint="remove it to start anew") from error
    if metadata.get("recipe") != json.dumps(asdict(training.recipe)):
        raise UsageError("belongs to a run with other options", where=str(path), hint="use them, or another --out")
    training.epochs = int(metadata["epochs"])
    training.model.load_state_dict(part(tensors, "model"), strict=False)
    training.average.load_state_dict(part(tensors, "average"), strict=False)
    step = torch.tensor(float(training.epochs * training.steps_per_epoch))
    for name, parameter in training.model.named_parameters():
        moments = {moment: tensors[f"{moment}.{name}"] for moment in ("exp_avg", "exp_avg_sq")}
        training.optimizer.state[parameter] = {"step": step.clone(), **moments}


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below ``prefix``, without it."""
    return {
        name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")
    }


def save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file under another name and rename it: a crash leaves the old one whole."""
    temporary = path.with_name(f".{path.name}.part")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary, metadata)
    os.replace(temporary, path)


def train(training: Training, out: Path) -> None:
    """Run the epochs that are left, with a progress bar and a checkpoint after each; then write
    ``weights.safetensors``.
    """
    checkpoint = out / "checkpoint.safetensors"
    if checkpoint.exists():
        load_checkpoint(training, checkpoint)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns) as progress:
        steps = training.steps_per_epoch
        task = progress.add_task("", total=training.recipe.epochs * steps, completed=training.epochs * steps)
        while training.epochs < training.recipe.epochs:
            for loss in training.epoch():
                progress.update(task, advance=1, description=f"epoch {training.epochs + 1} loss {loss:.3f}")
            save_checkpoint(training, checkpoint)
    save(saved_state(training.average), out / "weights.safetensors")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, train, and print the float accuracy on the test pictures."""
    recipe = Recipe()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of cifar10-{train,test}.npz")
    parser.add_argument("--out", type=Path, default=Path("out/train"), help="folder to write to and to go on from")
    parser.add_argument("--epochs", type=int, default=recipe.epochs)
    parser.add_argument("--batch", type=int, default=recipe.batch, help="images per step")
    parser.add_argument("--seed", type=int, default=recipe.seed)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads of torch")
    parser.add_argument("--device", default="cpu", help="torch device, such as cpu or cuda")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        images, labels = load_pictures(options.data / "cifar10-train.npz", device)
        test_images, test_labels = load_pictures(options.data / "cifar10-test.npz", device)
        training = Training(Recipe(epochs=options.epochs, batch=options.batch, seed=options.seed), images, labels)
        train(training, options.out)
    except EdgevitError as error:
        parser.exit(error.exit_code, f"{error}\n")
    top1 = accuracy(training.average, test_images, test_labels)
    print(f"top-1 {top1:.2%} of {len(test_images)} test images; weights in {options.out / 'weights.safetensors'}")


if __name__ == "__main__":
    main()

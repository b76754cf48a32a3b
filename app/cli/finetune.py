"""`mergefront finetune`: an adapter for one task, from a base and a data file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from workers.finetuning.train import Advance, Trained


def finetune(
    base: Annotated[str, typer.Option(help="Weights to start from: a .safetensors file or a model's directory.", show_default=False)],
    data: Annotated[str, typer.Option(help="The task's examples, as in a study.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Directory of the adapter.", show_default=False)],
    adapter: Annotated[str, typer.Option(help="lora, llora (A frozen at the shared start) or tangent (the whole network linearised).")],
    factory: Annotated[str | None, typer.Option(metavar="FILE.py:CALLABLE", help="Architecture: a Python callable.")] = None,
    transformers: Annotated[str | None, typer.Option(metavar="CLASS", help="Architecture: AutoModel or another auto class.")] = None,
    pooling: Annotated[str | None, typer.Option(help="AutoModel only: mean, cls or last.")] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="AutoModel only: features of length one.")] = False,
    head: Annotated[str | None, typer.Option(metavar="FILE#NAME", help="A linear head, or a checkpoint that brings its own.")] = None,
    train_head: Annotated[bool, typer.Option("--train-head", help="Train the head too; without --head from a fresh one.")] = False,
    metric: Annotated[str, typer.Option(help="What decides when to stop, as in a study.")] = "accuracy",
    search: Annotated[float, typer.Option(help="Share of the examples that training sees: the study's search split.")] = 0.4,
    report: Annotated[float, typer.Option(help="Share that is only reported.")] = 0.6,
    split_seed: Annotated[int, typer.Option(help="Seed of that division, as in the study.")] = 0,
    held_out: Annotated[float, typer.Option(help="Share of the search split that decides when to stop.")] = 0.2,
    max_length: Annotated[int | None, typer.Option(help="Texts: tokens kept.")] = None,
    rank: Annotated[int, typer.Option(help="r of the factors.")] = 8,
    alpha: Annotated[float, typer.Option(help="The product is scaled by alpha / rank.")] = 16.0,
    target: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Layers: names or patterns; all of them by default.")] = None,
    start_seed: Annotated[int, typer.Option(help="Of the start A0: one for all tasks that are to be merged.")] = 0,
    epochs: Annotated[int, typer.Option(help="At most.")] = 10,
    rate: Annotated[float, typer.Option(help="Learning rate of AdamW.")] = 1e-3,
    decay: Annotated[float, typer.Option(help="Weight decay.")] = 0.0,
    warmup: Annotated[float, typer.Option(help="Share of the steps in which the rate rises.")] = 0.1,
    batch: Annotated[int, typer.Option(help="Examples a step.")] = 32,
    patience: Annotated[int, typer.Option(help="Epochs without a better held-out score before it stops.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the order of examples and a fresh head.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto.")] = "auto",
) -> None:
    """Train an adapter for one task; cut short and started again, it goes on to the same result."""
    architecture = {"factory": factory, "transformers": transformers, "pooling": pooling, "normalize": normalize}
    document = {
        "base": base,
        "architecture": {key: value for key, value in architecture.items() if value is not None},
        "task": {
            "data": data, "head": head, "metric": metric, "max_length": max_length,
            "split": {"search": search, "report": report, "seed": split_seed},
        },
        "adapter": {"kind": adapter, "rank": rank, "alpha": alpha, "targets": target or [], "seed": start_seed},
        "training": {
            "epochs": epochs, "learning_rate": rate, "weight_decay": decay, "warmup": warmup, "batch": batch,
            "patience": patience, "held_out": held_out, "head": train_head, "seed": seed,
        },
    }  # fmt: skip
    run_finetune(document, out, device)


def run_finetune(document: dict[str, Any], out: Path, device: str) -> None:
    """Trains what the document states, with a bar. Raises ManifestError, RefusedError, ConflictError, MeasurementError."""
    from app.cli.console import progress_bar
    from app.domain.errors import ManifestError
    from app.manifest.finetune import parse_finetune
    from workers.device import find_device
    from workers.finetuning.finetune import finetune as carry_out

    spec, faults = parse_finetune(document, Path.cwd())
    if spec is None:
        raise ManifestError(faults)
    with progress_bar() as progress:
        bar = progress.add_task("steps", total=None)

        def tell(advance: "Advance") -> None:
            held_out = "" if advance.score is None else f", held out {advance.score:.4f}"
            progress.update(bar, completed=advance.step, total=advance.steps, description=f"epoch {advance.epoch + 1}{held_out}")

        trained = carry_out(spec, out, find_device(device), tell)
    _print(trained, spec.task.metric, out)


def _print(trained: "Trained", metric: str, directory: Path) -> None:
    from rich.markup import escape

    from app.cli.console import out

    scores = ", ".join(f"{part.replace('_', ' ')} {score:.4f}" for part, score in trained.scores.items())
    out.print(f"{metric}: {scores}; {len(trained.epochs)} epochs in {trained.seconds:.1f} s")
    out.print(f"written: {escape(str(directory))}")

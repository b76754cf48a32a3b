"""The command line: the same use cases without HTTP. Heavy imports wait until a command needs them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli import service
from app.cli.edge import exit_code_of
from app.cli.finetune import finetune
from app.cli.keys import keys

Study = Annotated[Path, typer.Argument(help="The study manifest, YAML or JSON.", show_default=False)]
Device = Annotated[str, typer.Option(help="Where merges are evaluated: cpu, cuda, cuda:1, or auto.")]
Memory = Annotated[float | None, typer.Option(metavar="GB", help="Memory for base and task vectors; what exceeds it is streamed.")]

app = typer.Typer(
    name="mergefront",
    help="Pareto-front model merging: sampled coefficients in, a front with honest error bars and merged weights out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (finetune, service.serve, service.api, service.worker, service.sweeper):
    app.command()(command)
db = typer.Typer(help="The database of the service.", no_args_is_help=True)
app.add_typer(db, name="db")
app.add_typer(keys, name="key")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where everything is written.")] = Path("runs/demo"),
) -> None:
    """Train a small model set on real digits, search it, and merge the balanced point: under a minute and a half on two cores."""
    from app.cli.demo import run_demo

    run_demo(out)


@app.command()
def run(
    study: Study,
    out: Annotated[Path | None, typer.Option(help="Directory of the results (default: runs/NAME).")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the manifest: --set method.budget=20.")
    ] = None,
    device: Device = "auto",
    memory: Memory = None,
) -> None:
    """Run a whole study in this process; cut short and started again, it continues where it was."""
    from app.cli.run import run_study

    run_study(study, out, settings or [], device, memory)


@app.command()
def merge(
    study: Annotated[Path, typer.Argument(help="A run's directory, or the manifest it was run from.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Directory of the merged checkpoint.", show_default=False)] = None,
    prefer: Annotated[str | None, typer.Option(metavar="TASK=WEIGHT,...", help="The point that serves these weights best.")] = None,
    at: Annotated[str | None, typer.Option(metavar="C,C,...", help="These very coefficients.")] = None,
    point: Annotated[int | None, typer.Option(help="A point of the front, by its number in front.csv.")] = None,
    require: Annotated[list[str] | None, typer.Option(metavar="TASK>=SCORE", help="A bound that the merge has to keep.")] = None,
    maximize: Annotated[str | None, typer.Option(metavar="TASK", help="The task to serve best within the bounds.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Also write the point as a mergekit recipe.")] = None,
    dense: Annotated[bool, typer.Option("--dense", help="Whole weights even where all tuned models are adapters.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what --out holds.")] = False,
) -> None:
    """Write the merged weights of one point in the base's own layout, with a model card; without a wish, of the balanced one."""
    from app.cli.merge import MergeRequest, run_merge
    from app.cli.point import PointRequest

    run_merge(MergeRequest(study, out, PointRequest(prefer, at, point, tuple(require or ()), maximize), recipe, dense, force))


@app.command()
def submit(
    study: Study,
    server: Annotated[
        str, typer.Option(envvar="MERGEFRONT_SERVER", metavar="URL", help="The service: http://HOST:PORT.", show_default=False)
    ],
    key: Annotated[str, typer.Option(envvar="MERGEFRONT_KEY", help="An API key of scope write.", show_default=False)] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Follow the study to its end; exit with 1 when it fails, 3 when cancelled.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the manifest: --set method.budget=20.")
    ] = None,
) -> None:
    """Send a study to a service: upload what it lacks, create the study, print its id; sent again, it is the same study."""
    from app.cli.submit import Submission, run_submit

    run_submit(Submission(study, server, key, wait, settings or []))


@app.command()
def doctor() -> None:
    """Say what is installed, what can be reached, and what is wrong."""
    from app.cli.doctor import examine

    examine()


@db.command()
def upgrade(
    url: Annotated[str | None, typer.Option(help="sqlite:///FILE or postgresql://USER@HOST/NAME.", show_default="the service's")] = None,
) -> None:
    """Bring the tables of a database up to date."""
    service.upgrade_database(url)


def main() -> None:
    """The entry point: runs a command and turns what it raises into a message and an exit code."""
    try:
        app()
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        sys.exit(code)

"""Ways to a front, ours and others', each as: study, evaluator, budget, seed -> coefficients with what their search knows of them."""

import importlib.util
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cached_evaluations import CachedEvaluator, Groups
from torch import Tensor

from app.blobs.memory import MemoryBlobs
from app.domain.budget import trials_a_plane
from app.domain.study import AcquisitionName, FrontSpec, MethodSpec, Study, StudySpec, StudyStatus, TransformSpec
from app.domain.trial import Proposal, Trial
from app.jobs.inline import InlineJobs
from app.store.memory import MemoryStore
from surrogate.acquisition import propose_batch
from surrogate.design import sobol_points
from surrogate.gp import fit_gp
from surrogate.history import History, Scale
from surrogate.pareto import non_dominated
from surrogate.volume import cover
from workers.engine.advance import advance
from workers.engine.arrays import Evidence, directions, gather_evidence, list_coefficients, stack_coefficients, stack_utilities
from workers.engine.fits import fit_tasks, predict_tasks, solve_candidates
from workers.engine.measure import measure
from workers.engine.plan import plan
from workers.engine.references import DARE_DROP, TIES_DENSITY
from workers.engine.stages import Finish, Propose, Stage, searched
from workers.engine.workshop import Workshop
from workers.evaluators.adamerging import EXAMPLES, PASSES_A_STEP

NESTED_TRIALS = 6
STUDY = "study_benchmark"


@dataclass(frozen=True)
class Found:
    """A front: `proposals` without a split of their own, the utilities that the search believes them to have (n x T), and what it took.

    `evaluations`: task-evaluations on the search split over the number of tasks. `groups`: how the proposals' coefficients group layers.
    """

    proposals: tuple[Proposal, ...]
    believed: Tensor
    evaluations: float
    groups: Groups = "task"


Method = Callable[[StudySpec, CachedEvaluator, int, int, int], Found]
"""Study, evaluator, budget, points of the front, seed."""


@dataclass(frozen=True)
class Searched:
    """A study of this project whose search is over."""

    evidence: Evidence
    trials: tuple[Trial, ...]

    def evaluations(self) -> float:
        """Task-evaluations on the search split over the number of tasks."""
        verified = [trial for trial in self.trials if trial.proposal.origin == "verify"]
        return sum(len(trial.scores) for trial in (*searched(self.trials), *verified)) / len(self.evidence.spec.tasks)


def run_engine(method: MethodSpec, spec: StudySpec, evaluator: CachedEvaluator, budget: int, points: int, seed: int) -> Found:
    """A study by `method`, up to where it would report."""
    found = search_study(replace(method, budget=budget, seed=seed), spec, evaluator, points)
    evidence, fits = found.evidence, fit_tasks(found.evidence)
    verified = [trial.proposal.coefficients for trial in found.trials if trial.proposal.origin == "verify"]
    chosen = stack_coefficients(verified, evidence.dimension) if verified else solve_candidates(evidence, fits, points)
    predicted = torch.stack([prediction.smoothed for prediction in predict_tasks(fits, chosen).values()], 1)
    return Found(_proposals(chosen, spec.transform), predicted * directions(spec), found.evaluations(), spec.space.groups)


def search_study(method: MethodSpec, spec: StudySpec, evaluator: CachedEvaluator, points: int) -> Searched:
    """Raises RuntimeError where the study fails."""
    wanted = replace(spec, method=method, front=_front(method, points), baselines=())
    with tempfile.TemporaryDirectory() as directory:
        store, jobs = MemoryStore(), InlineJobs()
        workshop = Workshop(store, MemoryBlobs(Path(directory)), jobs, lambda study: evaluator, "benchmark")
        born = datetime.now(UTC)
        store.add_study(Study(STUDY, wanted, StudyStatus.SUBMITTED, born, born))
        jobs.send("advance_study", STUDY)
        _drain(workshop, jobs)
        if store.study(STUDY).failure is not None:
            raise RuntimeError(str(store.study(STUDY).failure))
        trials = store.trials(STUDY)
        return Searched(gather_evidence(wanted, trials, evaluator, workshop.blobs.get), trials)


def _front(method: MethodSpec, points: int) -> FrontSpec:
    return FrontSpec(points, verify=0, solver="nsga3" if method.surrogate == "quadratic" else "scalarised")


def _drain(workshop: Workshop, jobs: InlineJobs) -> None:
    handlers: dict[Any, Callable[[str], None]] = {"measure_trial": partial(measure, workshop), "advance_study": partial(_advance, workshop)}
    for _ in jobs.drain(handlers):
        pass


def _advance(workshop: Workshop, study_id: str) -> None:
    step = plan(workshop.store.study(study_id), workshop.store.trials(study_id))
    if not isinstance(step, Finish) and step != Propose(Stage.REPORT):
        advance(workshop, study_id)


def run_nested(spec: StudySpec, evaluator: CachedEvaluator, budget: int, points: int, seed: int) -> Found:
    """As many random preferences as leave every pair NESTED_TRIALS trials; the budget also pays for what verifies their points."""
    draws = np.random.default_rng(seed).dirichlet(np.ones(len(spec.models.tuned)), points)
    wishes = tuple(dict(zip(spec.models.tuned, row.tolist(), strict=True)) for row in draws)
    for count in range(points, 0, -1):
        method = MethodSpec("nested", budget=budget - count, preferences=wishes[:count])
        if trials_a_plane(method, len(spec.models.tuned)) >= NESTED_TRIALS:
            break
    return run_engine(method, spec, evaluator, budget - count, points, seed)


def from_measured(spec: StudySpec, evaluator: CachedEvaluator, proposals: Sequence[Proposal], points: int) -> Found:
    """The measured points that no other beats on the search split, thinned."""
    utilities = stack_utilities(spec, [evaluator.evaluate(proposal).scores for proposal in proposals])
    best = non_dominated(utilities).nonzero()[:, 0]
    best = best[cover(utilities[best], points)]
    return Found(tuple(proposals[place] for place in best.tolist()), utilities[best], len(proposals), spec.space.groups)


def run_sobol(spec: StudySpec, evaluator: CachedEvaluator, budget: int, points: int, seed: int) -> Found:
    return from_measured(spec, evaluator, _proposals(_spread(spec, evaluator, budget, seed), spec.transform), points)


def run_nsga2(spec: StudySpec, evaluator: CachedEvaluator, budget: int, points: int, seed: int) -> Found:
    """pymoo's NSGA-II on real evaluations."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.optimize import minimize

    asked: list[Proposal] = []

    class Merges(ElementwiseProblem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(n_var=evaluator.gram.shape[0], n_obj=len(spec.tasks), xl=spec.space.low, xu=spec.space.high)

        def _evaluate(self, x: Any, out: dict[str, Any]) -> None:
            asked.append(_proposals(torch.from_numpy(x)[None], spec.transform)[0])
            out["F"] = -stack_utilities(spec, [evaluator.evaluate(asked[-1]).scores])[0].numpy()

    minimize(Merges(), NSGA2(pop_size=max(4, min(20, budget // 4))), ("n_eval", budget), seed=seed)
    return from_measured(spec, evaluator, asked[:budget], points)


def run_optuna(sampler: str, spec: StudySpec, evaluator: CachedEvaluator, budget: int, points: int, seed: int) -> Found:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked: list[Proposal] = []

    def objective(trial: Any) -> list[float]:
        row = [trial.suggest_float(f"c{place}", spec.space.low, spec.space.high) for place in range(evaluator.gram.shape[0])]
        asked.append(Proposal("design", "search", tuple(row), transform=spec.transform))
        found: list[float] = stack_utilities(spec, [evaluator.evaluate(asked[-1]).scores])[0].tolist()
        return found

    study = optuna.create_study(directions=["maximize"] * len(spec.tasks), sampler=getattr(optuna.samplers, sampler)(seed=seed))
    study.optimize(objective, n_trials=budget)
    return from_measured(spec, evaluator, asked, points)


def run_qlognehvi(spec: StudySpec, evaluator: CachedEvaluator, budget: int, points: int, seed: int) -> Found:
    """BoTorch alone: 2(D + 1) Sobol points, then qLogNEHVI on Gaussian processes of the scores in batches of four; measured front."""
    low, high = spec.space.low, spec.space.high
    known = _spread(spec, evaluator, min(budget, 2 * (evaluator.gram.shape[0] + 1)), seed)
    while len(known) < budget:
        rows = [evaluator.evaluate(proposal).scores for proposal in _proposals(known, spec.transform)]
        histories = [_history(spec, evaluator, known, rows, place) for place in range(len(spec.tasks))]
        fits = [fit_gp(history, seed=seed) for history in histories]
        q = min(4, budget - len(known))
        known = torch.cat([known, propose_batch("qlognehvi", histories, fits, known[:0], q, low, high, seed + len(known))])
    return from_measured(spec, evaluator, _proposals(known, spec.transform), points)


def run_line(transform: TransformSpec, spec: StudySpec, evaluator: CachedEvaluator, budget: int, points: int, seed: int) -> Found:
    """One coefficient for all models, `budget` values of it evenly over the box."""
    scales = torch.linspace(spec.space.low, spec.space.high, budget + 1, dtype=torch.float64)[1:, None]
    drawn = replace(transform, seed=seed)
    return from_measured(spec, evaluator, _proposals(scales.expand(-1, evaluator.gram.shape[0]), drawn), points)


def run_adamerging(groups: Groups, spec: StudySpec, evaluator: CachedEvaluator, budget: int, points: int, seed: int) -> Found:
    """One point by gradient, in as many steps as cost what `budget` evaluations do; it reads no label."""
    grouped = evaluator.grouped(groups)
    examples = statistics.fmean(scorer.examples("search") for scorer in grouped.scorers.values())
    steps = max(2, round((budget - 1) * examples / (EXAMPLES * PASSES_A_STEP)))
    row = grouped.evaluator.adamerge(spec.transform, spec.space, steps, seed)
    found = from_measured(spec, grouped, [Proposal("design", "search", row, transform=spec.transform)], points)
    return replace(found, evaluations=budget, groups=groups)


def _history(spec: StudySpec, evaluator: CachedEvaluator, known: Tensor, rows: Sequence[Mapping[str, float]], place: int) -> History:
    task = spec.tasks[place]
    metric, examples = task.measure, evaluator.scorers[task.name].examples("search")
    scores = torch.tensor([row[task.name] for row in rows], dtype=torch.float64)
    return History(known, scores, Scale(metric.low, metric.high, metric.maximize, examples, metric.proportion))


def _spread(spec: StudySpec, evaluator: CachedEvaluator, count: int, seed: int) -> Tensor:
    return spec.space.low + (spec.space.high - spec.space.low) * sobol_points(evaluator.gram.shape[0], count, seed)


def _proposals(points: Tensor, transform: TransformSpec) -> tuple[Proposal, ...]:
    return tuple(Proposal("design", "search", row, transform=transform) for row in list_coefficients(points))


def _bayesian(acquisition: AcquisitionName) -> MethodSpec:
    return MethodSpec("bayesian", acquisition=acquisition, tolerance=0.0)


METHODS: dict[str, Method] = {
    "map": partial(run_engine, MethodSpec("map", "quadratic")),
    "map-auto": partial(run_engine, MethodSpec("map", "auto")),
    "bayesian-qlognehvi": partial(run_engine, _bayesian("qlognehvi")),
    "bayesian-bins": partial(run_engine, _bayesian("bins")),
    "bayesian-output": partial(run_engine, _bayesian("output")),
    "nested": run_nested,
    "sobol": run_sobol,
    "nsga2": run_nsga2,
    "qlognehvi": run_qlognehvi,
    "task-arithmetic": partial(run_line, TransformSpec()),
    "ties": partial(run_line, TransformSpec("ties", density=TIES_DENSITY)),
    "dare": partial(run_line, TransformSpec("dare", drop=DARE_DROP)),
    "adamerging": partial(run_adamerging, "task"),
    "adamerging-blocks": partial(run_adamerging, "block"),
}
if importlib.util.find_spec("optuna"):
    METHODS |= {"optuna-tpe": partial(run_optuna, "TPESampler"), "optuna-gp": partial(run_optuna, "GPSampler")}

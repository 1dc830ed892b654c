"""What a worker tells Prometheus, read from where it is said, without a worker."""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

#: What makes a metric, its kind, and how its samples' names end.
_KINDS = {
    "Counter": ("counter", "_total"),
    "Histogram": ("histogram", ""),
    "GaugeMetricFamily": ("gauge", ""),
    "_gauge": ("gauge", ""),
    "InfoMetricFamily": ("info", "_info"),
}


@dataclass(frozen=True)
class ToldMetric:
    """One metric: its name as Prometheus has it, its kind, what it says, and its labels."""

    name: str
    kind: str
    says: str
    labels: tuple[str, ...]


def told_metrics(module: ModuleType) -> Iterator[ToldMetric]:
    """Yield the metrics that `module` makes, in the order in which they stand there."""
    calls = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _KINDS
        and isinstance(node.args[0], ast.Constant)
    ]
    for call in sorted(calls, key=lambda call: call.lineno):
        assert isinstance(call.func, ast.Name)  # noqa: S101
        kind, ending = _KINDS[call.func.id]
        name, says = (ast.literal_eval(argument) for argument in call.args[:2])
        yield ToldMetric(f"{name}{ending}", kind, says, _labels(call))


def _labels(call: ast.Call) -> tuple[str, ...]:
    named = [word.value for word in call.keywords if word.arg == "labels"]
    lists = [each for each in [*call.args, *named] if isinstance(each, ast.List)]
    return tuple(ast.literal_eval(lists[0])) if lists else ()

"""From a template to an answer that a browser may show: nothing inline, nothing from elsewhere."""

from collections.abc import Callable, Container, Coroutine, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined

from automl_api.addressing import path_below_root
from automl_api.places import document_for
from automl_api.problem import Problem, from_known
from automl_api.settings import Settings
from automl_compress import __version__
from automl_compress.core.errors import AutomlCompressError
from automl_compress.core.execution import RIDGE

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
METRIC_NAMES = {
    "macs": "MACs",
    "parameters": "parameters",
    "size_bytes": "bytes",
    "bit_operations": "bit operations",
    "micronet": "MicroNet score × 10⁹",
    "latency_ns": "latency in ns",
}

_KIB = 1024


class PageRoute(APIRoute):
    """A route whose errors are pages that show the problem document."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler."""
        handle = super().get_route_handler()

        async def handle_or_explain(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                return explain(request, problem)
            except AutomlCompressError as error:
                return explain(request, from_known(error))
            except RequestValidationError as error:
                first = error.errors()[0]
                # Behind where it came from and its name, a place tells which of several types.
                name = ".".join(map(str, first["loc"][1:2])) or first["loc"][0]
                detail = f"{name}: {first['msg']}, not {first['input']!r:.100}"
                return explain(request, Problem(422, "invalid", detail))

        return handle_or_explain


def render_page(
    request: Request, template: str, *, status_code: int = 200, **content: Any
) -> HTMLResponse:
    """Render a template for this request.

    Besides the content, templates have `home` (the relative way to the start page), `path`,
    `version`, `has_sign_out` and `is_administrator`.
    """
    path, settings = path_below_root(request), request.app.state.settings
    assert isinstance(settings, Settings)
    text = (
        _environment()
        .get_template(template)
        .render(
            home="../" * (path.count("/") - 1) or "./",
            path=path,
            version=__version__,
            has_sign_out=settings.key is not None,
            is_administrator=request.state.caller.is_administrator,
            **content,
        )
    )
    headers = {
        "Content-Security-Policy": PAGE_POLICY,
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
    }
    return HTMLResponse(text, status_code, headers=headers)


def render_text(template: str, **content: Any) -> str:
    """Render a template that needs no request."""
    return _environment().get_template(template).render(version=__version__, **content)


def explain(request: Request, problem: Problem) -> Response:
    """Show a problem document as a page."""
    told = document_for(request, problem)
    page = render_page(request, "problem.html", status_code=problem.status, problem=told)
    page.headers.update(problem.headers)
    return page


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("automl_api.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(  # pyright: ignore[reportUnknownMemberType]
        percent=_percent,
        count=_count,
        signed=_signed,
        points=_points,
        duration=_duration,
        size=_size,
        moment=_moment,
        metric=METRIC_NAMES.__getitem__,
        budgets=_budgets,
        heading=_heading,
        metrics=metrics_of,
    )
    # Options and fields come in an order that means something.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    environment.globals["ridge"] = RIDGE  # pyright: ignore[reportUnknownMemberType]
    return environment


def metrics_of(costs: object) -> list[str]:
    """Name the metrics that costs tell, which are a mapping, a body or names; in our order."""
    if isinstance(costs, Container):
        return [name for name in METRIC_NAMES if name in costs]
    return [name for name in METRIC_NAMES if getattr(costs, name, None) is not None]


def _percent(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{100 * value:.{digits}f} %"


def _budgets(study: Mapping[str, Any]) -> str:
    """Say what a study's networks may keep: `50 %, 30 % of MACs`, and its accuracy floor."""
    ratios = [study["budget"]["ratio"], *study.get("smaller_ratios", ())]
    kept = ", ".join(f"{100 * ratio:.4g} %" for ratio in ratios)
    floor = study.get("accuracy_floor")
    least = "" if floor is None else f", the least at {100 * floor:.4g} % accuracy"
    return f"{kept} of {METRIC_NAMES[study['budget']['metric']]}{least}"


def _heading(text: str) -> str:
    return text[:1].upper() + text[1:]


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _signed(value: float) -> str:
    return f"{value:+,.0f}".replace("-", "\N{MINUS SIGN}") if value else "0"


def _points(share: float) -> str:
    """Say a difference of two shares in percentage points."""
    return f"{100 * share:.2f}".replace("-", "\N{MINUS SIGN}")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _size(size_bytes: int) -> str:
    if size_bytes < _KIB:
        return f"{size_bytes} bytes"
    if size_bytes < _KIB**2:
        return f"{size_bytes / _KIB:.1f} KiB"
    if size_bytes < _KIB**3:
        return f"{size_bytes / _KIB**2:.1f} MiB"
    return f"{size_bytes / _KIB**3:.1f} GiB"


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

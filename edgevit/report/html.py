"""A report as one HTML page that needs nothing beside it: no file, no network, no run time.

Names in a report come from models and images and are not trusted: jinja2 escapes them, data for scripts has no ``<``,
plotly gets them escaped once more, and a content security policy admits the page's own scripts by hash and no request.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING

from edgevit.errors import ToolNotFound
from edgevit.report.export import ExportReport
from edgevit.report.figures import byte_text, decibel, gate_text, headline, key_figures, percent, points
from edgevit.report.plots import Plot, report_plots

if TYPE_CHECKING:
    from jinja2 import Environment

PACKAGES = ("jinja2", "plotly")
_SCRIPTS = ("plots.js", "tables.js")


def missing_packages() -> list[str]:
    """The packages that the page needs and that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def render_html(report: ExportReport) -> str:
    """The page of an export. Equal reports give equal pages. Raises ToolNotFound as `render_page` does."""
    plots = report_plots(report)
    figures = key_figures(report)
    return render_page("report.html.j2", plots, report=report, headline=headline(report), figures=figures)


def render_page(template: str, plots: dict[str, Plot], **values: object) -> str:
    """The whole page of a template that extends ``base.html.j2``, about 5 MB of which nearly all is plotly.js.

    ``values`` are escaped wherever the template puts them. Raises ToolNotFound where jinja2 or plotly is not installed.
    """
    if missing := missing_packages():
        raise ToolNotFound(
            f"{' and '.join(missing)} not installed", where="report.html", hint="pip install 'edgevit[report]'"
        )
    from plotly.offline import get_plotlyjs

    scripts = [_script(get_plotlyjs()), *(_script(_resource(name)) for name in _SCRIPTS)]
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            plots=plots,
            plots_json=_json(plots),
            css=_resource("report.css"),
            scripts=scripts,
            hashes=[_hash(script) for script in scripts],
        )
    )


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Every template is HTML whatever its name, so escaping does not depend on the extension.
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=PackageLoader("edgevit.report"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(bytes=byte_text, decibel=decibel, percent=percent, points=points, gate=gate_text)
    return environment


def _resource(name: str) -> str:
    return (files("edgevit.report") / "templates" / name).read_text(encoding="utf-8")


def _script(source: str) -> str:
    """``source`` as the content of a script element: it cannot end the element, and means the same as before."""
    source = source.replace("\r\n", "\n")
    return re.sub(r"<(?=/script|!--)", r"\\x3C", source, flags=re.IGNORECASE)


def _hash(script: str) -> str:
    """The source expression of a content security policy for an inline script."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _json(plots: dict[str, Plot]) -> str:
    """The figures as JSON that is inert inside a script element, whatever names it holds."""
    shown = ("id", "height", "data", "layout")
    value = [{name: getattr(plot, name) for name in shown} for plot in plots.values()]
    text = json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")

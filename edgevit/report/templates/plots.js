"use strict";
// Draws the figures of #plots-data. Colours are names of custom properties: they are looked up again when the scheme changes.
(() => {
  const figures = JSON.parse(document.getElementById("plots-data").textContent);
  const names = ["page", "surface", "ink", "soft", "line", "accent", "good", "warn", "bad", "neutral", "violet", "teal"];
  // plotly's own choice of buttons has one that uploads the figure.
  const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage"]], displayModeBar: coarse() ? false : "hover" };
  const NARROW = 560; // CSS pixels; below it the legend stands in a column
  const LEGEND_LINE = 19;
  const PRINT_WIDTH = 680; // CSS pixels between the margins of A4, which are narrower than those of Letter

  function palette() {
    const style = getComputedStyle(document.documentElement);
    return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }

  function themed(value, key, colours) {
    if (Array.isArray(value)) {
      if (key === "colorscale") return value.map(([stop, name]) => [stop, colours[name]]);
      return value.map((item) => themed(item, "", colours));
    }
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, themed(item, name, colours)]));
    }
    return /color$/.test(key) && names.includes(value) ? colours[value] : value;
  }

  function axis(own, colours) {
    return { gridcolor: colours.line, zerolinecolor: colours.line, linecolor: colours.line, fixedrange: coarse(), ...own };
  }

  // A finger that scrolls the page must not zoom a plot.
  function coarse() {
    return matchMedia("(pointer: coarse)").matches;
  }

  function legendHeight(figure, width) {
    if (width >= NARROW) return 0;
    return LEGEND_LINE * figure.data.filter((trace) => trace.name !== undefined).length;
  }

  function layout(figure, colours, width) {
    const own = themed(figure.layout, "", colours);
    const available = width ?? document.getElementById(figure.id).clientWidth;
    return {
      autosize: width === undefined,
      width,
      height: figure.height + legendHeight(figure, available),
      margin: { l: 48, r: 12, t: 28, b: 44 },
      font: { family: "system-ui, sans-serif", size: 12, color: colours.ink },
      paper_bgcolor: colours.page,
      plot_bgcolor: colours.page,
      dragmode: coarse() ? false : "zoom",
      hoverlabel: { bgcolor: colours.surface, bordercolor: colours.neutral, font: { color: colours.ink }, align: "left" },
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", traceorder: "normal" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colours.neutral, activecolor: colours.accent },
      treemapcolorway: [colours.accent, colours.teal, colours.violet, colours.neutral],
      ...own,
      xaxis: axis(own.xaxis, colours),
      yaxis: axis(own.yaxis, colours),
    };
  }

  function draw(width) {
    const colours = palette();
    for (const figure of figures) {
      const place = document.getElementById(figure.id);
      // Not react: it keeps the place of a legend that has moved from a column into a row.
      Plotly.newPlot(place, themed(figure.data, "", colours), layout(figure, colours, width), config);
    }
  }

  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    draw(PRINT_WIDTH);
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
  draw();
})();

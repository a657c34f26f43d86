// Put each interactive plot over its image. The image stays where a plot cannot be drawn, and returns in print.
"use strict";
const settings = {
  responsive: true,
  displaylogo: false,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  scrollZoom: false,
};
const touch = matchMedia("(pointer: coarse)").matches; // a finger on a plot scrolls the page
async function start(section) {
  const plots = [...section.querySelectorAll(".plot")];
  const data = JSON.parse(section.querySelector("script[type='application/json']").textContent);
  section.classList.add("live");
  try {
    await Promise.all(plots.map((plot, i) => Plotly.newPlot(plot, data[i].data, { ...data[i].layout, dragmode: touch ? false : "zoom" }, settings)));
  } catch (error) {
    section.classList.remove("live");
    console.warn("A plot could not be drawn; its image is shown.", error);
  }
}
document.querySelectorAll(".figure[data-plots]").forEach(start);

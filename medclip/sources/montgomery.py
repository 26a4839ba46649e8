"""Montgomery County CXR Set: 138 radiographs of a tuberculosis screening with readings (Jaeger et al. 2014).

Layout: https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/Montgomery-County-CXR-Set/index.html.
"""

from __future__ import annotations

from medclip.sources.shenzhen import Shenzhen


class Montgomery(Shenzhen):
    """The NLM's download, in the form of `shenzhen`; masks of the lungs are not read."""

    name = "montgomery"
    folders = ("Montgomery-County-CXR-Set/MontgomerySet", "Montgomery-County-CXR-Set", "MontgomerySet", "montgomery")
    marks = ("CXR_png",)
    layout = "CXR_png/MCUCXR_0001_0.png and ClinicalReadings/MCUCXR_0001_0.txt"
    obtain = (
        "https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/Montgomery-County-CXR-Set/index.html"
        ", free to use; cite Jaeger et al. 2014"
    )
    population = "montgomery"

"""What becomes of broken, odd and hostile input: prints a table of everything that the tests try.

PYTHONPATH=. python benchmarks/bad_inputs.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from medclip.data.images import read_image
from tests.medclip.test_bad_inputs import IMAGES, TABLES


def main() -> None:
    cases = [(name, make, read_image) for name, make, _ in IMAGES] + [(name, make, None) for name, make, _ in TABLES]
    print(f"{len(cases)} inputs\n\n| input | outcome |\n| --- | --- |")
    for name, make, read in cases:
        with tempfile.TemporaryDirectory() as folder:
            try:
                made = make(Path(folder))
                outcome = "read" if read is None else f"read, {'x'.join(map(str, read(made).shape))}"
            except (ValueError, FileNotFoundError) as error:
                outcome = "refused: " + str(error).splitlines()[0].replace(folder, "...")[:150]
        print(f"| {name} | {outcome} |")


if __name__ == "__main__":
    main()

"""Loss and gradients of 2 and 4 processes on a shared batch against one process on the whole: every objective.

python benchmarks/distributed.py
"""

from __future__ import annotations

from tests.medclip.test_distributed import CASES, in_processes, step


def main() -> None:
    print(
        f"{'objective':20} {'rows':10} {'processes':>9} {'loss':>10} {'gradient':>10}   (largest difference, float64)"
    )
    for size in (2, 4):
        found = in_processes(size)
        for name, own in CASES:
            loss, gradient = step(name, own, 0, 1)
            off = [float((a - b).abs().max()) for a, b in zip(found[name, own], (loss, gradient), strict=True)]
            print(f"{name:20} {'own' if own else 'all':10} {size:9} {off[0]:10.1e} {off[1]:10.1e}")


if __name__ == "__main__":
    main()

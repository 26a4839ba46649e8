"""Synthetic frontal chest radiographs and reports about them: the test bed and the tutorial.

`population` decides who has what, `radiograph` draws it, `report` writes about it. All three are deterministic in
(seed, study number), so any study can be made alone. Nothing here comes from patients.
"""

"""The observations of the challenge CXR-LT 2026, and PadChest's labels for them.

The 30 known ones are the columns of the challenge's training table, the 6 unseen ones its list of classes of task 2
(https://github.com/CXR-LT/CXR-LT-2026). They keep PadChest's meaning; names are CheXpert's and those of the vocabulary
cxr50 where these have one. How the challenge put PadChest's 174 labels together is not published there: here a label
counts under its own name, with its plainly narrower ones.
"""

from __future__ import annotations

#: PadChest's labels, in small letters, by observation. "Normal" is No Finding, which sources know by themselves, and
#: "Support Devices" are those of the CheXpert observations. PadChest has no label for Infarction.
LABELS: dict[str, tuple[str, ...]] = {
    "Aortic Elongation": (
        "aortic elongation", "ascendent aortic elongation", "descendent aortic elongation", "supra aortic elongation",
    ),
    "Cardiomegaly": ("cardiomegaly",),
    "Pleural Effusion": ("pleural effusion",),
    "Nodule": ("nodule", "multiple nodules"),
    "Atelectasis": (
        "atelectasis", "atelectasis basal", "laminar atelectasis", "lobar atelectasis", "total atelectasis",
        "round atelectasis", "segmental atelectasis",
    ),
    "Pleural Thickening": ("pleural thickening", "apical pleural thickening", "calcified pleural thickening"),
    "Aortic Atherosclerosis": ("aortic atheromatosis",),
    "Alveolar Pattern": ("alveolar pattern",),
    "Fracture": (
        "fracture", "rib fracture", "callus rib fracture", "clavicle fracture", "vertebral fracture",
        "humeral fracture",
    ),
    "Hernia": ("hiatal hernia",),
    "Emphysema": ("emphysema",),
    "Azygos Lobe": ("azygos lobe",),
    "Hydropneumothorax": ("hydropneumothorax",),
    "Kyphosis": ("kyphosis",),
    "Mass": ("mass", "pulmonary mass", "pleural mass", "mediastinal mass"),
    "Pneumothorax": ("pneumothorax",),
    "Subcutaneous Emphysema": ("subcutaneous emphysema",),
    "Pneumoperitoneum": ("pneumoperitoneo",),
    "Vascular Hilar Enlargement": ("vascular hilar enlargement",),
    "Degenerative Spine Changes": ("vertebral degenerative changes",),
    "Hyperinflation": ("hyperinflated lung",),
    "Interstitial Pattern": ("interstitial pattern",),
    "Central Venous Catheter": (
        "central venous catheter", "central venous catheter via subclavian vein",
        "central venous catheter via jugular vein", "central venous catheter via umbilical vein",
        "reservoir central venous catheter",
    ),
    "Low Lung Volumes": ("hypoexpansion", "hypoexpansion basal"),
    "Bronchiectasis": ("bronchiectasis",),
    "Hemidiaphragm Elevation": ("hemidiaphragm elevation",),
    "Sternotomy": ("sternotomy",),
    "Calcification": ("calcified densities",),
    "Scoliosis": ("scoliosis",),
    "Osteopenia": ("osteopenia",),
    "Bulla": ("bullas",),
    "Adenopathy": ("adenopathy",),
    "Goiter": ("goiter",),
}  # fmt: skip

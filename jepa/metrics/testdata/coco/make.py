"""Writes a detection case and what pycocotools makes of it: python make.py SEED > case.json

Random pictures, objects and boxes that meet the corners of COCO's evaluation; see README.md.
"""

import contextlib
import io
import json
import random
import sys

import numpy
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

CATEGORIES = [1, 3, 7, 12, 18, 90]  # 18 has nothing but crowds, 90 has no object
CROWDS_ONLY, ABSENT = 18, 90
SIZES = [(8, 30), (33, 90), (100, 260)]


def draw(rng):
    images = list(range(1, 41))
    rng.shuffle(images)
    empty, unlabelled, unfound = images[0], images[1], images[2]
    crowded = images[3]  # more than 100 boxes of one class
    objects, found = [], []

    def add_object(image, category, box, crowd):
        area = box[2] * box[3] * rng.choice([1, 1, 0.5, 0.75])
        objects.append({"id": len(objects) + 1, "image_id": image, "category_id": category,
                        "bbox": box, "area": area, "iscrowd": int(crowd)})

    def add_found(image, category, box, digits=2):
        found.append({"image_id": image, "category_id": category, "bbox": box,
                      "score": round(rng.random(), digits)})

    def box(whole):
        low, high = rng.choice(SIZES)
        w, h = rng.randint(low, high), rng.randint(low, high)
        b = [rng.randint(0, 640 - w), rng.randint(0, 480 - h), w, h]
        return b if whole else [round(v + rng.random(), 2) for v in b]

    def near(b):
        kind = rng.randrange(6)
        x, y, w, h = b
        if kind == 0:
            return list(b)
        if kind == 1:  # IoU of exactly a half where w is even
            return [x, y, w // 2 * 1.0, h] if isinstance(w, int) else [x, y, w / 2, h]
        if kind == 2:  # exactly 3/4 where 4 divides w
            return [x, y, w * 0.75, h]
        if kind == 3:
            return [round(x + rng.uniform(-0.2, 0.2) * w, 2), round(y + rng.uniform(-0.2, 0.2) * h, 2), w, h]
        return [round(x + rng.uniform(-0.08, 0.08) * w, 2), round(y + rng.uniform(-0.08, 0.08) * h, 2),
                round(w * rng.uniform(0.9, 1.1), 2), round(h * rng.uniform(0.9, 1.1), 2)]

    for image in images:
        if image == empty:
            continue
        for category in CATEGORIES[:-1]:
            for _ in range(rng.randrange(4)):
                b = box(rng.random() < 0.6)
                crowd = category == CROWDS_ONLY or rng.random() < 0.1
                if image != unlabelled:
                    add_object(image, category, b, crowd)
                    if rng.random() < 0.15:  # the same box twice, or beside itself
                        add_object(image, category, list(b), category == CROWDS_ONLY or rng.random() < 0.3)
                if image == unfound:
                    continue
                for _ in range(rng.choice([0, 1, 1, 2, 4])):
                    add_found(image, category, near(b), rng.choice([1, 2, 2, 6]))
            if image != unfound and rng.random() < 0.4:
                add_found(image, category, box(False))
        if image not in (unfound, empty) and rng.random() < 0.3:
            add_found(image, ABSENT, box(False))
    for b in [o["bbox"] for o in objects if o["image_id"] == crowded and o["category_id"] == 1] + [box(True)] * 3:
        for _ in range(40):
            add_found(crowded, 1, near(b))
    return images, objects, found


def evaluate(images, objects, found):
    truth = COCO()
    truth.dataset = {"images": [{"id": i} for i in images], "categories": [{"id": c} for c in CATEGORIES],
                     "annotations": [dict(o) for o in objects]}
    truth.createIndex()
    e = COCOeval(truth, truth.loadRes([dict(f) for f in found]), "bbox")
    e.evaluate()
    e.accumulate()
    e.summarize()
    return e


def mean(values):
    values = values[values > -1]
    return float(numpy.mean(values)) if values.size else -1.0


def main():
    rng = random.Random(int(sys.argv[1]))
    images, objects, found = draw(rng)
    with contextlib.redirect_stdout(io.StringIO()):
        e = evaluate(images, objects, found)
    precision, recall = e.eval["precision"], e.eval["recall"]
    classes = [{"id": c, "ap": mean(precision[:, :, k, 0, 2]), "ap50": mean(precision[0, :, k, 0, 2]),
                "ar100": mean(recall[:, k, 0, 2])} for k, c in enumerate(CATEGORIES)]
    case = {"images": images, "categories": CATEGORIES, "annotations": objects, "detections": found,
            "thresholds": e.params.iouThrs.tolist(), "recalls": e.params.recThrs.tolist(),
            "stats": e.stats.tolist(), "classes": classes}
    text = ",\n".join(f"{json.dumps(k)}: " + ("[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in v) + "]"
                      if v and isinstance(v[0], dict) else json.dumps(v)) for k, v in case.items())
    print("{" + text + "}")


if __name__ == "__main__":
    main()

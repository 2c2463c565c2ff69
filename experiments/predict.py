"""Predicts on images: files and folders in, JSON and drawn pictures out.

    python -m experiments.predict --workdir=runs/lenet --inputs=photo.jpg,folder --output=predicted
    python -m experiments.predict --model=resnet50 --weights=published --inputs=folder --output=out

Either of a run, whose folder experiments.train was given, or of a network of jaxcv.models with a
file of its weights: a checkpoint in the reference's layout (.pth, .safetensors, .npz) or
"published", the file that jaxcv.weights knows ("published:v2" and the like are the later ones).
Images are resized, cut and normalised as for the file that is published under the network's name,
unless --config.data.image_size, .eval_crop, .mean and .std say otherwise; where none is published,
they are resized to the network's size and normalised as torchvision's.

Images are read as viewers show them and brought to the size and channels that the network was
trained on. Writes predictions.json (a list: the file and its five likeliest classes) and a picture
for every image. Of 1,000 classes without names ImageNet's are taken. --cam=true adds a picture
NAME_cam of where the network sees each of the five (class activation maps).
"""

import json

from absl import flags

from experiments import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_STEP = flags.DEFINE_integer("step", None, "Step of the run's checkpoint; default: the newest.")
_MODEL = flags.DEFINE_string("model", None, "Name of a network, in place of a run.")
_WEIGHTS = flags.DEFINE_string("weights", None, "Its checkpoint file, or published.")
_INPUTS = flags.DEFINE_list("inputs", None, "Image files and folders of them.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.")
_CAM = flags.DEFINE_bool("cam", False, "Draw class activation maps as well.")
_BATCH = 32


def main(overrides):
    import pathlib

    import jax
    import numpy as np

    from experiments import parts
    from jaxcv import draw, train
    from jaxcv.data import images
    from jaxcv.tasks import classification

    output = pathlib.Path(_OUTPUT.value)
    with cli.door():
        config = parts.run_or_published(_WORKDIR.value, _MODEL.value, _WEIGHTS.value, overrides)
        train.setup(compilation_cache=config.compilation_cache)
        size, channels = config.data.image_size, config.data.channels
        if not size:
            raise ValueError(
                f"{_WORKDIR.value} was trained on images that are not square, to which others"
                " cannot be fitted. Train it with data.image_size set."
            )
        parts.name_classes(config)
        files = images.find(_INPUTS.value)
        pictures = [images.fit(images.decode(f, channels=channels), size=size) for f in files]
        if _WORKDIR.value:
            example = {"image": np.zeros((1, size, size, channels), np.uint8)}
            task, _, variables = parts.trained_task(config, _WORKDIR.value, example, _STEP.value)
        else:
            task, variables = parts.published_task(config)
        maps = classification.activation_maps(config) if _CAM.value else None
        output.mkdir(parents=True, exist_ok=True)

    @jax.jit
    def predict(variables, image):
        predicted = task.predict(variables, {"image": image})
        return predicted, maps and maps(variables, image, predicted["classes"])

    names = dict(enumerate(config.data.class_names))
    rows = []
    batch = min(_BATCH, len(files))
    for start in range(0, len(files), batch):
        image = np.stack(pictures[start : start + batch])
        filled = np.pad(image, [(0, batch - len(image))] + [(0, 0)] * 3)  # one shape, one program
        predicted, heat = jax.device_get(predict(variables, filled))
        predicted = {name: array[: len(image)] for name, array in predicted.items()}
        stems = [f"{start + i:04}_{pathlib.Path(files[start + i]).stem}" for i in range(len(image))]
        for name, picture in task.draw({"image": image, "name": stems}, predicted, {}).items():
            draw.save(output / name, picture)
        for i, stem in enumerate(stems):
            row = {name: array[i].tolist() for name, array in predicted.items()}
            row["class_names"] = [names.get(c, str(c)) for c in row["classes"]]
            if maps:
                words = [f"{n} {p:.1%}" for n, p in zip(row["class_names"], row["probabilities"])]
                seen = classification.draw_activation_maps(image[i], heat[i], words)
                draw.save(output / f"{stem}_cam.png", seen)
            rows.append({"file": files[start + i]} | row)
    train.write_whole(output / "predictions.json", json.dumps(rows, indent=1) + "\n")
    print(f"{len(rows)} images: {output}/predictions.json and a picture of each")


if __name__ == "__main__":
    cli.run(main, __doc__, required=("inputs", "output"))
